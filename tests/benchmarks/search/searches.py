"""Two searches over a table: the product's own, and stock Optuna."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from hpo.direction import Direction
from hpo.search.ladder import Begin, Curve, GoOn, Ladder
from hpo.search.points import drawn_params
from hpo.seeds import derive
from hpo.space import suggest
from tests.benchmarks.search.tables import Table


class Auto:
    """pruning="auto": what the sweep asks of each trial, from the ladder and the points that it uses itself."""

    def __init__(self, table: Table, seed: int, trainings: int) -> None:
        self.table, self.seed = table, seed
        self.ladder = Ladder(table.epochs, budget=trainings * table.epochs)
        self.curves: list[Curve] = []
        self.best_so_far: list[np.ndarray] = []
        self.completed: list[optuna.trial.FrozenTrial] = []
        self.params: list[dict[str, Any]] = []

    def start(self) -> tuple[int, int] | None:
        """What a free worker does now: a trial's number, and how many epochs it takes; None: nothing yet."""
        step = self.ladder.next(self.curves)
        if isinstance(step, Begin):
            number = len(self.curves)
            params = drawn_params(step.draw, self.table.space, self.seed, number, self.completed, Direction.MINIMIZE)
            self.params.append(params)
            self.best_so_far.append(np.minimum.accumulate(self.table.curve(params)))
            self.curves.append(Curve(number, step.way, (), step.epochs))
            return number, step.epochs
        if isinstance(step, GoOn):
            curve = self.curves[step.number]
            self.curves[step.number] = replace(curve, spent=step.epochs, is_paused=False)
            return step.number, step.epochs - curve.spent
        return None

    def end(self, number: int) -> float | None:
        """The trial has come to its next pause, or to its end: then its value."""
        curve = self.curves[number]
        costs = tuple(self.best_so_far[number][: curve.spent].tolist())
        is_complete = curve.spent == self.table.epochs
        self.curves[number] = replace(curve, costs=costs, is_paused=not is_complete, is_complete=is_complete)
        if not is_complete:
            return None
        distributions = dict(self.table.space)
        self.completed.append(
            optuna.trial.create_trial(value=costs[-1], params=self.params[number], distributions=distributions)
        )
        return costs[-1]


@dataclass
class Running:
    """A trial of stock Optuna that runs."""

    trial: optuna.Trial
    curve_E: np.ndarray
    epochs: int = 0


@dataclass
class Stock:
    """Optuna's multivariate TPE and its median pruner, an epoch at a time, each value reported as it is."""

    table: Table
    seed: int
    running: dict[int, Running] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)  # trials that have ended an epoch and go on

    def __post_init__(self) -> None:
        self.study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(multivariate=True, seed=derive(self.seed, "stock") % 2**32),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=6, n_min_trials=8),
        )

    def start(self) -> tuple[int, int]:
        if self.waiting:
            return self.waiting.pop(0), 1
        trial = self.study.ask()
        self.running[trial.number] = Running(trial, self.table.curve(suggest(trial, self.table.space)))
        return trial.number, 1

    def end(self, number: int) -> float | None:
        run = self.running[number]
        run.trial.report(float(run.curve_E[run.epochs]), run.epochs)
        run.epochs += 1
        if run.trial.should_prune():
            self.study.tell(run.trial, state=TrialState.PRUNED)
            return None
        if run.epochs < self.table.epochs:
            self.waiting.append(number)
            return None
        value = float(run.curve_E.min())
        self.study.tell(run.trial, value)
        return value
