"""Means with confidence intervals, over training seeds and test units.

A promotion calls, in the order in which its figures are read:

- `lead_interval`: of a configuration's lead over another one, from the paired leads of their common runs;
- `level_interval`: of a configuration's own value or its lead over a baseline, from runs that did not choose it;
- `lead_interval_in_folds`, `level_interval_in_folds`: the same where each run has a test fold of its own;
- `crossed_interval`: of any table of values that brings its own seed noise along; a baseline's own value.

The noise of a run comes from `run_noise` (a lead) and `level_noise` (a level), pooled over all runs of the promotion,
so that one or two runs are enough for an interval. The spread of units may come from validation too (`elsewhere`, by
`unit_spread`). Where one unit in twenty carries a lead, 28 test units hold none of these with a probability of
.95^28 = 24 %: they all agree, and no interval that is read from them can cover the truth more often than in 76 % of
cases. With 28 validation units it is .95^56 = 6 %.

Shape suffixes: S seeds (runs), U test units (blocks of examples).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hpo.promotion.dunnett import dunnett
from hpo.promotion.noise import MeanSquare, pooled

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval: the range covers the true mean with probability `confidence`."""

    mean: float
    low: float
    high: float
    confidence: float = CONFIDENCE

    def __str__(self) -> str:
        return f"{self.mean:z.4g} [{self.low:z.4g}, {self.high:z.4g}]"  # z: a tie is 0, not -0

    def within(self, bounds: tuple[float, float] | None) -> Interval:
        """The interval without what lies beyond the bounds; the same where there are none."""
        if bounds is None:
            return self
        least, most = bounds
        return replace(self, low=max(self.low, least), high=min(self.high, most))

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the range; a bound at 0 does not exclude it."""
        return self.low > 0 or self.high < 0


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
    seeds = len(values_SU)
    run = MeanSquare(float(values_SU.mean(1).var(ddof=1)), seeds - 1) if seeds > 1 else MeanSquare(0.0, math.inf)
    return _crossed(values_SU, run, None, centre, CONFIDENCE, _student(CONFIDENCE))


def lead_interval(
    leads_SU: np.ndarray,
    noise: MeanSquare | None,
    *,
    comparisons: int,
    confidence: float = CONFIDENCE,
    centre: float | None = None,
    elsewhere: MeanSquare | None = None,
) -> Interval:
    """Return the interval of a configuration's lead over another one, from the leads [S, U] of their common runs.

    `noise` is `run_noise` of all runs of the promotion; without it the interval is unbounded, since nothing is known
    about the spread of training. `comparisons`: how many configurations the default was compared with, the number that
    started: the interval then covers the lead of whichever was chosen. `centre` as in `crossed_interval`. `elsewhere`:
    what the same runs' leads on validation say of the spread of units (`unit_spread`); the interval is never narrower
    for it. Raises ValueError below two units.

    Source: var(lead) = 2 s^2 / S + var_unit / U - MS_rest / (S U), where s^2 is the noise; degrees of freedom by
    Satterthwaite 1946, critical values by Dunnett 1955. It is never narrower than over seeds alone, or units alone.
    """
    return _crossed(leads_SU, _twice(noise), elsewhere, centre, confidence, _dunnett(comparisons, confidence))


def level_interval(
    values_SU: np.ndarray,
    noise: MeanSquare | None,
    *,
    confidence: float = CONFIDENCE,
    centre: float | None = None,
    elsewhere: MeanSquare | None = None,
) -> Interval:
    """Return the interval of a configuration's own value, from the values [S, U] of its runs.

    `noise` is `level_noise` of all runs of the promotion; without it the interval is unbounded. The runs must come
    after the last choice: those that chose a configuration flatter it. `centre` and `elsewhere` as in `lead_interval`.
    Raises ValueError below two units.

    A lead over a baseline is such a value too, since a baseline has no seeds: pass the values less the baseline's.
    """
    return _crossed(values_SU, noise, elsewhere, centre, confidence, _student(confidence))


def lead_interval_in_folds(
    leads_S: np.ndarray,
    noise: MeanSquare | None,
    folds: int,
    *,
    comparisons: int,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the interval of a lead where run s is tested in fold s % folds: leads [S] of runs that follow each other.

    `noise` is `run_noise(by_fold(...))` of all runs. Source: lead +- c sqrt(2 s^2 / S). Where there are more runs than
    folds, a fold's runs share its examples, and S is (sum n)^2 / sum n^2 over the n runs of each fold.
    """
    variance = _over_folds(_twice(noise), len(leads_S), folds)
    return _interval(float(leads_S.mean()), [variance], confidence, _dunnett(comparisons, confidence))


