"""Trials that take too long, too much memory, or make no progress, in real processes: each is ended once, from outside,
with a reason that names the limit, and the sweep goes on."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hpo import Limit, choose
from hpo.errors import SweepFailed
from hpo.storage.folder import RunFolder
from hpo.trial.bounds import bounds_of
from hpo.trial.failures import users_line
from hpo.trial.provenance import identity
from hpo.trial.record import read_outcome
from hpo.watchdog import guard, watched
from hpo.watchdog.limit import GB, Bounds, OverLimit, Reached
from tests.faults.processes import alive, children, code_of, until
from tests.faults.studies import (
    CHEAP,
    FULL,
    INTERRUPTED,
    Victim,
    asked,
    attempts,
    checked,
    coordinator,
    curve,
    events,
    interrupted,
    stored,
    swept,
    victims,
)


def sweep_of(deed: str, limit: Limit, trials: int = 4, **fields):
    space = {"task.deed": choose("", deed)}
    return victims(task=Victim(**fields), space=space, trials=trials, pruning=None, startup_trials=trials, limit=limit)


def doers(folder: Path, deed: str) -> list[int]:
    return [number for number in stored(folder) if asked(folder, number)["task.deed"] == deed]


@pytest.mark.parametrize("deed", ["hang", "lock"])
def test_a_trial_that_hangs_is_ended_once_and_its_record_says_where_and_by_which_limit(folder: Path, deed: str) -> None:
    """Also in native code that never gives Python's lock back, where nothing inside the process could act."""
    assert code_of(coordinator(sweep_of(deed, Limit(hang_minutes=1.2 / 60)), folder)) == 0
    hung = doers(folder, deed)
    assert hung
    assert [number for number, row in stored(folder).items() if row["state"] == "FAIL"] == hung
    for number in hung:
        outcome = read_outcome(folder / "sweep" / f"{number:04d}")
        assert outcome.reason == "no epoch ended within 1.2 s (limit.hang_minutes of the study)"
        assert (outcome.limit.name, outcome.limit.limit) == ("hang_minutes", pytest.approx(1.2))
        assert "in _do: " in users_line(outcome.traceback), "the line that it hung at"
        assert len(outcome.history) == 1, "its epochs stay"
        assert len(attempts(folder, number)) == 1, "it is not tried again"
    assert not events(folder, "death")
    assert {event["trial"] for event in events(folder, "limit")} == set(hung)
    checked(folder, 4)


FILLING = """
import os, sys
from pathlib import Path

from hpo import Limit
from hpo.watchdog import guard
from hpo.watchdog.limit import GB
from tests.faults.processes import forked_workers
from tests.faults.studies import swept
from tests.faults.test_limits import sweep_of

base = guard.total([os.getpid()], "status", guard.RESIDENT)
limit_gb = (base + 100 * 2**20) / GB  # a trial loads some things of its own, and fills 200
with forked_workers():
    swept(sweep_of("fill", Limit(memory_gb=limit_gb)), Path(sys.argv[1]), workers=2)
print(limit_gb)
"""


def test_a_trial_over_its_memory_limit_is_ended_and_the_others_are_not(folder: Path) -> None:
    """The workers are forked: what they share with their coordinator is counted in part alone. It is a process of its
    own, since this one has grown with the tests before."""
    command = [sys.executable, "-c", FILLING, str(folder)]
    limit_gb = float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=240).stdout)
    over = doers(folder, "fill")
    assert over
    assert [number for number, row in stored(folder).items() if row["state"] == "FAIL"] == over
    for number in over:
        outcome = read_outcome(folder / "sweep" / f"{number:04d}")
        assert outcome.reason.startswith("over its memory limit: it took ")
        assert outcome.limit.used > outcome.limit.limit == pytest.approx(limit_gb * GB)
        assert len(attempts(folder, number)) == 1
    checked(folder, 4)


