"""What a trial prints is kept in its folder, whoever prints it, and wherever it runs."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor, nn
from typer.testing import CliRunner

from hpo.cli.main import app
from hpo.output.kept import kept, note
from hpo.output.reading import follow
from hpo.output.shorten import HEAD, LONGEST, TAIL
from hpo.task import Moment
from hpo.trial.sealed import write_sealed
from tests.faults.processes import code_of, forked_workers, start
from tests.faults.studies import Victim, interrupted, swept, victims
from tests.toy import Batch


@dataclass(frozen=True)
class Noisy(Victim):
    """Prints from Python and as native code does, and may crash as that does."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        print(f"printed in epoch {at.epoch}")
        os.write(2, b"written by native code\n")
        if self.deed == "crash":
            ctypes.string_at(0)
        return super().loss(model, batch, at)


def log_of(folder: Path, number: int = 0) -> str:
    return (folder / "sweep" / f"{number:04d}" / "output.log").read_text()


def swept_by_workers(folder: Path, **task: object) -> int:
    """Sweep in two forked workers; the exit code of the coordinator."""

    def act() -> None:
        faulthandler.disable()  # pytest's
        with forked_workers():
            swept(victims(task=Noisy(**task), trials=2, pruning=None), folder, workers=2)

    return code_of(start(act))


def test_an_inline_trial_is_kept_and_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    swept(victims(task=Noisy(), trials=2, pruning=None), tmp_path)
    shown = capfd.readouterr().out.splitlines()
    for number in range(2):
        lines = log_of(tmp_path, number).splitlines()
        assert f"trial {number} of victims begins: " in lines[0]
        assert lines.count("printed in epoch 3") == lines.count("written by native code") / 4 == 3  # batches
        assert f"trial {number} of victims complete after 4 epochs, best mse " in lines[-1]
        assert set(lines[1:-1]) <= set(shown)
    assert not any("[hpo]" in line for line in shown)  # what is shown is the task's
    print("and then as before")
    assert capfd.readouterr().out == "and then as before\n"


def test_a_trial_in_a_worker_is_kept_and_not_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert swept_by_workers(tmp_path) == 0
    assert capfd.readouterr() == ("", "")
    assert log_of(tmp_path, 1).count("printed in epoch 3\nwritten by native code\n") == 3


def test_the_traceback_of_an_error_is_in_the_log(tmp_path: Path) -> None:
    assert swept_by_workers(tmp_path, deed="raise") == 1  # nothing was completed
    lines = log_of(tmp_path).splitlines()
    assert "Traceback (most recent call last):" in lines
    assert lines[-2] == "RuntimeError: the task cannot do this"
    assert "trial 0 of victims failed after 1 epoch, best mse " in lines[-1]


def test_a_crash_in_native_code_leaves_its_stacks_in_the_log(tmp_path: Path) -> None:
    assert swept_by_workers(tmp_path, deed="crash") == 1
    text = log_of(tmp_path)
    assert text.count("Fatal Python error: Segmentation fault\n") == 3  # attempts
    assert re.search(r'test_output.py", line \d+ in loss', text)
    assert "its worker died, 2 times since the last epoch that was finished\n" in text
    assert "failed after 0 epochs: its worker died 3 times" in text.splitlines()[-1]


def test_a_trial_that_goes_on_appends_and_says_so(tmp_path: Path) -> None:
    interrupted(tmp_path)
    swept(victims(trials=3, pruning=None), tmp_path)
    begun, resumed, ended = log_of(tmp_path, 1).splitlines()
    assert "trial 1 of victims begins: " in begun
    assert "trial 1 of victims goes on after 2 of 4 epochs: " in resumed
    assert "trial 1 of victims complete after 4 epochs" in ended


def run_python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)


def test_warnings_logging_and_children_are_kept_and_a_warning_in_each_log(tmp_path: Path) -> None:
    code = (
        "import logging, subprocess, sys, warnings; from pathlib import Path; from hpo.output.kept import kept\n"
        "logging.basicConfig()\n"
        "for name in sys.argv[1:]:\n"
        "    with kept(Path(name)):\n"
        "        warnings.warn('a warning'); logging.warning('logged'); subprocess.run(['echo', 'a child'])\n"
        "print('shown')\n"
    )
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    assert run_python(code, *map(str, logs)).stdout == "shown\n"
    for log in logs:
        assert log.read_text() == "<string>:5: UserWarning: a warning\nWARNING:root:logged\na child\n"


def test_a_breakpoint_gets_the_terminal_back(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hpo.output.kept import kept\n"
        "sys.breakpointhook = lambda: print('(Pdb)')\n"
        "with kept(Path(sys.argv[1])):\n"
        "    print('kept'); breakpoint(); print('shown')\n"
        "with kept(Path(sys.argv[1])):\n"
        "    print('kept again')\n"
    )
    assert run_python(code, str(tmp_path / "log")).stdout == "(Pdb)\nshown\n"
    assert (tmp_path / "log").read_text() == "kept\nkept again\n"


