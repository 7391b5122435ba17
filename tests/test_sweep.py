"""Sweeps: the same rows however often they are interrupted, exact budgets, and failures that stay where they belong.

Workers that die, hang or poison: tests/faults.
"""

from __future__ import annotations

import gc
import hashlib
import math
import os
import random
import signal
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pytest
import torch
from torch import Tensor, nn

from hpo.contract.pruning import Median
from hpo.engine.training import fit
from hpo.errors import Refused, SweepFailed
from hpo.recipe import Recipe
from hpo.search.sweep import SweepTrials, sweep
from hpo.space import choose, integer, uniform
from hpo.storage.folder import RunFolder
from hpo.storage.summary import Summary, read_summary
from hpo.study import StudySpec
from hpo.task import Columns, Moment
from hpo.trial.lifecycle import Standing
from hpo.trial.provenance import identity
from hpo.trial.rebuild import rebuild
from hpo.trial.record import Outcome, read_outcome
from hpo.trial.sealed import read_sealed, write_sealed
from hpo.workers import coordinator
from hpo.workers.local import Inline, WorkerDied
from tests import sweeper as sweeping
from tests.benchmarks.trust.planted import World, sweep_planted
from tests.sweeper import Request, Sweeper, rows
from tests.toy import CHEAP, Batch, Toy, toy_study


@pytest.fixture
def tmp_path(memory_disk: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=memory_disk))


def run(study: StudySpec, folder: Path, **more) -> Standing:
    return sweep(study, RunFolder(folder), identity(study), device="cpu", **more)


def states(found: list[dict]) -> list[str]:
    return [row["state"] for row in found]


def failures(found: list[dict]) -> int:
    return sum(row["constraints"]["failed"] > 0 for row in found)


def sha_of(folder: Path) -> dict[str, str]:
    """Every file's content, but for the lock, which names its last holder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


# -- one worker, nothing goes wrong --------------------------------------------------------------------------------
STUDY = toy_study(trials=10)


@pytest.fixture(scope="module")
def folder(memory_disk: Path) -> Path:
    path = memory_disk / "plain"
    run(STUDY, path)
    return path


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict]:
    return rows(folder, "toy")


def test_the_budget_is_exact_and_nothing_is_left_running(found) -> None:
    assert [row["number"] for row in found] == list(range(10))
    assert set(states(found)) == {"COMPLETE", "PRUNED"}


def test_trial_0_is_the_default_configuration(found) -> None:
    assert found[0]["params"] == {"recipe.lr": 0.1, "task.shift": 0.0} == STUDY.defaults()


def test_every_trial_has_every_parameter_also_the_pruned_ones(found) -> None:
    """One trial without would take the parameter out of TPE's joint space for ever."""
    assert all(set(row["params"]) == set(STUDY.space) for row in found)


def test_a_value_is_the_best_of_a_run_that_anybody_can_repeat(found) -> None:
    """Against `fit` alone, with the trial's parameters and its seed."""
    for row in found:
        task, recipe = STUDY.configure(row["params"], STUDY.cheap)
        best = [
            progress.best
            for progress in fit(task, recipe, STUDY.cheap, seed=STUDY.training_seed(row["number"]), device="cpu")
        ]
        reported = list(row["intermediate"].values())
        assert reported == best[: len(reported)]
        assert row["values"] == [reported[-1]]
        assert len(reported) == (5 if row["state"] == "COMPLETE" else row["attributes"]["epochs"])


def test_those_trials_are_pruned_whose_best_is_worse_than_the_others_median(found) -> None:
    """The rule written out (Golovin et al. 2017, 3.2.1, on best scores): from epoch 1 on, with 3 trials completed and 2
    values to compare with, a trial that is worse than the median of the completed ones' at the same epoch."""
    assert not any(STUDY.spares(row["number"]) for row in found)
    for row in found:
        before = [other for other in found[: row["number"]] if other["state"] == "COMPLETE"]
        for epoch, value in row["intermediate"].items():
            others = [other["intermediate"][epoch] for other in before]
            hopeless = epoch >= 1 and len(others) >= 3 and value > statistics.median(others)
            last = epoch == max(row["intermediate"])
            assert hopeless == (row["state"] == "PRUNED" and last)
    assert "PRUNED" in states(found)


