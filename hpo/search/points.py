"""Configurations that a ladder draws: points of a scrambled Sobol sequence, and what TPE proposes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo import space as spaces
from hpo.direction import Direction
from hpo.search.ladder import MODELLED, Draw
from hpo.seeds import derive
from hpo.space import Choice, Distribution, Space
from hpo.study import tpe_sampler

BLOCK = 64  # points that are made together


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


@functools.lru_cache(maxsize=16)
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


def drawn_params(
    draw: Draw, space: Space, seed: int, number: int, trials: Sequence[FrozenTrial], direction: Direction
) -> dict[str, Any]:
    """The configuration that is drawn for the trial of this number, by the study's seed."""
    if draw == "sobol":
        return sobol_params(space, derive(seed, "sobol"), number)
    return _tpe_params(space, derive(seed, "sampler", number), trials, direction)


def _tpe_params(space: Space, seed: int, trials: Sequence[FrozenTrial], direction: Direction) -> dict[str, Any]:
    """What TPE proposes from the completed trials alone: Optuna's constant liar would count paused ones, too."""
    sampler = tpe_sampler(space, seed, startup_trials=MODELLED)
    drafts = optuna.create_study(direction=direction.value, sampler=sampler)
    drafts.add_trials([trial for trial in trials if trial.state is TrialState.COMPLETE])
    return spaces.suggest(drafts.ask(), space)