def test_a_log_that_grows_without_end_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from hpo.output.kept import kept\n"
        "import hpo.output.kept; hpo.output.kept.LOOK_S = 0.001\n"
        "log = Path(sys.argv[1]); largest = 0\n"
        "with kept(log):\n"
        "    for number in range(120_000):\n"
        "        print(f'line {number:20d}')\n"
        "        if number % 100 == 0: largest = max(largest, os.stat(log).st_size)\n"
        "print(largest)\n"
    )
    log = tmp_path / "log"
    assert int(run_python(code, str(log)).stdout) < 2 * LONGEST
    assert log.stat().st_size <= HEAD + TAIL + 100
    lines = log.read_text().splitlines()
    (at,) = [index for index, line in enumerate(lines) if "cut out" in line]
    assert lines[:at] == [f"line {number:20d}" for number in range(at)]
    assert 26 * at > HEAD - 26
    kept_after = [int(line.removeprefix("line ")) for line in lines[at + 1 :]]
    assert kept_after == sorted(kept_after)
    assert kept_after[-1] == 119_999
    assert 26 * len(kept_after) > TAIL - 200
    cut = int(lines[at].split()[1])
    assert cut == pytest.approx(26 * (120_000 - at - len(kept_after)), rel=0.1)


def test_a_log_that_cannot_be_written_costs_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for log in (tmp_path / "file" / "log", tmp_path / "link"):
        note(log, "lost")
        with kept(log):
            print("shown")
    assert capfd.readouterr().out == "shown\nshown\n"
    assert (tmp_path / "file").read_text() == ""


# -- hpo logs --------------------------------------------------------------------------------------------------------
def hpo_logs(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["logs", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stdout, result.stderr


def trial_folder(study: Path, number: int, *, log: str = "", state: str = "", **record: str) -> Path:
    """The folder of a trial with these files."""
    folder = study / "sweep" / f"{number:04d}"
    folder.mkdir(parents=True)
    if log:
        (folder / "output.log").write_text(log)
    if state:
        write_sealed(folder / "result.json", {"state": state, **record})
    return folder


def test_logs_prints_a_trial_or_the_last_that_failed(tmp_path: Path) -> None:
    study, runs = tmp_path / "disc", ("--runs", str(tmp_path))
    for number, state in enumerate(["complete", "failed", "failed", "complete"]):
        trial_folder(study, number, log=f"log of {number}\n", state=state)
    trial_folder(study, 4, state="failed", reason="superseded by a newer selection")  # was never trained
    assert hpo_logs("disc", "0", *runs) == (0, "log of 0\n", "")
    code, shown, said = hpo_logs("disc.py", *runs)
    assert (code, shown, said) == (0, "log of 2\n", f"hpo: {study}/sweep/0002/output.log: failed\n")
    assert "the numbers are 0, 1, 2, 3 and 4" in hpo_logs("disc", "9", *runs)[2]
    assert "no promotion of 'disc'" in hpo_logs("disc", "--promotion", *runs)[2]
    assert "did you mean 'disc'?" in hpo_logs("dics", *runs)[2]
    document = json.loads(hpo_logs("disc", "1", "--json", *runs)[1])["result"]
    assert (document["number"], document["state"], document["text"]) == (1, "failed", "log of 1\n")


def test_logs_of_a_folder_from_before_says_why_the_trial_failed(tmp_path: Path) -> None:
    trial_folder(tmp_path / "disc", 0, state="failed", reason="ValueError: no", traceback="Trace:\nValueError: no\n")
    shown = hpo_logs("disc", "--runs", str(tmp_path))[1]
    assert shown == "Trace:\nValueError: no\nValueError: no\n"


def test_logs_follows_a_trial_until_it_ends_also_where_its_log_is_cut(tmp_path: Path) -> None:
    folder = trial_folder(tmp_path / "disc", 0)
    log = folder / "output.log"
    pieces = follow(log, (folder / "result.json").exists)
    log.write_text("first\n")
    assert next(pieces) == "first\n"
    note(log, "second")
    assert next(pieces).endswith("UTC: second\n")
    log.write_text("cut\n")
    write_sealed(folder / "result.json", {"state": "complete"})
    assert list(pieces) == []
    assert "".join(follow(log, (folder / "result.json").exists)) == "cut\n"


def test_logs_waits_for_neither_torch_nor_optuna(tmp_path: Path) -> None:
    trial_folder(tmp_path / "disc", 0, log="printed\n")
    code = (
        "import sys; from typer.testing import CliRunner; from hpo.cli.main import app\n"
        "output = CliRunner().invoke(app, ['logs', 'disc', '0', '--runs', sys.argv[1]]); print(output.stdout, end='')\n"
        "print(sorted({'torch', 'optuna', 'scipy', 'numpy', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert run_python(code, str(tmp_path)).stdout == "printed\n[]\n"
