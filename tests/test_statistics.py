"""Intervals against scipy's Student interval, closed forms, and planted truths that they must cover.

Shape suffixes: S seeds, U test units.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hpo.promotion.intervals import CONFIDENCE, Interval, crossed_interval


def planted(
    rng: np.random.Generator, seeds: int, units: int, seed_std: float, unit_std: float, rest_std: float
) -> np.ndarray:
    """Scores whose true mean is 0: an effect of each seed, one of each unit, and the rest."""
    return (
        seed_std * rng.standard_normal((seeds, 1))
        + unit_std * rng.standard_normal((1, units))
        + rest_std * rng.standard_normal((seeds, units))
    )


def assert_same(found: Interval, expected: object) -> None:
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_with_one_seed_it_is_the_student_interval_of_the_units() -> None:
    values_U = np.random.default_rng(0).gamma(2.0, size=37)
    found = crossed_interval(values_U[None])
    assert found.mean == pytest.approx(values_U.mean())
    assert_same(found, stats.ttest_1samp(values_U, 0).confidence_interval(CONFIDENCE))


def test_seeds_that_all_agree_leave_the_student_interval_of_the_units() -> None:
    values_U = np.random.default_rng(1).standard_normal(25)
    expected = stats.ttest_1samp(values_U, 0).confidence_interval(CONFIDENCE)
    assert_same(crossed_interval(np.tile(values_U, (4, 1))), expected)


def test_units_that_all_agree_leave_the_student_interval_of_the_seeds() -> None:
    """A thousand units that say the same thing are no more than one: only the seeds count."""
    values_S = np.array([0.2, 0.5, 0.9])
    expected = stats.ttest_1samp(values_S, 0).confidence_interval(CONFIDENCE)
    assert_same(crossed_interval(np.tile(values_S[:, None], (1, 1000))), expected)


def test_the_combination_is_that_of_the_textbook() -> None:
    """Mean squares by hand: seeds 6 (1 degree), units 6 (1), rest 0 (1); so variance 12/4, degrees 144/72 = 2. The
    seeds alone, with t_1 * sqrt(6/4), are wider. With 40 of each the combination is what counts."""
    values_SU = np.array([[0.0, 6.0], [6.0, 12.0]]) / np.sqrt(6)  # mean squares 36/6
    by_margin = stats.t.ppf(0.975, 1) * np.sqrt(6 / 4)
    combined = stats.t.ppf(0.975, 2) * np.sqrt(12 / 4)
    found = crossed_interval(values_SU)
    assert found.high - found.mean == pytest.approx(max(by_margin, combined))
    values_SU = planted(np.random.default_rng(5), 40, 40, 1.0, 1.0, 0.1)
    found = crossed_interval(values_SU)
    assert found.high - found.mean == pytest.approx(by_hand(values_SU))


def by_hand(values_SU: np.ndarray) -> float:
    """Half the width of the two-way interval, from sums over the table written out."""
    seeds, units = values_SU.shape
    mean = values_SU.mean()
    seed = units * sum((row.mean() - mean) ** 2 for row in values_SU) / (seeds - 1)
    unit = seeds * sum((column.mean() - mean) ** 2 for column in values_SU.T) / (units - 1)
    rest = sum(
        (values_SU[s, u] - values_SU[s].mean() - values_SU[:, u].mean() + mean) ** 2
        for s in range(seeds)
        for u in range(units)
    ) / ((seeds - 1) * (units - 1))
    freedom = (seed + unit - rest) ** 2 / (
        seed**2 / (seeds - 1) + unit**2 / (units - 1) + rest**2 / ((seeds - 1) * (units - 1))
    )
    return stats.t.ppf(0.975, freedom) * np.sqrt((seed + unit - rest) / (seeds * units))


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    ("seed_std", "unit_std", "rest_std"),
    [(0, 0, 1), (0, 1, 1), (1, 0, 0.1), (1, 1, 1), (0.1, 1, 0.2), (1, 1, 0), (0.05, 0.3, 1)],
)
def test_planted_truths_are_covered(seeds: int, seed_std: float, unit_std: float, rest_std: float) -> None:
    """At least 90 % of 600 intervals, whichever of the three sources of spread dominates; two seeds included, where
    Satterthwaite's formula alone falls to 87 %."""
    rng = np.random.default_rng(seeds)
    found = [crossed_interval(planted(rng, seeds, 64, seed_std, unit_std, rest_std)) for _ in range(600)]
    assert np.mean([interval.low <= 0 <= interval.high for interval in found]) >= 0.9


def test_it_is_not_wide_for_nothing() -> None:
    """Where only the units differ, three seeds cost at most 15 % of width against knowing that."""
    rng = np.random.default_rng(3)
    widths = []
    for _ in range(300):
        values_SU = planted(rng, 3, 100, 0.0, 1.0, 0.1)
        known = stats.ttest_1samp(values_SU.mean(0), 0).confidence_interval(CONFIDENCE)
        found = crossed_interval(values_SU)
        widths.append((found.high - found.low) / (known.high - known.low))
    assert np.mean(widths) <= 1.15


def test_equal_scores_make_a_difference_of_exactly_zero_which_excludes_nothing() -> None:
    found = crossed_interval(np.zeros((3, 50)))
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert not found.excludes_zero


def test_a_tie_is_zero_and_not_minus_zero() -> None:
    assert str(Interval(-0.0, -0.0, -0.0)) == "0 [0, 0]"
    assert str(Interval(-0.25, -0.5, -0.0)) == "-0.25 [-0.5, 0]"


def test_zero_is_excluded_on_either_side() -> None:
    assert Interval(1, 0.5, 1.5).excludes_zero
    assert Interval(-1, -1.5, -0.5).excludes_zero
    assert not Interval(0.5, 0.0, 1.0).excludes_zero


def test_one_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 test units; got 1"):
        crossed_interval(np.zeros((3, 1)))
