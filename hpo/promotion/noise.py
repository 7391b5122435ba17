"""The noise of a run, from all runs of a promotion.

A table of run means [K, S] has a row for each of K configurations and a column for each of S seeds; NaN where a
configuration had no such run. All runs of a column share their seed, and their test fold where test folds rotate.

- `run_noise`: what is left of a run after its configuration and its column. A lead is a difference of two runs of one
  column, so twice this is the variance of one run's lead.
- `level_noise`: what is left after the configuration alone: the variance of one run about the configuration's own
  value. It contains what the runs of a column have in common.
- `within_groups`: the variance between values of one and the same thing: trials, or runs, of one configuration.
- `unit_spread`: the variance of a mean over units, from other units of the same kind: those of the validation split.
- `by_fold`: where there are more runs than test folds, the runs of one fold share its examples. Their mean counts once.

Shape suffixes: K configurations, S seeds, F folds, V validation units.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

ROUNDING = 1e-12  # share of the largest value, below which residuals are errors of the arithmetic


class MeanSquare(NamedTuple):
    """A mean square of the analysis of variance, or a sum of them: it estimates a variance."""

    value: float
    freedom: float  # degrees of freedom


def run_noise(totals_KS: np.ndarray) -> MeanSquare | None:
    """Return the residual mean square of run means on configuration + seed, by least squares.

    Its degrees of freedom are runs - K - S + 1. None below one degree: then nothing is known about the noise.

    Source: two-way analysis of variance without interaction, unbalanced.
    """
    residual, freedom = _residual(totals_KS, with_seeds=True)
    return MeanSquare(residual / freedom, freedom) if freedom else None


def level_noise(totals_KS: np.ndarray) -> MeanSquare | None:
    """Return the mean square of run means within configurations. None where no configuration ran twice.

    It is a sum of two mean squares, of seeds and of the rest; the degrees of freedom are Satterthwaite's (1946), since
    the same few seeds recur in every configuration.
    """
    within, freedom = _residual(totals_KS, with_seeds=False)
    if not freedom:
        return None
    rest, rest_freedom = _residual(totals_KS, with_seeds=True)
    seeds, seed_freedom = within - rest, freedom - rest_freedom
    parts = [(seeds, seed_freedom), (rest, rest_freedom)]
    spread = sum(square**2 / degrees for square, degrees in parts if degrees)
    return MeanSquare(within / freedom, within**2 / spread if spread else freedom)


def unit_spread(values_SV: np.ndarray, share: float = 1.0) -> MeanSquare | None:
    """Return the variance of the mean over test units, as the units of the validation split have it: values [S, V].

    `share`: how many independent things the validation split has for each of the test split; a mean over fewer varies
    more. None below two units.
    """
    units = values_SV.shape[1]
    if units < 2:
        return None
    return MeanSquare(share * float(values_SV.mean(0).var(ddof=1)) / units, units - 1)


def pooled(a: MeanSquare, b: MeanSquare) -> MeanSquare:
    """Two estimates of one variance as one, each with the weight of its degrees of freedom."""
    freedom = a.freedom + b.freedom
    return MeanSquare((a.value * a.freedom + b.value * b.freedom) / freedom, freedom)


def within_groups(groups: Iterable[Sequence[float]]) -> MeanSquare | None:
    """The variance of values about the mean of their group. None where no group has two values."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    if not freedom:
        return None
    return MeanSquare(sum((len(group) - 1) * statistics.variance(group) for group in several) / freedom, freedom)


def by_fold(totals_KS: np.ndarray, folds: int) -> np.ndarray:
    """The mean over the runs of each test fold: [K, F]. Run s is tested in fold s % folds."""
    columns = [_mean_of_finite(totals_KS[:, fold::folds]) for fold in range(min(folds, totals_KS.shape[1]))]
    return np.stack(columns, axis=1)


def _mean_of_finite(totals_KS: np.ndarray) -> np.ndarray:
    """The mean of each row without its NaN: [K]; NaN where nothing is left."""
    is_run_KS = np.isfinite(totals_KS)
    runs_K = is_run_KS.sum(1)
    sums_K = np.where(is_run_KS, totals_KS, 0.0).sum(1)
    means_K: np.ndarray = np.where(runs_K > 0, sums_K / np.maximum(runs_K, 1), np.nan)
    return means_K


def _residual(totals_KS: np.ndarray, *, with_seeds: bool) -> tuple[float, int]:
    """The residual sum of squares of the runs on configuration, and on seed if asked, with its degrees of freedom."""
    configuration_N, seed_N = np.nonzero(np.isfinite(totals_KS))
    totals_N = totals_KS[configuration_N, seed_N]
    configurations, seeds = totals_KS.shape
    design_NP = np.eye(configurations)[configuration_N]
    if with_seeds:
        design_NP = np.hstack([design_NP, np.eye(seeds)[seed_N]])
    effects_P, _, rank, _ = np.linalg.lstsq(design_NP, totals_N, rcond=None)
    residual_N = totals_N - design_NP @ effects_P
    if np.abs(residual_N).max() <= ROUNDING * np.abs(totals_N).max():
        return 0.0, len(totals_N) - int(rank)
    return float(residual_N @ residual_N), len(totals_N) - int(rank)