def test_a_trial_over_its_time_limit_keeps_its_epochs(folder: Path) -> None:
    study = victims(task=Victim(pace=0.5), trials=2, pruning=None, limit=Limit(minutes=1.4 / 60))
    assert code_of(coordinator(study, folder)) == 1  # nothing is completed
    for number, row in stored(folder).items():
        outcome = read_outcome(folder / "sweep" / f"{number:04d}")
        assert outcome.reason.startswith("over its time limit: it took 1.")
        assert outcome.reason.endswith(" of 1.4 s (limit=Limit(minutes=0.02333))")
        assert 1 <= len(outcome.history) <= 2
        undisturbed = curve(study, asked(folder, number), number)
        assert [epoch.best for epoch in outcome.history] == undisturbed[: len(outcome.history)]
        assert row["state"] == "FAIL"
        assert len(attempts(folder, number)) == 1
    checked(folder, 2)


def test_the_epochs_before_an_interruption_count_for_the_time_limit_of_that_moment(folder: Path) -> None:
    study = replace(INTERRUPTED, task=Victim(pace=0.6))
    interrupted(folder, study)
    assert code_of(coordinator(replace(study, limit=Limit(minutes=1.5 / 60)), folder)) == 0
    outcome = read_outcome(folder / "sweep" / "0001")
    assert (outcome.state, outcome.limit.name, outcome.limit.limit) == ("failed", "minutes", pytest.approx(1.5))
    assert outcome.epochs in (2, 3), "four take 2.4 s, of which two are left: 1.2 s"
    assert read_outcome(folder / "sweep" / "0000").state == "complete", "what had ended before stays"


@dataclass(frozen=True)
class Ended:
    """An epoch, as the watchdog sees it."""

    seconds: float
    replayed: bool


def test_the_time_of_a_trial_is_that_of_its_earlier_epochs_and_of_the_clock_since(folder: Path) -> None:
    """An epoch of this attempt is on the clock already."""
    bounds = Bounds(seconds=150)
    earlier = [Ended(100, replayed=True), Ended(100, replayed=True), Ended(100, replayed=False)]
    with pytest.raises(OverLimit) as over:
        list(watched(iter(earlier), bounds, folder))
    assert over.value.reached.used == pytest.approx(200, abs=20)
    now = [Ended(100, replayed=False)] * 3
    assert list(watched(iter(now), bounds, folder)) == now


def test_a_record_of_a_limit_that_no_coordinator_has_read_is_the_trials_outcome(folder: Path) -> None:
    """The coordinator was killed when the guard had struck; on Dask, the next worker of the job reads it."""
    study = replace(INTERRUPTED, task=Victim(pace=0.0))
    interrupted(folder, study)
    record = {"name": "memory_gb", "limit": 20.0 * GB, "used": 20.3 * GB}
    (folder / "sweep" / "0001" / "limit.json").write_text(json.dumps(record))
    swept(study, folder)
    outcome = read_outcome(folder / "sweep" / "0001")
    assert outcome.reason == "over its memory limit: it took 20.3 GB of 20 GB (limit=Limit(memory_gb=20))"
    assert (outcome.limit, outcome.epochs) == (Reached(**record), 2)
    assert not list((folder / "sweep" / "0001").glob("limit*"))
    checked(folder, 3)


def test_in_the_commands_own_process_a_trial_is_ended_after_an_epoch(folder: Path) -> None:
    study = victims(task=Victim(pace=0.3), trials=1, pruning=None, limit=Limit(minutes=0.5 / 60))
    with pytest.raises(SweepFailed, match=r"over its time limit: it took .* of 0.5 s"):
        swept(study, folder)
    outcome = read_outcome(folder / "sweep" / "0000")
    assert (outcome.state, outcome.limit.name) == ("failed", "minutes")
    assert 1 <= outcome.epochs <= 2
    checked(folder, 1)


def test_a_guard_ends_with_its_worker(folder: Path) -> None:
    pid = coordinator(victims(task=Victim(deed="hang"), trials=1), folder)
    worker = until(lambda: [child for child in children(pid) if children(child)])[0]
    guards = children(worker)
    os.kill(worker, signal.SIGKILL)
    until(lambda: not any(map(alive, guards)), 30)
    os.kill(pid, signal.SIGKILL)
    code_of(pid)


