"""Configurations that a ladder draws: Sobol points, ones near the best completed trial, and what TPE proposes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo import space as spaces
from hpo.direction import Direction
from hpo.search.ladder import MODELLED, Draw
from hpo.seeds import derive
from hpo.space import Choice, Distribution, Space
from hpo.study import tpe_sampler

BLOCK = 64  # points that are made together
NEAR = 0.1  # standard deviation of a step away from the best configuration, as a share of each range
CHANGED = 0.4  # probability that a choice of the best configuration is drawn anew, maybe as the same


def sobol_params(space: Space, seed: int, number: int) -> dict[str, Any]:
    """The point of that number in the space's scrambled Sobol sequence, which the seed alone determines.

    A parameter whose condition does not hold is left out.
    """
    block, place = divmod(number, BLOCK)
    point = _points(len(space), seed, block)[place]
    values = {
        name: _value(spaces.distribution_of(entry), float(u))
        for (name, entry), u in zip(space.items(), point, strict=True)
    }
    return spaces.active(space, values)


@functools.lru_cache(maxsize=64)
def _points(dimensions: int, seed: int, block: int) -> np.ndarray:
    from scipy.stats import qmc  # takes a second to import, and most sweeps draw no such point

    sequence = qmc.Sobol(dimensions, rng=seed)
    if block:  # to go on by none is an error
        sequence.fast_forward(block * BLOCK)
    points: np.ndarray = sequence.random(BLOCK)
    return points


def _value(distribution: Distribution, u: float) -> Choice:
    """The value at the share `u` of the distribution, which lies in [0, 1)."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(u * len(distribution.choices))]
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        return min(
            distribution.high, max(distribution.low, _between(distribution.low, distribution.high, u, distribution.log))
        )
    step = distribution.step or 1
    steps = round((distribution.high - distribution.low) / step)
    if distribution.log:
        low, high = distribution.low - step / 2, distribution.high + step / 2
        steps_up = min(steps, max(0, round((_between(low, high, u, log=True) - distribution.low) / step)))
    else:
        steps_up = int(u * (steps + 1))
    return distribution.low + steps_up * step


def _between(low: float, high: float, u: float, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    return low + u * (high - low)


def near_best(space: Space, seed: int, trials: Sequence[FrozenTrial], direction: Direction) -> dict[str, Any]:
    """A configuration near that of the best completed trial, as the seed determines.

    Each number is moved by a normal step and reflected at the bounds. Each choice is drawn anew with the probability
    CHANGED, and so is always what the best one has no value for.
    """
    completed = (trial for trial in trials if trial.state is TrialState.COMPLETE)
    best = direction.best(completed, key=lambda trial: trial.value).params
    rng = np.random.default_rng(seed)
    values = {}
    for name, entry in space.items():
        distribution = spaces.distribution_of(entry)
        is_kept = name in best and spaces.contains(distribution, best[name])
        values[name] = _nearby(distribution, best[name], rng) if is_kept else _value(distribution, rng.random())
    return spaces.active(space, values)


def _nearby(distribution: Distribution, value: Choice, rng: np.random.Generator) -> Choice:
    if isinstance(distribution, CategoricalDistribution):
        return _value(distribution, rng.random()) if rng.random() < CHANGED else value
    u = abs(_share(distribution, value) + rng.normal(0, NEAR))
    u = 1 - abs(1 - u)
    return _value(distribution, min(max(0.0, u), math.nextafter(1, 0)))


def _share(distribution: FloatDistribution | IntDistribution, value: Any) -> float:
    """The inverse of `_value`: where in the distribution a number lies; of a step, its middle."""
    low, high = float(distribution.low), float(distribution.high)
    if isinstance(distribution, IntDistribution) or distribution.step is not None:
        half = (distribution.step or 1) / 2
        low, high = low - half, high + half
    if distribution.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.5


def drawn_params(
    draw: Draw, space: Space, seed: int, number: int, trials: Sequence[FrozenTrial], direction: Direction
) -> dict[str, Any]:
    """The configuration that is drawn for the trial of this number, by the study's seed."""
    if draw == "sobol":
        return sobol_params(space, derive(seed, "sobol"), number)
    if draw == "near":
        return near_best(space, derive(seed, "near", number), trials, direction)
    return _tpe_params(space, derive(seed, "sampler", number), trials, direction)


def _tpe_params(space: Space, seed: int, trials: Sequence[FrozenTrial], direction: Direction) -> dict[str, Any]:
    """What TPE proposes from the completed trials alone: Optuna's constant liar would count paused ones, too."""
    sampler = tpe_sampler(space, seed, startup_trials=MODELLED)
    drafts = optuna.create_study(direction=direction.value, sampler=sampler)
    drafts.add_trials([trial for trial in trials if trial.state is TrialState.COMPLETE])
    return spaces.suggest(drafts.ask(), space)
