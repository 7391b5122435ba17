"""What the default pruner costs: how often it ends the best of the configurations that a sweep has tried.

The last value of a configuration is 0 for the best one of the space, and 1 for the median one. All learn alike, but
the very best start slowly: they are behind by up to SLOWNESS, and have caught up at their last epoch. Over random
configurations early and last values rank almost alike, so nobody would notice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna.trial import TrialState

from tests.benchmarks.trust.experiment import Experiment, Row
from tests.benchmarks.trust.planted import Curve, World, planted_study, sweep_planted

EPOCHS, TRIALS = 12, 24
BEST = {"task.a": 0.3, "task.b": 0.7}
MEDIAN = 0.2044  # of the squared distance from there, over the unit square
SLOWNESS = 0.3
VERY_BEST = 0.05  # slowness falls by a factor of e over so much of the last value
NOISE = 0.1  # standard deviation of a noisy value

REMAINING_E = 1 - np.arange(1, EPOCHS + 1) / EPOCHS  # of the training, at the end of each epoch
LEARNING_E = 3 * REMAINING_E**2  # how far every configuration is from its last value


def last_value(params: Mapping[str, Any]) -> float:
    """What the configuration comes to without noise."""
    return sum((params[name] - best) ** 2 for name, best in BEST.items()) / MEDIAN


def slow_starters(_: int) -> Curve:
    """The very best are behind at first."""
    return lambda params, _: list(last_value(params) + LEARNING_E + _slowness(params))


def fast_starters(_: int) -> Curve:
    """The very best are ahead at first."""
    return lambda params, _: list(last_value(params) + LEARNING_E - _slowness(params))


def noisy_values(seed: int) -> Curve:
    """Nobody is slow, and each value is off by chance."""

    def curve(params: Mapping[str, Any], number: int) -> list[float]:
        noise_E = np.random.default_rng((seed, number)).standard_normal(EPOCHS)
        return list(last_value(params) + LEARNING_E + NOISE * noise_E)

    return curve


def _slowness(params: Mapping[str, Any]) -> np.ndarray:
    return SLOWNESS * math.exp(-last_value(params) / VERY_BEST) * REMAINING_E


WORLDS: Mapping[str, Callable[[int], Curve]] = {
    "slow-starters": slow_starters,
    "fast-starters": fast_starters,
    "noisy-values": noisy_values,
}


def once(seed: int) -> dict[str, float]:
    """Whether a sweep with the default settings pruned the best of the configurations that it tried, in each world."""
    return {f"best-pruned-{name}": float(_best_is_pruned(seed, curve(seed))) for name, curve in WORLDS.items()}


def _best_is_pruned(seed: int, curve: Curve) -> bool:
    swept = sweep_planted(planted_study(seed=seed, trials=TRIALS, epochs=EPOCHS), World(curve))
    best = min(swept.trials, key=lambda trial: last_value(trial.params))
    return best.state is TrialState.PRUNED


# Without a warm-up and without spared trials it was 0.16, 0 and 0.075 (200 repeats).
def experiments() -> tuple[Experiment, ...]:
    """The rows of this part."""
    experiment = Experiment(
        once,
        rows=(
            Row("best-pruned-slow-starters", most=0.05),
            Row("best-pruned-fast-starters", most=0.0),
            Row("best-pruned-noisy-values", most=0.075),
        ),
    )
    return (experiment,)
