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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpo.formatting import interval
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
        return interval(self)

    def times(self, factor: float) -> Interval:
        """The interval of the same thing in another unit: `factor` is positive."""
        return replace(self, mean=factor * self.mean, low=factor * self.low, high=factor * self.high)

    @property
    def half_width(self) -> float:
        """How far the range reaches to either side."""
        return (self.high - self.low) / 2

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
    about the spread of training. `comparisons`: among how many configurations the one was chosen that is compared with
    the default. `centre` as in `crossed_interval`. `elsewhere`: what the same runs' leads on validation say of the
    spread of units (`unit_spread`); the interval is never narrower for it. Raises ValueError below two units.

    Source: var(lead) = 2 s^2 / S + var_unit / U - MS_rest / (S U), where s^2 is the noise; degrees of freedom by
    Satterthwaite 1946, critical values by Dunnett 1955. It is never narrower than over seeds alone, or units alone.
    """
    return _crossed(leads_SU, twice(noise), elsewhere, centre, confidence, dunnett_for(comparisons, confidence))


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
    variance = over_folds(twice(noise), len(leads_S), folds)
    return _interval(float(leads_S.mean()), [variance], confidence, dunnett_for(comparisons, confidence))


def level_interval_in_folds(
    values_S: np.ndarray, noise: MeanSquare | None, folds: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """Return the interval of a configuration's own value where runs have test folds of their own: values [S].

    `noise` is `level_noise(by_fold(...))` of all runs, in which the folds' own difficulty is included. For a lead over
    a baseline subtract the baseline's value of each fold from the runs first, in `values_S` and in the noise.
    """
    variance = over_folds(noise, len(values_S), folds)
    return _interval(float(values_S.mean()), [variance], confidence, _student(confidence))


def interval_of_runs(values_S: np.ndarray) -> Interval:
    """Return Student's interval for the mean over runs, each with a test split of its own: values [S].

    With one run it is unbounded.
    """
    runs = len(values_S)
    noise = MeanSquare(float(values_S.var(ddof=1)), runs - 1) if runs > 1 else None
    return level_interval_in_folds(values_S, noise, folds=runs)


def interval_of_costs(values_S: np.ndarray, confidence: float) -> Interval:
    """Return Student's interval for the mean of a measured cost over runs; with one run it is unbounded."""
    runs = len(values_S)
    variance = MeanSquare(float(values_S.var(ddof=1)) / runs, runs - 1) if runs > 1 else None
    return _interval(float(values_S.mean()), [variance], confidence, _student(confidence))


Critical = Callable[[float], float]  # how many standard errors, for degrees of freedom


def _student(confidence: float) -> Critical:
    return lambda freedom: dunnett(1, freedom, confidence)


def dunnett_for(comparisons: int, confidence: float) -> Critical:
    return lambda freedom: dunnett(comparisons, freedom, confidence)


def twice(noise: MeanSquare | None) -> MeanSquare | None:
    """The noise of a difference of two runs."""
    return noise and MeanSquare(2 * noise.value, noise.freedom)


def over_folds(noise: MeanSquare | None, runs: int, folds: int) -> MeanSquare | None:
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
    return _interval(middle, spread(values_SU, run, elsewhere).of_the_mean(seeds), confidence, critical)


@dataclass(frozen=True)
class Spread:
    """Where the variance of a mean over seeds and units comes from."""

    run: MeanSquare  # variance of one run's mean
    units: tuple[MeanSquare, ...]  # variance that the units give the mean, in one or two estimates
    rest: MeanSquare  # variance that comes from neither seeds nor units

    def of_the_mean(self, seeds: int) -> list[MeanSquare]:
        """Estimates of the variance of the mean: by seeds alone, by units alone, by both."""
        by_seed = MeanSquare(self.run.value / seeds, self.run.freedom)
        estimates = [by_seed]
        for by_unit in self.units:
            estimates.append(by_unit)
            together = by_seed.value + by_unit.value - self.rest.value
            if together > 0:
                estimates.append(MeanSquare(together, _satterthwaite_freedom(together, by_seed, by_unit, self.rest)))
        return estimates


def spread(values_SU: np.ndarray, run: MeanSquare, elsewhere: MeanSquare | None = None) -> Spread:
    """Where the variance of the mean of values [S, U] comes from; `run` and `elsewhere` as in `lead_interval`."""
    units = values_SU.shape[1]
    own = MeanSquare(float(values_SU.mean(0).var(ddof=1)) / units, units - 1)
    return Spread(run, (own,) if elsewhere is None else (own, pooled(own, elsewhere)), _rest(values_SU))


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


def _interval(middle: float, variances: Sequence[MeanSquare | None], confidence: float, critical: Critical) -> Interval:
    """The widest interval that an estimate of the variance of the mean gives; unbounded where that is unknown."""
    reach = half_width(variances, critical)
    return Interval(middle, middle - reach, middle + reach, confidence)


def half_width(variances: Sequence[MeanSquare | None], critical: Critical) -> float:
    """The largest number of standard errors by these estimates of the variance; infinite where one is unknown."""
    return max(
        math.inf if variance is None else critical(variance.freedom) * variance.value**0.5 for variance in variances
    )