def test_a_spared_trial_is_marked_where_it_would_have_been_pruned_and_trained_to_its_end(tmp_path: Path) -> None:
    """Trial 6 alone is spared; from epoch 1 on it is worse than the median, by the rule written out above."""
    study = sweeping.STUDY
    assert [number for number in range(study.trials) if study.spares(number)] == [6]
    run(study, tmp_path)
    swept = rows(tmp_path, study.name)
    spared, before = swept[6], [row for row in swept[:6] if row["state"] == "COMPLETE"]
    assert spared["intermediate"][1] > statistics.median(row["intermediate"][1] for row in before)
    assert (spared["state"], spared["attributes"]["spared_at"], len(spared["intermediate"])) == ("COMPLETE", 1, 4)
    assert [row["number"] for row in swept if "spared_at" in row["attributes"]] == [6]
    outcomes = [read_outcome(RunFolder(tmp_path).trial("sweep", number)) for number in range(study.trials)]
    assert [outcome.spared_at for outcome in outcomes] == [None] * 6 + [1, None]
    rebuild(study, RunFolder(tmp_path), identity(study))
    assert rows(tmp_path, study.name) == swept


def test_a_result_that_was_written_before_trials_were_spared_is_read(folder: Path) -> None:
    trial = RunFolder(folder).trial("sweep", 0)
    outcome = read_outcome(trial)
    record = read_sealed(trial / "result.json")
    assert record.pop("spared_at") is None
    earlier = folder.with_name("earlier")
    write_sealed(earlier / "result.json", record)
    assert read_outcome(earlier) == outcome


def test_the_same_study_again_gives_the_same_rows(found, tmp_path: Path) -> None:
    run(STUDY, tmp_path)
    assert rows(tmp_path, "toy") == found


def test_a_finished_sweep_has_nothing_left_to_do(found, folder: Path) -> None:
    assert run(STUDY, folder).done == 10
    assert rows(folder, "toy") == found


def test_a_sweep_that_was_stopped_by_its_time_limit_or_its_budget_goes_on_as_if_it_had_not_been(
    found, tmp_path: Path
) -> None:
    assert run(STUDY, tmp_path, timeout=0).done == 0
    assert run(replace(STUDY, trials=5), tmp_path).done == 5
    assert rows(tmp_path, "toy") == found[:5]
    assert run(replace(STUDY, trials=3), tmp_path).done == 5, "a smaller budget takes nothing back"
    summaries: list[Summary] = []
    assert run(STUDY, tmp_path, watch=summaries.append).done == summaries[-1].done
    assert rows(tmp_path, "toy") == found
    best = min((row for row in found if row["state"] == "COMPLETE"), key=lambda row: row["values"])
    last = summaries[-1]
    assert last == read_summary(RunFolder(tmp_path))
    assert last.best is not None
    assert (last.best.value, last.best.number) == (best["values"][0], best["number"])
    counts = tuple(states(found).count(state) for state in ("COMPLETE", "PRUNED"))
    assert (last.count("complete"), last.count("pruned")) == counts


def test_a_trial_that_stops_early_carries_its_best_forward_to_the_last_epoch(tmp_path: Path) -> None:
    """So that others are compared with it at every epoch, and not only with those that ran long."""
    study = toy_study(
        trials=6,
        recipe=Recipe(lr=0.3, batch_size=16, patience=1),
        cheap=replace(CHEAP, epochs=8),
        space={"recipe.lr": uniform(0.2, 0.9)},
        pruning=None,
    )
    run(study, tmp_path)
    trained = []
    for row in rows(tmp_path, "toy"):
        task, recipe = study.configure(row["params"], study.cheap)
        best = [
            progress.best
            for progress in fit(task, recipe, study.cheap, seed=study.training_seed(row["number"]), device="cpu")
        ]
        assert list(row["intermediate"]) == list(range(8))
        assert list(row["intermediate"].values()) == best + best[-1:] * (8 - len(best))
        assert row["attributes"]["epochs"] == len(best)
        trained.append(len(best))
    assert min(trained) < 8