def level_interval_in_folds(
    values_S: np.ndarray, noise: MeanSquare | None, folds: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Return the interval of a configuration's own value where runs have test folds of their own: values [S].

    `noise` is `level_noise(by_fold(...))` of all runs, in which the folds' own difficulty is included. For a lead over
    a baseline subtract the baseline's value of each fold from the runs first, in `values_S` and in the noise.
    """
    variance = _over_folds(noise, len(values_S), folds)
    return _interval(float(values_S.mean()), [variance], confidence, _student(confidence))


def interval_of_runs(values_S: np.ndarray) -> Interval:
    """Return Student's interval for the mean over runs, each with a test split of its own: values [S].

    With one run it is unbounded.
    """
    runs = len(values_S)
    noise = MeanSquare(float(values_S.var(ddof=1)), runs - 1) if runs > 1 else None
    return level_interval_in_folds(values_S, noise, folds=runs)


Critical = Callable[[float], float]  # how many standard errors, for degrees of freedom


def _student(confidence: float) -> Critical:
    return lambda freedom: dunnett(1, freedom, confidence)


def _dunnett(comparisons: int, confidence: float) -> Critical:
    return lambda freedom: dunnett(comparisons, freedom, confidence)


def _twice(noise: MeanSquare | None) -> MeanSquare | None:
    """The noise of a difference of two runs."""
    return noise and MeanSquare(2 * noise.value, noise.freedom)


def _over_folds(noise: MeanSquare | None, runs: int, folds: int) -> MeanSquare | None:
    """The variance of the mean of runs that take the folds in turn."""
    if noise is None:
        return None
    whole, rest = divmod(runs, folds)
    squares = rest * (whole + 1) ** 2 + (folds - rest) * whole**2
    return MeanSquare(noise.value * squares / runs**2, noise.freedom)


def _crossed(
    values_SU: np.ndarray,
    run: MeanSquare | None,
    elsewhere: MeanSquare | None,
    centre: float | None,
    confidence: float,
    critical: Critical,
) -> Interval:
    """The interval of a mean over runs and units; `run`: the variance of one run's mean."""
    seeds, units = values_SU.shape
    if units < 2:
        raise ValueError(f"an interval needs at least 2 test units; got {units}")
    middle = float(values_SU.mean()) if centre is None else centre
    if run is None:
        return _interval(middle, [None], confidence, critical)
    by_seed = MeanSquare(run.value / seeds, run.freedom)
    by_test_unit = MeanSquare(float(values_SU.mean(0).var(ddof=1)) / units, units - 1)
    rest = _rest(values_SU)
    variances: list[MeanSquare | None] = [by_seed]
    for by_unit in [by_test_unit] if elsewhere is None else [by_test_unit, pooled(by_test_unit, elsewhere)]:
        variances.append(by_unit)
        together = by_seed.value + by_unit.value - rest.value
        if together > 0:
            variances.append(MeanSquare(together, _satterthwaite_freedom(together, by_seed, by_unit, rest)))
    return _interval(middle, variances, confidence, critical)


def _rest(values_SU: np.ndarray) -> MeanSquare:
    """The variance of the mean that comes from neither seeds nor units: 0 where one seed cannot tell."""
    seeds, units = values_SU.shape
    if seeds == 1:
        return MeanSquare(0.0, math.inf)
    rest_SU = values_SU - values_SU.mean(1)[:, None] - values_SU.mean(0)[None] + values_SU.mean()
    freedom = (seeds - 1) * (units - 1)
    return MeanSquare(float((rest_SU**2).sum()) / freedom / values_SU.size, freedom)


def _satterthwaite_freedom(together: float, *variances: MeanSquare) -> float:
    """The degrees of freedom of a sum (or difference) of variances that comes to `together`."""
    return max(1.0, together**2 / sum(variance.value**2 / variance.freedom for variance in variances))


def _interval(middle: float, variances: list[MeanSquare | None], confidence: float, critical: Critical) -> Interval:
    """The widest interval that a variance of the mean gives; unbounded where one is unknown."""
    half_width = 0.0
    for variance in variances:
        if variance is None:
            return Interval(middle, -math.inf, math.inf, confidence)
        half_width = max(half_width, critical(variance.freedom) * variance.value**0.5)
    return Interval(middle, middle - half_width, middle + half_width, confidence)
