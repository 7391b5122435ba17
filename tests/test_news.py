"""What is told while a command works: a line a trial, the file of --log, and the command of --notify."""

from __future__ import annotations

import json
import re
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn
from typer.testing import CliRunner

import hpo
from hpo import Fidelity, Moment, Refused, events
from hpo.cli.main import app
from hpo.errors import SweepFailed
from hpo.storage.summary import Row, Summary
from hpo.verbs.news import notify
from hpo.verbs.news.ended import EndedTrials, ended_line
from hpo.verbs.news.notify import Notifier
from tests.toy import Batch, Toy, toy_study

SMALL = Fidelity(size=6, train=32, val=32, epochs=2)
FULL = Fidelity(size=6, train=32, val=32, epochs=2, test=20)
STUDY = toy_study(smoke=SMALL, cheap=SMALL, full=FULL, trials=3, keep=1, seeds=2, pruning=None)
INLINE = {"force": True, "backend": "inline", "device": "cpu"}


class Hopeless(Toy):
    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        raise ValueError("nothing can be learned here")


# -- the line of a trial that has ended ------------------------------------------------------------------------------
@dataclass
class Told:
    """Summaries of a sweep, one after the other, and the lines that follow."""

    rows: tuple[Row, ...] = ()
    stage: str = "sweep"
    left: float | None = None

    def summary(self) -> Summary:
        return Summary(
            study="disc",
            goal="psnr_db",
            direction="maximize",
            stage=self.stage,
            trials=5,
            runs=4,
            done=sum(row.has_ended for row in self.rows),
            workers=2,
            host="here",
            pid=1,
            lock=1,
            generation=1,
            written=0.0,
            seconds_left=self.left,
            rows=self.rows,
        )


def test_each_trial_that_ends_is_told_once_and_those_of_before_are_not() -> None:
    trials, told = EndedTrials(), Told()
    told.rows = (
        Row("sweep", 0, "complete", value=30.0, best=30.0, seconds=12.0, ended=1.0),
        Row("sweep", 1, "running", best=31.0),
        Row("sweep", 2, "running"),
    )
    assert trials.update(told.summary()) == []
    told.left = 200.0
    told.rows = (
        told.rows[0],
        Row("sweep", 1, "complete", value=31.5, best=31.5, seconds=75.0, ended=3.0),
        Row("sweep", 2, "failed", seconds=0.5, ended=2.0, reason="ValueError: no"),
    )
    ended = trials.update(told.summary())
    progress = "best psnr_db 31.50 dB (trial 1), 1.3 to 8.3 min left"
    assert [ended_line(each) for each in ended] == [
        f"trial 2 failed, 0.5 s: ValueError: no; 2 of 5 done, {progress}",
        f"trial 1 complete, psnr_db 31.50 dB, 1 min 15 s; 3 of 5 done, {progress}",
    ]
    assert [each.improves for each in ended] == [False, True]
    assert trials.update(told.summary()) == []


def test_the_line_of_a_run_names_its_candidate() -> None:
    trials, told = EndedTrials(), Told(stage="promotion")
    trials.update(told.summary())
    told.rows = (Row("promotion", 0, "complete", name="trial 17", seed=1, value=30.0, best=30.0, seconds=2.0),)
    (ended,) = trials.update(told.summary())
    line = "run 0 (trial 17, seed 1) complete, psnr_db 30.00 dB, 2 s; 1 of 4 done, best psnr_db 30.00 dB (trial 17)"
    assert ended_line(ended) == line
    assert not ended.improves  # there was none before


# -- the command -----------------------------------------------------------------------------------------------------
def appending(path: Path) -> str:
    """A command that appends each document, on a line of its own, to a file."""
    return f"sh -c {shlex.quote(f'cat >> {path}; echo >> {path}')}"


