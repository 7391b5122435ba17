"""ASHA of Ray Tune and of Syne Tune on tables of learning curves: run by tests.benchmarks.peers.

    python -m tests.benchmarks.peers_replay SEEDS TABLE ...

It runs in an environment that has ray[tune], syne-tune and Optuna, and not torch. Configurations are random, as ASHA's
are; each library's own scheduler says after each epoch whether a trial goes on. Prints, by library, for each table the
mean over seeds of the full trainings until a completed trial has a regret of 0.10.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from hpo.space import suggest
from tests.benchmarks.search.replay import Search, play
from tests.benchmarks.search.tables import Table, read_table

ETA = 3
REGRET = 0.10


@dataclass
class Halving:
    """Trials an epoch at a time, with a scheduler that says whether each goes on."""

    table: Table
    seed: int
    trials: dict[int, SimpleNamespace] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        np.random.seed(self.seed)
        self.draws = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=self.seed))
        self.scheduler = self.made()

    def made(self) -> Any:
        """The library's scheduler."""
        raise NotImplementedError

    def goes_on(self, trial: SimpleNamespace, result: dict[str, float]) -> bool:
        """What the scheduler says after an epoch."""
        raise NotImplementedError

    def add(self, trial: SimpleNamespace) -> None:
        """Tell the scheduler of a new trial."""
        raise NotImplementedError

    def start(self) -> tuple[int, int]:
        if self.waiting:
            return self.waiting.pop(0), 1
        drawn = self.draws.ask()
        params = suggest(drawn, self.table.space)
        self.draws.tell(drawn, state=TrialState.FAIL)
        trial = SimpleNamespace(trial_id=drawn.number, config={"x": 0.5}, curve=self.table.curve(params), epoch=0)
        self.trials[drawn.number] = trial
        self.add(trial)
        return drawn.number, 1

    def end(self, number: int) -> float | None:
        trial = self.trials[number]
        trial.epoch += 1
        value = float(trial.curve[: trial.epoch].min())
        if self.goes_on(trial, {"training_iteration": trial.epoch, "value": value}):
            self.waiting.append(number)
        return value if trial.epoch == self.table.epochs else None


class Ray(Halving):
    """Ray Tune's ASHAScheduler."""

    def made(self) -> Any:
        from ray.tune.schedulers import ASHAScheduler

        return ASHAScheduler(
            time_attr="training_iteration",
            metric="value",
            mode="min",
            max_t=self.table.epochs,
            grace_period=1,
            reduction_factor=ETA,
        )

    def add(self, trial: SimpleNamespace) -> None:
        self.scheduler.on_trial_add(None, trial)

    def goes_on(self, trial: SimpleNamespace, result: dict[str, float]) -> bool:
        return self.scheduler.on_trial_result(None, trial, result) == "CONTINUE"


class Syne(Halving):
    """Syne Tune's ASHA."""

    def made(self) -> Any:
        from syne_tune.config_space import uniform
        from syne_tune.optimizer.baselines import ASHA

        return ASHA(
            {"x": uniform(0, 1)},
            metric="value",
            time_attr="training_iteration",
            max_t=self.table.epochs,
            grace_period=1,
            reduction_factor=ETA,
            random_seed=self.seed,
        )

    def add(self, trial: SimpleNamespace) -> None:
        self.scheduler.on_trial_add(trial)

    def goes_on(self, trial: SimpleNamespace, result: dict[str, float]) -> bool:
        return self.scheduler.on_trial_result(trial, result) == "CONTINUE"


def mean_time(make: type[Halving], table: Table, seeds: int) -> float:
    """The mean over seeds of the full trainings until a completed trial has a regret of 0.10."""
    searches: list[Search] = [make(table, seed) for seed in range(seeds)]
    return statistics.fmean(play(search, table.epochs, table.regret, 1).time_to(REGRET) for search in searches)


def main(seeds: int, paths: list[Path]) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.WARNING)
    tables = [read_table(path) for path in paths]
    libraries = {"Ray Tune": Ray, "Syne Tune": Syne}
    print(json.dumps({name: [mean_time(make, table, seeds) for table in tables] for name, make in libraries.items()}))


if __name__ == "__main__":
    main(int(sys.argv[1]), list(map(Path, sys.argv[2:])))
