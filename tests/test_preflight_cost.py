"""What preflight expects a sweep to cost, and how little training it takes to try the hyperparameters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from hpo.checking.cost import Cost, cost_check, measure_cost
from hpo.contract.pruning import Median
from hpo.space import choose
from hpo.study import StudySpec
from hpo.task import Fidelity, Split
from hpo.watchdog.limit import Limit
from hpo.workers.coordinator import executor
from tests.test_preflight import run_preflight
from tests.toy import CHEAP, Batch, Toy, toy_study


def measured(study: StudySpec, workers: int) -> Cost:
    cost = measure_cost(study, workers, "cpu", executor(1))
    assert isinstance(cost, Cost)
    return cost


def test_the_estimate_counts_whole_rounds_of_workers() -> None:
    """12 trials on 5 workers take three rounds."""
    cost = measured(toy_study(), 5)
    assert cost.sweep_seconds == pytest.approx(3 * cost.slowest_seconds)
    assert cost.peak_mb > 50


@pytest.mark.parametrize(("minutes", "status"), [(None, "go"), (30, "go"), (29, "caution")])
def test_a_limit_that_would_end_the_slowest_trial_is_a_caution(minutes: float | None, status: str) -> None:
    cost = Cost(trial_seconds=600, slowest_seconds=1800, sweep_least_seconds=1, sweep_seconds=1, workers=1, peak_mb=900)
    check = cost_check(toy_study(limit=Limit(minutes=minutes)), cost)
    assert check.status == status
    assert check.allowed == (f"{minutes} min 00 s a trial (limit.minutes)" if minutes else "no limit")


@dataclass(frozen=True)
class Slow(Toy):
    """Takes 0.2 s an epoch longer, unless it is fast."""

    fast: bool = True

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if split == "train" and not self.fast:
            time.sleep(0.2)
        return super().batches(split, fidelity, batch_size, rng)


def test_a_sweep_is_expected_to_cost_what_its_slow_trials_do_and_not_the_default_alone() -> None:
    """Of three drawn configurations some are slow: five epochs of 0.2 s a trial; 12 trials on 4 workers: three
    rounds."""
    cost = measured(toy_study(task=Slow(), space={"task.fast": choose(True, False)}), 4)
    assert cost.slowest_seconds >= 5 * 0.2
    assert cost.sweep_seconds >= 3 * 5 * 0.2


@pytest.mark.parametrize(
    ("pruning", "share"),
    [
        (None, 1),
        (Median(warmup_epochs=0, startup_trials=3), (3 + 9 * 1 / 5) / 12),
        (Median(warmup_epochs=4, startup_trials=3), 1),
    ],
)
def test_the_least_is_what_is_left_where_everything_is_pruned_that_may_be(
    pruning: Median | None, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 trials of 5 epochs, one worker."""
    monkeypatch.setattr("hpo.checking.cost.LEAST_TIMED", 1)  # the default alone, so the mean is its time
    cost = measured(toy_study(pruning=pruning), 1)
    assert cost.sweep_least_seconds == pytest.approx(share * cost.sweep_seconds)


class Counted(Toy):
    """Counts the epochs that are begun at a smoke fidelity of its own size."""

    begun: ClassVar[list[int]] = []

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if split == "train" and fidelity.train == 24:
            self.begun.append(fidelity.epochs)
        return super().batches(split, fidelity, batch_size, rng)


def test_a_hyperparameter_is_tried_no_longer_than_until_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a smoke fidelity of five epochs: five for the smoke run, five to repeat it, five from a checkpoint, one with
    another seed, and one for each of the two hyperparameters. Six more look at the data."""
    begun: list[int] = []
    monkeypatch.setattr(Counted, "begun", begun)
    study = toy_study(task=Counted(), smoke=replace(CHEAP, train=24))
    assert run_preflight(study, tmp_path).status == "go"
    looks = 1 + 4 + 1  # whether all are there, whether they repeat, and whether another process has the same
    assert len(begun) == looks + 3 * 5 + 1 + 2 * 1
