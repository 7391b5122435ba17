"""What `hpo status` says at every stage of a study, while it runs, and after it was killed."""

from __future__ import annotations

import json
import os
import platform
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from hpo.checking.preflight import preflight
from hpo.cli.status import show_statuses
from hpo.errors import Refused
from hpo.page.collect import collect
from hpo.page.status import Status, statuses
from hpo.promotion.promote import promote
from hpo.search.sweep import sweep
from hpo.storage.database import open_study
from hpo.storage.folder import RunFolder
from hpo.storage.held import inode_of_lock
from hpo.storage.summary import read_summary, write_summary
from tests.faults.processes import code_of, start, until
from tests.test_promote import SAME, study

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def runs(memory_disk: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=memory_disk))


def only(runs: Path, name: str | None = None) -> Status:
    found = statuses(runs, name)
    assert len(found) == 1
    return found[0]


def test_it_says_what_there_is_at_every_stage(runs: Path) -> None:
    folder = RunFolder(runs / "toy")
    preflight(study(), folder, SAME)
    assert only(runs) == Status("toy", preflight="go")
    sweep(study(trials=2), folder, SAME)
    swept = only(runs)
    assert (swept.done, swept.trials, swept.complete, swept.running, swept.seconds_left) == (2, 2, 2, 0, 0.0)
    assert (swept.preflight, swept.promotion) == ("go", "not run")
    assert code_of(start(lambda: promote(study(), folder, SAME), die_at=60)) == -signal.SIGKILL
    assert only(runs).promotion in ("0/4 runs", "1/4 runs", "2/4 runs", "3/4 runs")
    assert only(runs).promotion_state == "unfinished"
    verdict = promote(study(), folder, SAME)
    assert only(runs).promotion == f"winner: {verdict.winner}"
    assert only(runs).promotion_state == "judged"
    promote(study(seeds=3), folder, SAME)
    assert code_of(start(lambda: promote(study(seeds=4), folder, SAME), die_at=25)) == -signal.SIGKILL
    assert only(runs).promotion == "6/8 runs"  # an old verdict is not the new selection's


def test_a_trial_that_is_running_is_told_from_one_that_was_interrupted(runs: Path) -> None:
    """A coordinator that is stopped holds the study, one that is killed does not."""
    folder = RunFolder(runs / "toy")
    pid = start(lambda: sweep(study(), folder, SAME), die_at=44, with_signal=signal.SIGSTOP)
    until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    running = only(runs)
    shutil.copytree(folder.path, runs / "copies" / "toy")
    copied = only(runs / "copies")
    RunFolder(runs / "copies" / "toy").summary.unlink(missing_ok=True)
    copied_without_summary = only(runs / "copies")
    os.kill(pid, signal.SIGKILL)
    assert code_of(pid) == -signal.SIGKILL
    interrupted = only(runs)
    assert (running.running, running.interrupted) == (1, 0)
    assert (copied.running, copied.interrupted, copied.unknown) == (0, 0, 1)
    assert (copied_without_summary.interrupted, copied_without_summary.unknown) == (0, 1)
    assert (interrupted.running, interrupted.interrupted) == (0, 1)
    assert interrupted.done == running.done


def test_the_time_left_is_the_mean_trial_for_all_that_are_missing(runs: Path) -> None:
    """Two of six have taken 10 s and 20 s: four times 15 s are left."""
    (runs / "toy").mkdir()
    swept = open_study(RunFolder(runs / "toy"), "sweep", "toy", "minimize", SAME)
    swept.set_user_attr("trials", 6)
    for value, seconds in ((0.5, 10.0), (0.4, 20.0)):
        swept.add_trial(optuna.trial.create_trial(value=value, user_attrs={"seconds": seconds, "epochs": 5}))
    found = only(runs)
    assert (found.done, found.best, found.best_trial) == (2, 0.4, 1)
    assert found.seconds_left == pytest.approx(60, rel=0.02)  # the last one says a little more of the next ones


