"""What `hpo status` says at every stage of a study, while it runs, and after it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
import pytest

from hpo.checking.preflight import preflight
from hpo.errors import Refused
from hpo.page.status import Status, statuses
from hpo.promotion.promote import promote
from hpo.search.sweep import sweep
from hpo.storage.database import open_study
from hpo.storage.folder import RunFolder
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
    pid = start(lambda: sweep(study(), folder, SAME), die_at=40, with_signal=signal.SIGSTOP)
    until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    running = only(runs)
    os.kill(pid, signal.SIGKILL)
    assert code_of(pid) == -signal.SIGKILL
    interrupted = only(runs)
    assert (running.running, running.interrupted) == (1, 0)
    assert (interrupted.running, interrupted.interrupted) == (0, 1)
    assert interrupted.done == running.done


def test_the_time_left_is_the_mean_trial_for_all_that_are_missing(runs: Path) -> None:
    """Two of six have taken 10 s and 20 s: four times 15 s are left."""
    (runs / "toy").mkdir()
    swept = open_study(RunFolder(runs / "toy"), "sweep", "toy", "minimize", SAME)
    swept.set_user_attr("trials", 6)
    for value, seconds in ((0.5, 10.0), (0.4, 20.0)):
        swept.add_trial(optuna.trial.create_trial(value=value, user_attrs={"seconds": seconds}))
    found = only(runs)
    assert (found.done, found.seconds_left, found.best, found.best_trial) == (2, 60.0, 0.4, 1)


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


def test_no_torch_is_needed_for_the_status(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(runs / "runs" / "toy")
    folder.path.mkdir(parents=True)
    open_study(folder, "sweep", "toy", "minimize", SAME)
    monkeypatch.chdir(runs)
    modules = imported_by("status")
    assert "hpo.page.status" in modules
    assert modules.isdisjoint({"torch", "plotly"})


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
