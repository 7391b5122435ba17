"""What every trial of a sweep came to, pruned ones too, as numbers that a linear model can explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # which imports its parts at their first use

from hpo.direction import Direction

OUTLYING = 3.0  # interquartile ranges from the median; values beyond are clipped there


@dataclass(frozen=True)
class Observation:
    """What one trial says: the values that it had, and how it scored.

    `value` is the score of a trial that reached its end. Another one has its `curve`, best score so far by epoch; it
    counts as the worst where that is empty.
    """

    params: Mapping[str, Any]
    value: float | None
    curve: Mapping[int, float]
    is_modelled: bool = False  # proposed by the sampler's model, and not drawn at random


def final_values(observations: Sequence[Observation], direction: Direction) -> np.ndarray:
    """[trials] scores at the end. A stopped trial has its last score plus the median gain, from that epoch to the end,
    of the trials that went on; one without any score has the worst of all."""
    ends = np.array([_end(observation, observations) for observation in observations])
    known = ends[np.isfinite(ends)]
    worst = direction.sign * (direction.sign * known).min() if len(known) else 0.0
    return np.where(np.isfinite(ends), ends, worst)


def _end(observation: Observation, observations: Sequence[Observation]) -> float:
    """NaN where the trial has no score at all."""
    if observation.value is not None:
        return observation.value
    if not observation.curve:
        return np.nan
    epoch = max(observation.curve)
    gains = [each.value - each.curve[epoch] for each in observations if each.value is not None and epoch in each.curve]
    return observation.curve[epoch] + (float(np.median(gains)) if gains else 0.0)


def responses(observations: Sequence[Observation], direction: Direction) -> np.ndarray:
    """[trials, 2] the normal scores of the ranks, and the values clipped to the median +- 3 interquartile ranges.

    The ranks are robust against a long tail, the values see more where there is none.
    """
    values = final_values(observations, direction)
    scores = scipy.special.ndtri((scipy.stats.rankdata(values) - 0.5) / len(values))
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = OUTLYING * (high - low)
    clipped = np.clip(values, middle - reach, middle + reach) if reach > 0 else values
    return np.stack([scores, clipped], axis=1)