SMALL = replace(CHEAP, epochs=1, train=16, val=16)


def test_no_file_handles_pile_up_from_trial_to_trial(tmp_path: Path) -> None:
    seen = []
    gc.collect()  # what the tests before have left open
    run(
        toy_study(trials=20, pruning=None, smoke=SMALL, cheap=SMALL),
        tmp_path,
        watch=lambda _: seen.append(len(os.listdir("/proc/self/fd"))),
    )
    assert max(seen) - min(seen[2:]) <= 4


# -- interrupted ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def first() -> Iterator[Sweeper]:
    with sweeping.sweeper(hash_seed=1) as one:
        yield one


@pytest.fixture
def sweeper(first: Sweeper) -> Iterator[Sweeper]:
    yield first
    first.stop()  # what a failed test has left running


@pytest.fixture(scope="module")
def unbroken(memory_disk: Path) -> list[dict]:
    """By another process, with another PYTHONHASHSEED."""
    path = memory_disk / "unbroken"
    with sweeping.sweeper(hash_seed=2) as other:
        other.start(Request(str(path)))
        assert other.code() == 0
    return rows(path)


@pytest.mark.slow
def test_two_processes_with_different_hash_seeds_give_the_same_rows(sweeper, unbroken, tmp_path: Path) -> None:
    sweeper.start(Request(str(tmp_path)))
    assert sweeper.code() == 0
    assert rows(tmp_path) == unbroken
    assert {"COMPLETE", "PRUNED"} == set(states(unbroken))
    assert len({len(row["params"]) for row in unbroken}) == 2, "conditional parameters took part"
    assert any("spared_at" in row["attributes"] for row in unbroken), "a trial was spared"


@pytest.mark.slow
def test_a_sweep_killed_at_every_kind_of_moment_gives_the_unbroken_rows(sweeper, unbroken, tmp_path: Path) -> None:
    """SIGKILL just before the n-th commit or rename, n drawn anew at each start: among them the moments between a
    report and its pruning, two suggestions, a result and its telling."""
    rng, starts, code = random.Random(3), 0, None
    while code != 0:
        starts += 1
        sweeper.start(Request(str(tmp_path), die_at=rng.choice([rng.randint(1, 60), rng.randint(50, 120)])))
        code = sweeper.code()
        assert code in (0, -signal.SIGKILL)
        assert starts < 60
    assert starts > 8
    assert rows(tmp_path) == unbroken


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        pytest.param({"at": "epoch-", "past": True, "die_at": 1}, id="between each checkpoint and its report"),
        pytest.param({"at": "result.json", "die_at": 2}, id="between each last report and its result"),
        pytest.param({"at": "result.json", "past": True, "die_at": 1}, id="between each result and its telling"),
    ],
)
def test_a_sweep_killed_at_the_same_place_in_every_trial_gives_the_unbroken_rows(
    sweeper, unbroken, tmp_path: Path, place: dict
) -> None:
    starts, code = 0, None
    while code != 0:
        starts += 1
        sweeper.start(Request(str(tmp_path), **place))
        code = sweeper.code()
        assert code in (0, -signal.SIGKILL)
        assert starts < 60
    assert starts >= sweeping.STUDY.trials
    assert rows(tmp_path) == unbroken