def test_a_study_is_named_by_its_name_or_its_file_and_the_nearest_is_told(runs: Path) -> None:
    preflight(study(name="photographs"), RunFolder(runs / "photographs"), SAME)
    for name in ("photographs", "photographs.py", "studies/photographs.py"):
        assert only(runs, name).study == "photographs"
    with pytest.raises(Refused, match=r"no study 'photograhs' has been run in .*; did you mean 'photographs'\?"):
        statuses(runs, "photograhs")
    with pytest.raises(Refused, match="studies there are: photographs"):
        statuses(runs, "zzz")
    with pytest.raises(Refused, match="nothing has been run in"):
        statuses(runs / "nowhere", None)


def imported_by(*arguments: str) -> set[str]:
    """The modules that a command imports, given in the current folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "importtime", "-m", "hpo", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_the_status_of_a_study_with_a_summary_needs_no_large_library(
    swept: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(swept, runs / "runs" / "toy")
    monkeypatch.chdir(runs)
    modules = imported_by("status", "toy")
    assert "hpo.page.status" in modules
    large = {
        "torch",
        "optuna",
        "sqlalchemy",
        "numpy",
        "scipy",
        "pandas",
        "plotly",
        "jinja2",
        "sklearn",
        "rich.progress",
    }
    assert modules.isdisjoint(large)


def test_without_a_summary_the_storage_is_read_and_no_torch_is_needed(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(runs / "runs" / "toy")
    folder.path.mkdir(parents=True)
    open_study(folder, "sweep", "toy", "minimize", SAME)
    monkeypatch.chdir(runs)
    modules = imported_by("status")
    assert "optuna" in modules
    assert modules.isdisjoint({"torch", "plotly"})


@pytest.mark.parametrize("is_terminal", [False, True])
def test_watch_shows_it_anew_until_ctrl_c(swept: Path, is_terminal: bool) -> None:
    here, there = pty.openpty() if is_terminal else os.pipe()
    command = [sys.executable, "-m", "hpo", "status", "toy", "--watch", "--runs", str(swept.parent)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(command, stdout=there, stderr=there, env=environment)
    os.close(there)
    shown = b""
    while len(re.findall(rb"\d\d:\d\d:\d\d", shown)) < 2:
        shown += os.read(here, 65536)
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the terminal's other side is closed
        while chunk := os.read(here, 65536):
            shown += chunk
    os.close(here)
    assert process.wait() == 0
    assert shown.count(b"complete") >= 6
    assert (b"\x1b" in shown) == is_terminal


def test_the_report_of_an_unfinished_sweep_says_how_long_the_rest_takes(swept: Path, runs: Path) -> None:
    shutil.copytree(swept, runs / "toy")
    folder = RunFolder(runs / "toy")
    folder.summary.unlink()
    open_study(folder, "sweep", "toy", "minimize", SAME).set_user_attr("trials", 30)
    said = [missing.sentence for missing in collect(study(trials=30), folder).missing]
    assert any(re.match(r"The sweep has 3 of 30 trials; the rest takes \d", line) for line in said), said


# -- what may be wrong with a summary --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def swept(memory_disk: Path) -> Path:
    """A study with three trials, none of which runs."""
    folder = RunFolder(Path(tempfile.mkdtemp(dir=memory_disk)) / "toy")
    sweep(study(trials=3), folder, SAME)
    return folder.path


def known(status: Status) -> tuple[object, ...]:
    """What must be the same, whatever it was read from."""
    rows = [(row.kind, row.number, row.state, row.epoch, row.value, row.worker, row.attempts) for row in status.rows]
    return (status.done, status.trials, status.complete, status.best, status.best_trial, status.running, rows)


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"version": 99}', '{"version": 1, "rows": 3}'])
def test_a_summary_that_is_missing_or_not_valid_is_not_needed(swept: Path, runs: Path, content: str | None) -> None:
    """As in a folder of an older version."""
    shutil.copytree(swept, runs / "toy")
    summary = RunFolder(runs / "toy").summary
    if content is None:
        summary.unlink()
    else:
        summary.write_text(content)
    assert known(only(runs)) == known(only(swept.parent))


@pytest.mark.parametrize(("name", "value"), [("state", 3), ("number", "0"), ("epoch", None), ("wrong", 1)])
def test_a_summary_with_a_row_that_is_none_is_not_read(swept: Path, runs: Path, name: str, value: object) -> None:
    shutil.copytree(swept, runs / "toy")
    folder = RunFolder(runs / "toy")
    record = json.loads(folder.summary.read_bytes())
    record["rows"][1][name] = value
    folder.summary.write_text(json.dumps(record))
    assert read_summary(folder) is None
    assert known(only(runs)) == known(only(swept.parent))


def test_trials_that_ended_after_the_summary_was_written_are_counted(swept: Path, runs: Path) -> None:
    """The coordinator was killed between a trial's end and its next summary, and another trial had begun."""
    shutil.copytree(swept, runs / "toy")
    folder = RunFolder(runs / "toy")
    summary = read_summary(folder)
    assert summary is not None
    first, second, _ = summary.rows
    older = replace(first, state="running", epoch=1, value=None, best=None, seconds=0.1, ended=None)
    write_summary(folder, replace(summary, done=1, rows=(older, second), lock=inode_of_lock(folder)))
    assert known(only(runs))[:-1] == known(only(swept.parent))[:-1]
    assert [row.value for row in only(runs).rows] == [row.value for row in summary.rows]