def documents(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def failures(path: Path) -> list[str]:
    return [line["failed"] for line in documents(path) if line["event"] == "notify"]


@pytest.fixture
def event_log(tmp_path: Path) -> Path:
    events.keep(tmp_path / "events.log")
    return tmp_path / "events.log"


def test_events_are_delivered_in_their_order(tmp_path: Path, event_log: Path) -> None:
    notifier = Notifier(appending(tmp_path / "out"))
    for number in range(5):
        notifier.put({"event": "trial_ended", "number": number})
    assert notifier.close(30) == ""
    assert [document["number"] for document in documents(tmp_path / "out")] == [0, 1, 2, 3, 4]
    assert not event_log.exists()


def test_a_command_that_fails_is_said_once_and_each_time_in_the_log(event_log: Path) -> None:
    notifier = Notifier("sh -c 'echo first >&2; echo no such channel >&2; exit 3'")
    for _ in range(2):
        notifier.put({"event": "trial_ended", "text": "trial 1 complete"})
    assert notifier.close(30) == "--notify: 2 events were not delivered; events.log names them"
    assert failures(event_log) == ["sh ended with 3: no such channel"] * 2
    assert notifier.trouble().startswith("--notify: trial_ended was not delivered: sh ended with 3: no such channel; ")
    assert notifier.trouble() == ""


def test_a_command_that_hangs_is_killed_with_what_it_has_started(
    tmp_path: Path, event_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LIMIT_S", 0.3)
    began = time.monotonic()
    notifier = Notifier(f"sh -c 'echo $$ >> {tmp_path}/pids; sleep 1000 & sleep 1000'")
    notifier.put({"event": "trial_ended"})
    notifier.put({"event": "sweep_ended"})
    assert time.monotonic() - began < 0.3  # nobody waits for it
    notifier.close(30)
    assert all("had not ended" in failure for failure in failures(event_log))
    for group in (tmp_path / "pids").read_text().split():
        assert not [stat for stat in Path("/proc").glob("[0-9]*/stat") if _is_alive_in(stat, group)]


def _is_alive_in(stat: Path, group: str) -> bool:
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[2] == group and fields[0] != "Z"


def test_where_the_command_is_too_slow_ends_of_trials_are_lost_first(
    tmp_path: Path, event_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LONGEST", 3)
    gate = tmp_path / "gate"
    command = f"sh -c 'while [ ! -e {gate} ]; do sleep 0.02; done; cat >> {tmp_path}/out; echo >> {tmp_path}/out'"
    notifier = Notifier(command)
    notifier.put({"event": "trial_ended", "number": 0})
    while notifier._waiting:  # until the command has it
        time.sleep(0.01)
    for number in range(1, 5):
        notifier.put({"event": "trial_ended", "number": number})
    notifier.put({"event": "sweep_ended", "number": 5})
    gate.touch()
    assert notifier.close(30) == "--notify: 2 events were not delivered; events.log names them"
    assert [document["number"] for document in documents(tmp_path / "out")] == [0, 5, 3, 4]  # what matters most first
    assert len(failures(event_log)) == 2


@pytest.mark.parametrize("command", ["", "'open", "no-such-program --x"])
def test_a_command_that_cannot_be_run_is_refused_before_anything_is_written(command: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--notify: "):
        hpo.sweep(STUDY, runs=tmp_path / "runs", notify=command, **INLINE)
    assert not (tmp_path / "runs").exists()


def test_a_log_that_cannot_be_written_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"--log: .*none/log cannot be written"):
        hpo.sweep(STUDY, runs=tmp_path / "runs", log=tmp_path / "none" / "log", **INLINE)
    assert not (tmp_path / "runs").exists()


# -- the verbs -------------------------------------------------------------------------------------------------------
def test_sweep_and_promotion_tell_of_each_end(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    told = {"runs": tmp_path, "notify": appending(out), "log": log}
    standing = hpo.sweep(STUDY, **told, **INLINE)
    verdict = hpo.promote(STUDY, **told, backend="inline", device="cpu")
    found = documents(out)
    names = [document["event"] for document in found]
    assert [name for name in names if name != "best_improved"] == [
        *["trial_ended"] * 3,
        "sweep_ended",
        *["trial_ended"] * 4,
        "promotion_ended",
    ]
    first, sweep, last = found[0], found[names.index("sweep_ended")], found[-1]
    assert (first["version"], first["stage"], first["study"], first["goal"]) == (1, "sweep", "toy", "mse")
    assert first["trial"]["number"] == 0
    assert first["trial"]["params"] == {"recipe.lr": 0.1, "task.shift": 0.0}
    assert first["trial"]["scores"].keys() == {"mse", "worst"}
    assert (sweep["done"], sweep["best"], sweep["best_number"]) == (3, standing.best, standing.best_number)
    assert (last["text"], last["winner"]) == (verdict.sentence, verdict.winner)
    lines = log.read_text().splitlines()
    assert len(lines) == 9
    assert all(re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 toy: ", line) for line in lines)
    assert "toy: trial 0 complete, mse " in lines[0]
    assert f"; 1 of 3 done, best mse {first['trial']['value']:#.4g} (trial 0)" in lines[0]
    assert "toy: run 0 (default, seed 0) complete, mse " in lines[4]
    assert lines[-1].endswith(f"toy: {verdict.sentence}")
    commands = (tmp_path / "toy" / "commands.log").read_text()
    assert "--log" in commands
    assert "--notify" not in commands  # there may be a secret in it


def test_a_sweep_that_fails_says_so_and_each_trial_that_failed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SweepFailed):
        hpo.sweep(replace(STUDY, task=Hopeless()), runs=tmp_path, notify=appending(out), **INLINE)
    found = documents(out)
    assert [document["event"] for document in found] == [*["trial_ended"] * 3, "failed"]
    assert found[2]["trial"]["state"] == "failed"
    assert (found[3]["error"], "nothing can be learned here" in found[3]["text"]) == ("SweepFailed", True)


def test_a_command_that_fails_stops_nothing(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="--notify: trial_ended was not delivered: false ended with 1; "):
        standing = hpo.sweep(STUDY, runs=tmp_path, notify="false", **INLINE)
    assert standing.complete == 3
    assert len(failures(tmp_path / "toy" / "events.log")) >= 4


def test_without_a_terminal_each_trial_that_ends_is_a_line_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lines.py").write_text("from tests.test_news import STUDY as study\n")
    result = CliRunner().invoke(app, ["sweep", "lines.py", "--force", "--backend", "inline"])
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"trial {number} complete" for number in range(3)]