def test_a_sweep_signalled_from_outside_at_random_times_gives_the_unbroken_rows(sweeper, unbroken, tmp_path) -> None:
    rng, codes = random.Random(4), []
    while 0 not in codes:
        after = rng.uniform(0.05, 0.3 + 0.2 * len(codes))  # longer each time, so that it ends on a slow machine too
        by = signal.SIGINT if len(codes) % 2 else signal.SIGKILL
        sweeper.start(Request(str(tmp_path), after=after, signal=by))
        codes.append(sweeper.code())
        assert codes[-1] in (0, 130 if by == signal.SIGINT else -signal.SIGKILL)
        assert len(codes) < 60
    assert len(codes) > 1
    assert rows(tmp_path) == unbroken


def test_a_second_coordinator_is_refused_and_told_who_holds_the_study(sweeper, tmp_path: Path) -> None:
    pid = sweeper.start(Request(str(tmp_path), trials=2))
    while not (tmp_path / "study.db").exists():
        time.sleep(0.01)
    os.kill(pid, signal.SIGSTOP)
    try:
        before = sha_of(tmp_path)
        with pytest.raises(Refused, match=rf"{tmp_path} is in use by process {pid}\b.*wait until it has ended"):
            run(replace(sweeping.STUDY, trials=2), tmp_path)
        assert sha_of(tmp_path) == before
    finally:
        os.kill(pid, signal.SIGCONT)
    assert sweeper.code() == 0
    assert run(replace(sweeping.STUDY, trials=2), tmp_path).done == 2, "it is free again"


# -- configurations that go wrong ----------------------------------------------------------------------------------
LETTERS = "abcdefghi"


@dataclass(frozen=True)
class Faulty(Toy):
    """The toy with a planted fault, which is searched. `ticket` tells trials apart."""

    fault: str = "none"
    ticket: float = 0.5

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        if self.fault in ("raises", "differs"):
            raise RuntimeError("planted" if self.fault == "raises" else f"planted {LETTERS[int(9 * self.ticket)]}")
        if self.fault == "memory":
            torch.empty(10**15)
        terms = super().loss(model, batch, at)
        return {**terms, "mse": terms["mse"] * (torch.nan if self.fault == "diverges" and at.epoch >= 2 else 1)}

    def metrics(self, columns: Columns) -> dict[str, float | Tensor]:
        odd = {"psnr_db": math.inf, "share": math.nan} if self.fault == "scores" else {}
        return super().metrics(columns) | odd


def faulty(faults: dict[str, int], trials: int) -> StudySpec:
    """A study in which each fault is drawn so often; its other trials are sound. The seed is found by looking ahead:
    with all trials drawn at random, what is drawn depends on nothing but which of the others failed."""
    study = toy_study(
        trials=trials,
        startup_trials=trials + 1,
        pruning=None,
        task=Faulty(),
        space={"task.fault": choose("none", *faults), "task.ticket": uniform(0, 1)},
    )
    for seed in range(10_000):
        drawn = planned(replace(study, seed=seed))
        if all(drawn.count(fault) == count for fault, count in faults.items()):
            return replace(study, seed=seed)
    raise AssertionError("no such seed")


def planned(study: StudySpec) -> list[str]:
    fails = {"diverges", "raises", "memory"}
    world = World(lambda params, number: [0.0], lambda params: "x" if params["task.fault"] in fails else "")
    return [trial.params["task.fault"] for trial in sweep_planted(study, world).trials]