# -- memory ----------------------------------------------------------------------------------------------------------
@contextmanager
def processes_that_touch(memory: mmap.mmap | None, each_mb: int, count: int = 3):
    """Children of this process that read shared memory, or fill some of their own, and then wait."""
    ready, signal_ready = os.pipe()
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            own = bytes(os.urandom(2**20)) * each_mb
            if memory is not None:
                sum(memory[at] for at in range(0, len(memory), 4096))
            os.write(signal_ready, b"x")
            time.sleep(60 + len(own))
        pids.append(pid)
    for _ in range(count):
        os.read(ready, 1)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(ready)
        os.close(signal_ready)


def resident() -> int:
    return guard.total([os.getpid()], "status", guard.RESIDENT)


def test_memory_that_processes_share_is_counted_once() -> None:
    """As the batches of a DataLoader's workers are, and all that they have been forked with."""
    size = 50 * 2**20
    with mmap.mmap(-1, size) as shared:
        shared.write(os.urandom(size))
        base = resident()
        with processes_that_touch(shared, each_mb=0):
            assert guard.total([os.getpid(), *guard.descendants(os.getpid())], "status", guard.RESIDENT) > base + size
            assert guard.Memory(os.getpid()).above(base + size) is None


def test_memory_of_the_processes_that_a_worker_has_started_is_counted() -> None:
    base = resident()
    with processes_that_touch(None, each_mb=30):
        used = guard.Memory(os.getpid()).above(base + 60 * 2**20)
    assert used is not None
    assert 85 * 2**20 < used - base < 130 * 2**20


# -- what the limits are ---------------------------------------------------------------------------------------------
def test_a_limit_is_no_part_of_the_question() -> None:
    study = victims()
    assert identity(replace(study, limit=Limit(minutes=30, memory_gb=20, hang_minutes=5))) == identity(study)


@pytest.mark.parametrize(
    ("slowest_s", "kind", "fidelity", "hang_s", "epoch_s"),
    [
        (None, "sweep", CHEAP, 600, None),
        (4 * 40.0, "sweep", CHEAP, 600, 40.0),  # ten epochs of 40 s are 400 s
        (4 * 70.0, "sweep", CHEAP, 700, 70.0),
        (4 * 70.0, "promotion", FULL, 700 * 64 / 48, 70.0 * 64 / 48),  # 64 training examples instead of 48
    ],
)
def test_the_hang_limit_follows_from_preflights_slowest_epoch(
    tmp_path: Path, slowest_s: float | None, kind: str, fidelity, hang_s: float, epoch_s: float | None
) -> None:
    folder = RunFolder(tmp_path)
    if slowest_s is not None:
        folder.preflight.write_text(json.dumps({"cost": {"slowest_seconds": slowest_s}}))
    bounds = bounds_of(victims(), fidelity, kind, folder)
    assert bounds.hang_s == pytest.approx(hang_s)
    assert bounds.epoch_s == pytest.approx(epoch_s)
    assert (bounds.seconds, bounds.memory) == (None, None)


def test_a_run_of_the_promotion_has_no_limit_of_time() -> None:
    study = victims(limit=Limit(minutes=30, memory_gb=2, hang_minutes=3))
    trial = bounds_of(study, CHEAP, "sweep", RunFolder(Path("nowhere")))
    run = bounds_of(study, FULL, "promotion", RunFolder(Path("nowhere")))
    assert (trial.seconds, trial.memory, trial.hang_s) == (1800, 2 * GB, 180)
    assert (run.seconds, run.memory, run.hang_s) == (None, 2 * GB, 180 * 64 / 48)


def test_the_reason_of_a_hang_says_where_its_limit_comes_from() -> None:
    sentence = Reached("hang_minutes", 7200, 7201, epoch_s=720).sentence
    assert sentence.startswith(
        "no epoch ended within 2 h 00 min (limit from preflight's 12 min 00 s an epoch); set limit="
    )


@pytest.mark.parametrize("value", [0, -1, True, "30"])
def test_a_limit_that_is_no_number_above_zero_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"limit\.minutes: must be a number above 0, or None; got "):
        Limit(minutes=value)
