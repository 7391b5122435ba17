"""Means with confidence intervals, over training seeds and test units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special  # scipy.stats takes half a second to import

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval: the range covers the true mean with probability CONFIDENCE."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:z.4g} [{self.low:z.4g}, {self.high:z.4g}]"  # z: a tie is 0, not -0

    def within(self, bounds: tuple[float, float] | None) -> Interval:
        """The interval without what lies beyond the bounds; the same where there are none."""
        if bounds is None:
            return self
        least, most = bounds
        return Interval(self.mean, max(self.low, least), min(self.high, most))

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the range; a bound at 0 does not exclude it."""
        return self.low > 0 or self.high < 0


class _MeanSquare(NamedTuple):
    """A mean square of the analysis of variance, or a sum of them."""

    value: float
    freedom: float  # degrees of freedom


def crossed_interval(values_SU: np.ndarray, centre: float | None = None) -> Interval:
    """Return the interval for the mean over seeds *and* test units: values [S, U] of S seeds on the same U units.

    Seeds and units each count as drawn from many. For paired differences pass the differences. With one seed the spread
    of training is unknown, and the interval is over units alone. `centre` is what the interval is of, where that is not
    the mean of the values: the score of the whole split, of which the values are pseudo-values. Raises ValueError below
    two units.

    Source: two-way random effects without replication; var(mean) = (MS_seed + MS_unit - MS_rest) / (S U), degrees of
    freedom by Satterthwaite 1946. With two or three seeds that interval covers the true mean too rarely, so it is never
    narrower than Student's over the seeds' means, or over the units' means.
    """
    seeds, units = values_SU.shape
    if units < 2:
        raise ValueError(f"an interval needs at least 2 test units; got {units}")
    mean = float(values_SU.mean())
    middle = mean if centre is None else centre
    unit_means_U = values_SU.mean(0)
    if seeds == 1:
        return _student_interval(middle, float(unit_means_U.var(ddof=1)) / units, units - 1)
    seed_means_S = values_SU.mean(1)
    rest_SU = values_SU - seed_means_S[:, None] - unit_means_U[None] + mean
    rest_freedom = (seeds - 1) * (units - 1)
    by_seed = _MeanSquare(units * float(seed_means_S.var(ddof=1)), seeds - 1)
    by_unit = _MeanSquare(seeds * float(unit_means_U.var(ddof=1)), units - 1)
    rest = _MeanSquare(float((rest_SU**2).sum()) / rest_freedom, rest_freedom)
    candidates = [by_seed, by_unit]
    combined = by_seed.value + by_unit.value - rest.value
    if combined > 0:
        candidates.append(_MeanSquare(combined, _satterthwaite_freedom(combined, by_seed, by_unit, rest)))
    intervals = [_student_interval(middle, square.value / values_SU.size, square.freedom) for square in candidates]
    return max(intervals, key=lambda interval: interval.high - interval.low)


def interval_of_runs(values_S: np.ndarray) -> Interval:
    """Return Student's interval for the mean over runs, each with a test split of its own: values [S].

    With one run it is unbounded.
    """
    runs = len(values_S)
    mean = float(values_S.mean())
    if runs < 2:
        return Interval(mean, -math.inf, math.inf)
    return _student_interval(mean, float(values_S.var(ddof=1)) / runs, runs - 1)


def _satterthwaite_freedom(combined: float, *squares: _MeanSquare) -> float:
    """The degrees of freedom of a sum (or difference) of mean squares that comes to `combined`."""
    return combined**2 / sum(square.value**2 / square.freedom for square in squares)


def _student_interval(mean: float, variance: float, freedom: float) -> Interval:
    """Student's interval of a mean whose own variance is `variance`."""
    quantile = float(special.stdtrit(max(1.0, freedom), 0.5 + CONFIDENCE / 2))
    half_width = quantile * variance**0.5
    return Interval(mean, mean - half_width, mean + half_width)