def test_a_bad_configuration_is_its_own_outcome_and_no_infinity_reaches_optuna(tmp_path: Path) -> None:
    study = faulty({"diverges": 1, "raises": 1, "memory": 1, "scores": 1}, trials=8)
    now = run(study, tmp_path)
    assert (now.done, now.complete, now.pruned, now.failed) == (8, 5, 0, 3)
    by_fault = {row["params"]["task.fault"]: row for row in rows(tmp_path, "toy")}

    diverged = by_fault["diverges"]
    assert list(diverged["intermediate"]) == [0, 1]
    assert diverged["attributes"]["reason"].startswith("diverged: ")
    assert "in epoch 2: the loss was nan (mse = nan)" in diverged["attributes"]["reason"]

    memory = by_fault["memory"]
    assert (memory["values"], memory["intermediate"]) == (None, {})
    assert memory["attributes"]["reason"].startswith("out of memory: ")

    assert by_fault["raises"]["values"] is None
    assert by_fault["raises"]["attributes"]["reason"] == "RuntimeError: planted"
    for fault, row in by_fault.items():  # Optuna's failed trials would teach TPE nothing
        is_failed = fault in ("diverges", "memory", "raises")
        assert row["state"] == ("PRUNED" if is_failed else "COMPLETE")
        assert (row["constraints"]["failed"] > 0) == is_failed

    assert by_fault["scores"]["state"] == "COMPLETE"
    assert set(by_fault["scores"]["attributes"]["scores"]) == {"mse", "worst"}
    with sqlite3.connect(tmp_path / "study.db") as database:
        dump = "\n".join(database.iterdump())
    for word in ("NaN", "Infinity", "'NAN'", "INF_POS", "INF_NEG", "9e999", "9.0e+999"):
        assert word not in dump, f"{word} in the storage"


def test_a_trial_that_trains_on_finite_numbers_is_the_best_and_not_one_that_broke(tmp_path: Path) -> None:
    study = faulty({"diverges": 3}, trials=6)
    now = run(study, tmp_path)
    best = rows(tmp_path, "toy")[now.best_number]
    assert (best["state"], best["params"]["task.fault"]) == ("COMPLETE", "none")


def test_tpe_keeps_away_from_what_did_not_fit_in_memory(tmp_path: Path) -> None:
    """A larger size scores better, until it does not fit: its trials report the best values of all and then end. Told
    as failed, or as merely pruned, they would draw TPE there: 37 to 40 of the last 40 (measured), where it now is about
    16, TPE being drawn to the border from below. The real coordinator asks and is told; only training is left out."""
    study = toy_study(task=Sized(), space={"task.size": integer(1, 64)}, trials=60, startup_trials=10)
    source = SweepTrials(study, RunFolder(tmp_path), identity(study), device="cpu")
    sizes = []
    while job := source.next():
        size = job.params["task.size"]
        sizes.append(size)
        optuna.trial.Trial(source.optuna, job.trial_id).report(1 / size, 0)
        source.tell(
            job,
            Outcome("complete", value=1 / size, epochs=1) if size <= 32 else Outcome("failed", reason="out of memory"),
        )
    assert len(sizes) == 60
    assert sum(size > 32 for size in sizes[20:]) <= 20
    assert max(size for size in sizes if size <= 32) >= 30, "and yet it finds the best that fits"


@dataclass(frozen=True)
class Sized(Toy):
    size: int = 8


def test_three_equal_failures_in_a_row_stop_the_sweep_with_the_error(tmp_path: Path) -> None:
    study = toy_study(task=Faulty(fault="raises"), space={"task.ticket": uniform(0, 1)})
    with pytest.raises(SweepFailed, match="3 trials in a row failed alike: RuntimeError: planted") as error:
        run(study, tmp_path)
    assert 'raise RuntimeError("planted"' in str(error.value), "the traceback, down to the line"
    assert failures(rows(tmp_path, "toy")) == 3


def test_failures_that_differ_do_not_stop_it_but_a_sweep_without_a_result_has_failed(tmp_path: Path) -> None:
    study = toy_study(task=Faulty(fault="differs"), space={"task.ticket": uniform(0, 1)}, trials=5)
    with pytest.raises(SweepFailed, match=r"none of 5 trials was completed: RuntimeError: planted [a-i]"):
        run(study, tmp_path)
    assert failures(rows(tmp_path, "toy")) == 5


# -- an existing study that asked another question -----------------------------------------------------------------
class Upwards(Toy):
    direction = "maximize"
    overfit = replace(Toy.overfit, go=0.3, caution=0.05)


