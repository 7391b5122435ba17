"""Several workers, killed at any moment from outside. Nothing is lost, repeated or left running, and the budget stays
exact; each trial comes out as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.engine.checkpoint_files import reached
from hpo.errors import InUse
from hpo.page.collect import collect
from hpo.space import choose
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from tests.faults import processes
from tests.faults.processes import alive, children, code_of, start, state, until, waits_for_lock
from tests.faults.studies import (
    Victim,
    asked,
    at_work,
    attempts,
    checked,
    coordinator,
    each_as_undisturbed,
    events,
    stored,
    swept,
    victims,
)


@pytest.mark.parametrize("seed", range(3))
def test_workers_and_coordinators_killed_at_random_lose_and_repeat_nothing(folder: Path, seed: int) -> None:
    """SIGKILL of a worker, of the coordinator alone, or of all at once, until 12 kills have struck."""
    rng, study = random.Random(seed), victims(task=Victim(pace=0.02), trials=14)
    kills = 0
    pid = coordinator(study, folder, workers=3)
    while kills < 12:
        time.sleep(rng.uniform(0.02, 0.4))
        if not alive(pid):
            assert code_of(pid) == 0
            break
        workers = children(pid)
        target = rng.choice(["worker", "worker", "coordinator", "all"])
        if target == "worker" and workers:
            os.kill(rng.choice(workers), signal.SIGKILL)
            kills += 1
        elif target == "coordinator":
            os.kill(pid, signal.SIGKILL)
            code_of(pid)
            kills += 1
            pid = coordinator(study, folder, workers=3)
        elif target == "all":
            processes.end_group(pid)
            code_of(pid)
            kills += 1
            pid = coordinator(study, folder, workers=3)
    else:
        assert code_of(pid) == 0
    assert kills > 3
    checked(folder, 14)
    each_as_undisturbed(study, folder)
    swept(study, folder)  # again: there is nothing left to do
    checked(folder, 14)


def test_a_coordinator_killed_at_every_eleventh_moment_of_its_own(folder: Path) -> None:
    """Before commits, renames and removals of the coordinator, while two workers are at work; forty kills."""
    study, at = victims(trials=8), 1
    for _ in range(40):
        code = code_of(coordinator(study, folder, die_at=at))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        at += 11 if at < 60 else -50
    else:
        assert code_of(coordinator(study, folder)) == 0
    checked(folder, 8)
    each_as_undisturbed(study, folder)


def test_the_job_of_a_killed_worker_goes_on_from_its_checkpoint_and_no_other_is_touched(folder: Path) -> None:
    study = victims(task=Victim(pace=0.4), trials=2, pruning=None)
    pid = coordinator(study, folder)
    until(lambda: reached(folder / "sweep/0001") >= 1)
    os.kill(attempts(folder, 1)[0]["pid"], signal.SIGKILL)
    assert code_of(pid) == 0
    starts = [(event["trial"], event["epoch"]) for event in events(folder, "start")]
    assert starts.count((0, 0)) == 1
    assert [trial for trial, _ in starts].count(0) == 1
    resumed = [epoch for trial, epoch in starts if trial == 1]
    assert len(resumed) == 2
    assert resumed[1] >= 2
    checked(folder, 2)
    each_as_undisturbed(study, folder)


def test_a_trial_that_kills_its_worker_fails_after_three_and_the_other_nine_complete(folder: Path) -> None:
    study = victims(
        space={"task.deed": choose("", "die"), "task.shift": choose(0.0, 0.1, 0.2)},
        trials=10,
        pruning=None,
        startup_trials=10,
    )
    assert code_of(coordinator(study, folder)) == 0
    rows = stored(folder)
    deadly = {number for number in rows if asked(folder, number)["task.deed"] == "die"}
    assert deadly
    assert {number for number, row in rows.items() if row["state"] == "FAIL"} == deadly
    assert all("died 3 times" in rows[number]["attributes"]["reason"] for number in deadly)
    assert len(events(folder, "death")) == 3 * len(deadly)
    page = collect(study, RunFolder(folder)).sweep
    assert {trial.number for trial in page.trials if trial.state == "failed"} == deadly
    assert page.counts == {"complete": 10 - len(deadly), "failed": len(deadly)}
    checked(folder, 10)


def test_deaths_are_remembered_by_the_next_coordinator(folder: Path) -> None:
    """Two deaths in epoch 1, then the coordinator is killed too; the next death is the third."""
    study = victims(task=Victim(deed="die"), trials=1, pruning=None)
    pid = coordinator(study, folder)
    until(lambda: len(events(folder, "death")) >= 2)
    os.kill(pid, signal.SIGKILL)
    code_of(pid)
    before = len(events(folder, "death"))
    assert code_of(coordinator(study, folder)) == 1  # nothing completed
    assert len(events(folder, "death")) == max(3, before)
    assert stored(folder)[0]["state"] == "FAIL"


def test_a_trial_that_gets_further_each_time_may_die_as_often_as_it_has_epochs(folder: Path) -> None:
    study = victims(task=Victim(pace=0.6), trials=1, pruning=None)
    pid = coordinator(study, folder)
    for epoch in range(3):
        until(lambda: reached(folder / "sweep/0000") >= epoch)  # noqa: B023
        os.kill(events(folder, "start")[-1]["pid"], signal.SIGKILL)
    assert code_of(pid) == 0
    assert [event["deaths"] for event in events(folder, "death")] == [1, 1, 1]
    checked(folder, 1)
    each_as_undisturbed(study, folder)


def test_a_worker_or_a_coordinator_that_is_stopped_for_a_while_costs_nothing(folder: Path) -> None:
    study = victims(task=Victim(pace=0.1), trials=4)
    pid = coordinator(study, folder)
    worker = until(lambda: children(pid))[0]
    os.kill(worker, signal.SIGSTOP)
    until(lambda: events(folder, "end"))  # of the other worker's trial: the coordinator is at work
    assert len(events(folder, "start")) == len({event["trial"] for event in events(folder, "start")})
    os.kill(worker, signal.SIGCONT)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: not at_work(folder))  # the workers have done what they had been given
    os.kill(pid, signal.SIGCONT)
    assert code_of(pid) == 0
    checked(folder, 4)
    each_as_undisturbed(study, folder)


def test_workers_end_themselves_when_the_coordinator_is_gone(folder: Path) -> None:
    pid = coordinator(victims(task=Victim(pace=5.0)), folder, workers=3)
    workers = until(lambda: len(children(pid)) == 3 and children(pid))
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    code_of(pid)
    until(lambda: not any(alive(worker) for worker in workers), 30)
    assert time.monotonic() - killed < 10


def test_a_trial_is_never_trained_by_two_at_once(folder: Path) -> None:
    """The coordinator is killed; its worker, which stops itself in epoch 1, does not notice. The next coordinator's
    worker waits for it."""
    stop = folder.parent / "stop"
    stop.touch()
    study = victims(task=Victim(deed="stop", here=str(stop)), trials=1, pruning=None)
    pid = coordinator(study, folder)
    worker = until(lambda: children(pid))[0]
    until(lambda: state(worker) == "T")
    stop.unlink()
    os.kill(pid, signal.SIGKILL)
    code_of(pid)
    pid = coordinator(study, folder)
    until(lambda: any(map(waits_for_lock, children(pid))))
    assert len(events(folder, "start")) == 1, "the lease is held by the stopped process"
    os.kill(worker, signal.SIGKILL)
    assert code_of(pid) == 0
    assert len(events(folder, "start")) == 2
    checked(folder, 1)
    each_as_undisturbed(study, folder)


@pytest.mark.parametrize("starters", [2, 8])
def test_of_several_coordinators_at_once_one_wins_and_the_others_name_it(folder: Path, starters: int) -> None:
    study = victims(task=Victim(pace=0.5), trials=2)

    def act() -> None:
        try:
            swept(study, folder)
        except InUse as refused:
            os._exit(73 if "in use by process" in str(refused) else 1)

    codes = sorted(code_of(pid) for pid in [start(act) for _ in range(starters)])
    assert codes == [0] + [73] * (starters - 1)
    checked(folder, 2)


def test_more_workers_than_trials_and_a_budget_that_grows(folder: Path) -> None:
    study = victims(trials=2)
    assert code_of(coordinator(study, folder, workers=6)) == 0
    checked(folder, 2)
    assert code_of(coordinator(replace(study, trials=5), folder, workers=3)) == 0
    checked(folder, 5)


def test_the_lock_is_freed_by_the_kernel_and_never_by_hand(folder: Path) -> None:
    """A lock file that a dead process has left, with the number of a living one in it, locks nothing."""
    folder.mkdir()
    (folder / "lock").write_text(f"process {os.getppid()} on here since yesterday")
    with study_lock(RunFolder(folder)):
        pid = start(lambda: study_lock(RunFolder(folder)).__enter__())
        assert code_of(pid) == 1
