"""How far the configurations of a gate lie apart, measured by the seeds of one configuration."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import scipy  # which imports its parts at their first use

from hpo.promotion.intervals import CONFIDENCE, Interval
from hpo.promotion.noise import within_groups


def spread_ratio(full_values: Sequence[float], runs: Sequence[Sequence[float]]) -> Interval | None:
    """The variance of the gate's full values, divided by the variance between the seeds of one configuration.

    `runs` holds the values of each configuration that has several. The 95 % interval is that of a ratio of variances
    (F distribution). Where it includes 1, that is evidence that nothing that is searched matters, and no proof: a
    spread of twice the noise often looks the same. None where one of the variances is not known, or the second is 0.
    """
    noise = within_groups(runs)
    if len(full_values) < 2 or noise is None or not noise.value:
        return None
    ratio = statistics.variance(full_values) / noise.value
    tail = (1 - CONFIDENCE) / 2
    low, high = scipy.special.fdtri(len(full_values) - 1, noise.freedom, [tail, 1 - tail])
    return Interval(ratio, ratio / float(high), ratio / float(low))