class MoreData(Toy):
    def batches(self, *args) -> Iterator[Batch]:
        for x_BI, y_BO in super().batches(*args):
            yield Batch(x_BI, y_BO + 1e-3)


DIFFERENCE = {
    "space": "task.shift has a wider range: ",
    "direction": "minimize there, maximize now",
    "data": f"{identity(STUDY)['data']} there, ",
    "fidelity": "fidelity.epochs was 5 there, and is 4 now",
    "pruning": "pruning.warmup_epochs was 1 there, and is 2 now",
    "seed": "0 there, 1 now",
    "recipe": "recipe.clip was 1.0 there, and is 2.0 now",
    "code": f"{identity(STUDY)['code']} there, 0123456789ab now",
}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"space": {"recipe.lr": STUDY.space["recipe.lr"], "task.shift": uniform(-1, 1.5)}}, "space"),
        ({"task": Upwards()}, "direction"),
        ({"task": MoreData()}, "data"),
        ({"cheap": replace(CHEAP, epochs=4)}, "fidelity"),
        ({"pruning": Median(warmup_epochs=2)}, "pruning"),
        ({"seed": 1}, "seed"),
        ({"recipe": replace(STUDY.recipe, clip=2.0)}, "recipe"),
        ("code", "code"),
    ],
    ids=["space", "direction", "data", "fidelity", "pruning", "seed", "recipe", "code"],
)
def test_another_question_in_the_same_place_is_refused_and_nothing_is_written(change, part, folder: Path) -> None:
    study = STUDY if change == "code" else replace(STUDY, trials=99, **change)
    asked = identity(study) | ({"code": "0123456789ab"} if change == "code" else {})
    before = sha_of(folder)
    with pytest.raises(Refused, match=rf"study 'toy' exists with other .*\b{part}\b") as error:
        sweep(study, RunFolder(folder), asked, device="cpu")
    assert f"  {part}: {DIFFERENCE[part]}" in str(error.value)
    assert "another name" in str(error.value)
    assert sha_of(folder) == before


# -- two workers ---------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_two_workers_finish_what_a_killed_coordinator_left(sweeper, tmp_path: Path) -> None:
    """Budget exact, the interrupted trial under its own number, none left running, and each row's values are those of
    its parameters, whoever computed them."""
    sweeper.start(Request(str(tmp_path), die_at=100))
    assert sweeper.code() == -signal.SIGKILL
    before = rows(tmp_path)
    assert states(before)[-1] == "RUNNING"
    study = sweeping.STUDY
    assert run(study, tmp_path, workers=2).done == study.trials
    after = rows(tmp_path)
    assert [row["number"] for row in after] == list(range(study.trials))
    assert set(states(after)) <= {"COMPLETE", "PRUNED"}
    assert [row["params"] for row in after][: len(before) - 1] == [row["params"] for row in before][:-1]
    for row in after:
        task, recipe = study.configure(row["params"], study.cheap)
        best = [
            progress.best
            for progress in fit(task, recipe, study.cheap, seed=study.training_seed(row["number"]), device="cpu")
        ]
        reported = list(row["intermediate"].values())
        assert reported == (best + best[-1:] * study.cheap.epochs)[: len(reported)]


class DiesAfterwards(Inline):
    """A backend whose workers die when they have written their result, and before they could send it."""

    def submit(self, fn, /, *args, **kwargs):
        super().submit(fn, *args, **kwargs)
        future = Future()
        future.set_exception(WorkerDied(3))
        return future


def test_the_result_that_a_dead_worker_has_written_counts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(coordinator, "executor", lambda *_, **__: DiesAfterwards())
    study = toy_study(trials=3, pruning=None)
    run(study, tmp_path)
    assert states(rows(tmp_path, "toy")) == ["COMPLETE"] * 3
    run(study, tmp_path)  # and the next command finds folders and storage of one mind