def running_summary(swept: Path, runs: Path) -> RunFolder:
    """A copy of the study whose summary says that its last trial runs, in its last epoch."""
    shutil.copytree(swept, runs / "toy")
    folder = RunFolder(runs / "toy")
    (folder.trial("sweep", 2) / "result.json").unlink()
    summary = read_summary(folder)
    assert summary is not None
    last = replace(summary.rows[-1], state="running", epoch=1, value=None, ended=None)
    write_summary(folder, replace(summary, rows=(*summary.rows[:-1], last)))
    return folder


def test_whether_a_copied_folder_is_at_work_cannot_be_seen(
    swept: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running_summary(swept, runs)
    status = only(runs)
    assert (status.running, status.interrupted, status.unknown) == (0, 0, 1)
    assert status.rows[-1].state == "unknown"
    show_statuses([status], trials=True)
    shown = capsys.readouterr().out
    assert f"cannot see the lock from here, so {platform.node()}:{os.getpid()} may be at work; what is shown " in shown
    assert re.search(r"│ 2 +│ unknown +│ 1/2 ", shown)


@pytest.mark.parametrize(("host", "state"), [(None, "interrupted"), ("another-machine", "unknown")])
def test_what_nobody_of_this_machine_holds_is_interrupted_unless_another_machine_had_it(
    swept: Path, runs: Path, host: str | None, state: str
) -> None:
    folder = running_summary(swept, runs)
    summary = read_summary(folder)
    assert summary is not None
    write_summary(folder, replace(summary, lock=inode_of_lock(folder), host=host or summary.host))
    assert only(runs).rows[-1].state == state
    folder.path.rename(folder.path.with_name("moved"))
    assert only(runs).rows[-1].state == state, "a folder that was moved has the same lock"


def test_a_damaged_storage_does_not_hide_the_other_studies_and_nothing_is_written(runs: Path) -> None:
    sweep(study(trials=1), RunFolder(runs / "toy"), SAME)
    broken = runs / "broken"
    broken.mkdir()
    (broken / "study.db").write_bytes(b"no database " * 1000)
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    found = {one.study: one for one in statuses(runs, None)}
    assert found["toy"].done == 1
    assert found["broken"].unreadable
    assert not found["toy"].unreadable
    assert found["broken"].promotion == "storage unreadable: hpo rebuild broken"
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before
