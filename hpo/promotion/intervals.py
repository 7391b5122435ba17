"""Means with intervals that say how far they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes half a second to import

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the range that covers the true one with probability CONFIDENCE."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def crossed_interval(values_SU: np.ndarray) -> Interval:
    """Interval for the mean over seeds *and* test units, each drawn from many: S seeds scored on the same U units.

    For paired differences pass the differences. With one seed the spread of training is unknown, and the interval is
    over units alone. Raises ValueError below two units.

    Source: two-way random effects without replication; var(mean) = (MS_seed + MS_unit - MS_rest) / (S U), degrees of
    freedom by Satterthwaite 1946. With two or three seeds that alone covers too seldom, so the interval is never
    narrower than Student's over the seeds' means, or over the units' means.
    """
    seeds, units = values_SU.shape
    if units < 2:
        raise ValueError(f"an interval needs at least 2 test units; got {units}")
    mean = float(values_SU.mean())
    by_unit_U = values_SU.mean(0)
    if seeds == 1:
        return _student(mean, float(by_unit_U.var(ddof=1)) / units, units - 1)
    by_seed_S = values_SU.mean(1)
    rest_SU = values_SU - by_seed_S[:, None] - by_unit_U[None] + mean
    squares = (
        (units * float(by_seed_S.var(ddof=1)), seeds - 1),
        (seeds * float(by_unit_U.var(ddof=1)), units - 1),
        (float((rest_SU**2).sum()) / ((seeds - 1) * (units - 1)), (seeds - 1) * (units - 1)),
    )
    of_seeds, of_units, of_rest = squares
    combined = of_seeds[0] + of_units[0] - of_rest[0]
    candidates = [of_seeds, of_units]
    if combined > 0:
        candidates.append((combined, combined**2 / sum(square**2 / free for square, free in squares)))
    intervals = [_student(mean, square / values_SU.size, free) for square, free in candidates]
    return max(intervals, key=lambda interval: interval.high - interval.low)


def _student(mean: float, variance: float, freedom: float) -> Interval:
    half = float(special.stdtrit(max(1.0, freedom), 0.5 + CONFIDENCE / 2)) * variance**0.5
    return Interval(mean, mean - half, mean + half)
