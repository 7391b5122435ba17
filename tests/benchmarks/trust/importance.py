"""Does the report name what matters, and nothing where nothing does? Sweeps with the product's sampler and pruner.

A driver moves the score with a standard deviation of twice the noise over the space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna

from hpo.contract.pruning import Median
from hpo.page.collect_sweep import trial_from
from hpo.page.observed import study_separation
from hpo.separation.stepwise import Separation
from hpo.space import Space, choose, uniform
from tests.benchmarks.trust.experiment import Experiment, Row
from tests.benchmarks.trust.planted import World, planted_study, sweep_planted

EPOCHS = 6
FALL = 3.0  # of every curve, from its first epoch to its last
SLOPE = 2 * math.sqrt(12)  # of a driver on [0, 1]: its values have a standard deviation of 2
KINDS = ("plain", "light", "heavy", "double")
STEP = 2 * math.sqrt(4 / 5)  # from kind to kind: the same deviation of 2

Level = Callable[[Mapping[str, Any]], float]  # of a configuration, without the noise


@dataclass(frozen=True)
class BadHalf(Median):
    """Stop a trial that is worse than the middle of the space in its second epoch."""

    middle: float = 0.0

    def pruner(self, epochs: int) -> optuna.pruners.BasePruner:
        """The Optuna pruner of this rule, for trials of `epochs`."""
        return optuna.pruners.ThresholdPruner(upper=self.middle + FALL * (1 - 2 / epochs), n_warmup_steps=1)


def experiments() -> tuple[Experiment, ...]:
    """Five useless hyperparameters, a driver whose bad half is pruned, one driver of ten, and a steep valley."""
    numeric = (Row("importance-pruned-number-first", least=0.95), Row("importance-pruned-number-named", least=0.95))
    choice = (Row("importance-pruned-choice-first", least=0.95), Row("importance-pruned-choice-named", least=0.90))
    valley = (Row("importance-useless-beside-valley-named", most=0.08),)
    ten = (Row("importance-one-of-ten-named", least=0.90), Row("importance-useless-of-ten-named", most=0.08))
    return (
        *(_useless(trials) for trials in (24, 50)),
        Experiment(partial(_pruned, numbers(5), _rising, SLOPE / 2, numeric), numeric, repeats=400),
        Experiment(partial(_pruned, _with_kind(), _by_kind, 1.5 * STEP, choice), choice, repeats=400),
        Experiment(partial(_one_of_ten, ten), ten, repeats=400),
        Experiment(partial(_beside_valley, valley[0].name), valley, repeats=200),
    )


def numbers(count: int) -> dict[str, Any]:
    """A space of so many numbers from 0 to 1."""
    return {f"task.{name}": uniform(0, 1) for name in "abcdefghij"[:count]}


def separated(space: Space, level: Level, seed: int, *, trials: int, pruning: Median) -> Separation:
    """What the report says of a sweep."""
    spec = planted_study(space, seed=seed, trials=trials, epochs=EPOCHS, pruning=pruning)
    swept = sweep_planted(spec, World(partial(_curve, level, seed)))
    return study_separation(spec, [trial_from(trial) for trial in swept.trials])


def _curve(level: Level, seed: int, params: Mapping[str, Any], number: int) -> list[float]:
    rng = np.random.default_rng([seed, number])
    end = level(params) + rng.standard_normal()
    falling = FALL * (1 - np.arange(1, EPOCHS + 1) / EPOCHS)
    return (end + falling + 0.3 * rng.standard_normal(EPOCHS)).tolist()


def _useless(trials: int) -> Experiment:
    row = Row(f"importance-abstains-{trials}-trials", least=0.93)
    return Experiment(partial(_flat, trials, row.name), (row,), repeats=400)


def _flat(trials: int, row: str, seed: int) -> Mapping[str, float]:
    return {row: float(separated(numbers(5), _nothing, seed, trials=trials, pruning=Median()).is_flat)}


def _pruned(space: Space, level: Level, middle: float, rows: tuple[Row, Row], seed: int) -> Mapping[str, float]:
    driver = next(iter(space))
    result = separated(space, level, seed, trials=24, pruning=BadHalf(middle=middle))
    ranked = [finding.names for finding in (*result.named, *result.rest)]
    first, named = rows
    return {first.name: float(ranked[0] == (driver,)), named.name: float(driver in result.names)}


def _one_of_ten(rows: tuple[Row, Row], seed: int) -> Mapping[str, float]:
    result = separated(numbers(10), _rising, seed, trials=24, pruning=Median())
    driver, useless = rows
    return {driver.name: float("task.a" in result.names), useless.name: float(bool(result.names - {"task.a"}))}


def _beside_valley(row: str, seed: int) -> Mapping[str, float]:
    result = separated(numbers(5), _valley, seed, trials=48, pruning=Median())
    return {row: float(bool(result.names - {"task.a"}))}


def _nothing(params: Mapping[str, Any]) -> float:
    return 0.0


def _rising(params: Mapping[str, Any]) -> float:
    return SLOPE * float(params["task.a"])


def _valley(params: Mapping[str, Any]) -> float:
    """Steep: three times the noise over the space."""
    return 40.0 * (float(params["task.a"]) - 0.5) ** 2


def _by_kind(params: Mapping[str, Any]) -> float:
    return STEP * KINDS.index(params["task.kind"])


def _with_kind() -> dict[str, Any]:
    return {"task.kind": choose(*KINDS), **numbers(4)}
