"""Intervals against scipy's Student interval, closed forms, and planted truths that they must cover.

Shape suffixes: K configurations, S seeds, U test units.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hpo.promotion.dunnett import dunnett
from hpo.promotion.intervals import (
    CONFIDENCE,
    Interval,
    crossed_interval,
    lead_interval,
    lead_interval_in_folds,
    level_interval,
    level_interval_in_folds,
)
from hpo.promotion.more import Needed, needed, seeds_needed_in_folds
from hpo.promotion.noise import MeanSquare, by_fold, level_noise, run_noise, unit_spread


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
    assert str(Interval(-0.25, -0.5, -0.0)) == "-0.25 [-0.50, 0.00]"


def test_zero_is_excluded_on_either_side() -> None:
    assert Interval(1, 0.5, 1.5).excludes_zero
    assert Interval(-1, -1.5, -0.5).excludes_zero
    assert not Interval(0.5, 0.0, 1.0).excludes_zero


def test_one_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 test units; got 1"):
        crossed_interval(np.zeros((3, 1)))


@pytest.mark.parametrize(
    ("comparisons", "freedom", "confidence", "published"),
    [(2, 5, 0.95, 3.03), (4, 10, 0.95, 2.89), (9, 20, 0.95, 2.95), (2, np.inf, 0.95, 2.21), (2, 5, 0.99, 4.63)],
)
def test_critical_values_are_the_published_ones(
    comparisons: int, freedom: float, confidence: float, published: float
) -> None:
    """Two-sided, equal correlation 1/2: the tables of Dunnett 1964."""
    assert dunnett(comparisons, freedom, confidence) == pytest.approx(published, abs=0.006)


@pytest.mark.parametrize(("comparisons", "freedom"), [(2, 2), (3, 6), (11, 14)])
def test_critical_values_agree_with_scipys_multivariate_t(comparisons: int, freedom: int) -> None:
    correlation = np.full((comparisons, comparisons), 0.5) + 0.5 * np.eye(comparisons)
    limit = np.full(comparisons, dunnett(comparisons, freedom, 0.975))
    statistics = stats.multivariate_t(shape=correlation, df=freedom, seed=0)
    assert statistics.cdf(limit, lower_limit=-limit) == pytest.approx(0.975, abs=2e-4)


def test_one_comparison_needs_students_quantile() -> None:
    assert dunnett(1, 7.5, 0.95) == pytest.approx(stats.t.ppf(0.975, 7.5))
    with pytest.raises(ValueError, match="at least 1 comparison; got 0"):
        dunnett(0, 5, 0.95)


def test_the_noise_of_a_full_table_is_the_textbooks() -> None:
    """Sum of (y_ks - y_k - y_s + y)^2 over (K - 1)(S - 1)."""
    totals_KS = np.random.default_rng(0).standard_normal((4, 3))
    rest_KS = totals_KS - totals_KS.mean(1)[:, None] - totals_KS.mean(0) + totals_KS.mean()
    assert run_noise(totals_KS) == pytest.approx(MeanSquare((rest_KS**2).sum() / 6, 6))


def race_table(rng: np.random.Generator, std: float = 1.0) -> np.ndarray:
    """The runs of a race 4 > 2 > 1 with two seeds in the last round: 5 + 3 + 4, with effects of both sides."""
    totals_KS = 3 * rng.standard_normal((5, 1)) + 2 * rng.standard_normal((1, 4)) + std * rng.standard_normal((5, 4))
    totals_KS[3:, 1:] = np.nan
    totals_KS[2, 2:] = np.nan
    return totals_KS


def test_the_noise_of_a_race_comes_from_all_of_its_runs() -> None:
    """12 runs, 5 configurations, 4 seeds: 4 degrees of freedom, and the planted variance on average."""
    rng = np.random.default_rng(1)
    noises = [run_noise(race_table(rng, 0.7)) for _ in range(400)]
    assert {noise.freedom for noise in noises} == {4}
    assert np.mean([noise.value for noise in noises]) == pytest.approx(0.49, abs=0.05)


def test_a_table_without_repetition_tells_nothing_of_the_noise() -> None:
    totals_KS = np.array([[1.0], [2.0], [3.0]])
    assert run_noise(totals_KS) is None
    assert level_noise(totals_KS) is None
    assert lead_interval(np.ones((1, 9)), None, comparisons=2).low == -np.inf
    assert level_interval(np.ones((1, 9)), None).high == np.inf


def test_the_noise_of_a_level_holds_what_runs_of_one_seed_have_in_common() -> None:
    """Ten configurations that all move with the seed are no more than one: two degrees of freedom for three seeds."""
    seeds_S = np.array([0.2, 0.5, 0.9])
    noise = level_noise(np.arange(10.0)[:, None] + seeds_S)
    assert noise.value == pytest.approx(seeds_S.var(ddof=1))
    assert noise.freedom == pytest.approx(2)
    assert run_noise(np.arange(10.0)[:, None] + seeds_S).value == pytest.approx(0)


def test_a_lead_whose_units_agree_is_read_from_the_noise_of_all_runs() -> None:
    """One run is enough: lead +- c sqrt(2 s^2), c by Dunnett with the degrees of freedom of the pooled noise."""
    interval = lead_interval(np.full((1, 50), 0.3), MeanSquare(0.04, 8), comparisons=4, confidence=0.975)
    assert interval.mean == pytest.approx(0.3)
    assert interval.high - interval.mean == pytest.approx(dunnett(4, 8, 0.975) * np.sqrt(2 * 0.04))
    assert interval.confidence == 0.975


def test_a_lead_whose_runs_agree_is_read_from_the_units() -> None:
    units_U = np.random.default_rng(2).standard_normal(40)
    interval = lead_interval(np.tile(units_U, (3, 1)), MeanSquare(0.0, 8), comparisons=4)
    assert interval.high - interval.mean == pytest.approx(dunnett(4, 39, 0.95) * units_U.std(ddof=1) / np.sqrt(40))


def test_a_lead_of_seeds_and_units_has_the_sum_of_their_variances() -> None:
    """Values without interaction: 2 s^2 / S + var_unit / U, degrees by Satterthwaite."""
    units_U = np.random.default_rng(2).standard_normal(40)
    seeds, units = MeanSquare(2 * 0.02 / 3, 8), MeanSquare(units_U.var(ddof=1) / 40, 39)
    freedom = (seeds.value + units.value) ** 2 / (seeds.value**2 / 8 + units.value**2 / 39)
    interval = lead_interval(np.tile(units_U, (3, 1)), MeanSquare(0.02, 8), comparisons=2)
    expected = dunnett(2, freedom, 0.95) * np.sqrt(seeds.value + units.value)
    assert interval.high - interval.mean == pytest.approx(expected)


def test_a_lead_in_folds_rests_on_its_runs() -> None:
    interval = lead_interval_in_folds(np.array([0.1, 0.4]), MeanSquare(0.09, 5), 3, comparisons=2)
    assert interval.mean == pytest.approx(0.25)
    assert interval.high - interval.mean == pytest.approx(dunnett(2, 5, 0.95) * np.sqrt(2 * 0.09 / 2))


def test_runs_of_the_same_fold_do_not_count_as_different_ones() -> None:
    """Six runs in two folds are two: what a fold does to a configuration is the same in its three runs."""
    two = lead_interval_in_folds(np.ones(2), MeanSquare(0.09, 5), 2, comparisons=2)
    six = lead_interval_in_folds(np.ones(6), MeanSquare(0.09, 5), 2, comparisons=2)
    assert (six.low, six.high) == pytest.approx((two.low, two.high))
    totals_KS = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, np.nan, np.nan], [7.0, np.nan, np.nan, np.nan]])
    expected_KF = np.array([[2.0, 3.0], [5.0, 6.0], [7.0, np.nan]])
    np.testing.assert_array_equal(by_fold(totals_KS, 2), expected_KF)


def test_a_level_has_one_runs_noise_and_no_comparisons() -> None:
    interval = level_interval(np.full((2, 50), 7.0), MeanSquare(0.04, 8))
    assert interval.high - interval.mean == pytest.approx(stats.t.ppf(0.975, 8) * np.sqrt(0.04 / 2))
    in_folds = level_interval_in_folds(np.full(2, 7.0), MeanSquare(0.04, 8), 5)
    assert (in_folds.low, in_folds.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("run_std", "unit_std", "rest_std"), [(1, 0.1, 0.1), (0.1, 3, 1), (0.5, 3, 1), (0, 0, 1)])
def test_the_lead_of_whichever_was_chosen_is_covered(run_std: float, unit_std: float, rest_std: float) -> None:
    """All configurations are equal, two seeds each; the best of four by these same runs is compared with the default.
    At most 8 % of 400 intervals miss 0 on either side; without Dunnett's value it is two to three times that."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(400):
        values_KSU = run_std * rng.standard_normal((5, 2, 1)) + unit_std * rng.standard_normal((5, 1, 50))
        values_KSU += rest_std * rng.standard_normal((5, 2, 50))
        totals_KS = values_KSU.mean(2)
        best = int(totals_KS[1:].mean(1).argmax()) + 1
        interval = lead_interval(values_KSU[best] - values_KSU[0], run_noise(totals_KS), comparisons=4)
        covered.append(interval.low <= 0 <= interval.high)
    assert np.mean(covered) >= 0.92


def test_validation_units_never_make_an_interval_narrower_and_count_by_their_freedom() -> None:
    """Test units of variance 1/40 with 39 degrees, validation units of 4/20, for half as many, with 19."""
    rng = np.random.default_rng(4)
    test_U, validation_V = rng.standard_normal(40), 2 * rng.standard_normal(20)
    elsewhere = unit_spread(validation_V[None], 0.5)
    assert elsewhere == pytest.approx(MeanSquare(0.5 * validation_V.var(ddof=1) / 20, 19))
    pooled = (39 * test_U.var(ddof=1) / 40 + 19 * elsewhere.value) / 58
    noise = MeanSquare(0.0, 8)
    interval = level_interval(test_U[None], noise, elsewhere=elsewhere)
    assert interval.high - interval.mean == pytest.approx(stats.t.ppf(0.975, 58) * np.sqrt(pooled))
    assert level_interval(test_U[None], noise, elsewhere=MeanSquare(0.0, 19)) == level_interval(test_U[None], noise)
    assert unit_spread(np.ones((3, 1))) is None


def test_test_units_that_all_agree_know_nothing_of_the_few_that_would_not() -> None:
    """One unit in twenty is worth 1, the others nothing; 28 on test, 28 on validation. The test units alone all agree
    in .95^28 = 24 % of cases, so that at most 76 % can be covered."""
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(600):
        test_SU = np.tile(rng.random(28) < 0.05, (3, 1)).astype(float)
        elsewhere = unit_spread(np.tile(rng.random(28) < 0.05, (3, 1)).astype(float))
        alone = level_interval(test_SU, MeanSquare(0.0, 8))
        both = level_interval(test_SU, MeanSquare(0.0, 8), elsewhere=elsewhere)
        covered.append([interval.low <= 0.05 <= interval.high for interval in (alone, both)])
    alone_share, both_share = np.mean(covered, axis=0)
    assert alone_share <= 1 - 0.95**28 + 0.04
    assert both_share >= 0.9


def difficulties(count: int, std: float) -> np.ndarray:
    """[count] values with mean 0 and exactly this standard deviation."""
    values = np.random.default_rng(6).standard_normal(count)
    return std * (values - values.mean()) / values.std(ddof=1)


def test_the_seeds_that_would_decide_a_lead_decide_it_and_one_less_does_not() -> None:
    """The same lead of 1 with so many runs in the table, and the degrees of freedom that they bring."""

    def decides(more: int) -> bool:
        leads_SU = 1 + np.tile(difficulties(25, 1.0), (2 + more, 1))
        return lead_interval(leads_SU, MeanSquare(0.5, 6 + more), comparisons=3, confidence=0.975).low > 0

    leads_SU = 1 + np.tile(difficulties(25, 1.0), (2, 1))
    seeds = needed(leads_SU, MeanSquare(0.5, 6), units=25, comparisons=3, confidence=0.975).seeds
    assert seeds > 1
    assert decides(seeds)
    assert not decides(seeds - 1)


def test_the_test_units_that_would_decide_a_lead_decide_it_and_one_less_does_not() -> None:
    def decides(more: int) -> bool:
        return level_interval(1 + difficulties(12 + more, 2.0)[None], MeanSquare(0.0, 6)).low > 0

    units = needed(1 + difficulties(12, 2.0)[None], MeanSquare(0.0, 6), units=12, comparisons=1).units
    assert units > 1
    assert decides(units)
    assert not decides(units - 1)


def test_no_number_of_seeds_decides_what_the_units_leave_open() -> None:
    """A lead of 1 over 25 photographs that differ by 5: one standard error. Hundreds of photographs would do."""
    leads_SU = 1 + np.tile(difficulties(25, 5.0), (2, 1))
    of_photographs = needed(leads_SU, MeanSquare(0.01, 6), units=25, comparisons=2)
    assert of_photographs.seeds is None
    assert 75 < of_photographs.units < 200, "(2.3 x 5)^2 of them in all"
    of_runs = needed(np.ones((2, 25)), MeanSquare(4.0, 6), units=25, comparisons=2)
    assert of_runs.units is None
    assert 25 < of_runs.seeds < 80, "(2.3 x 2)^2 x 2 of them in all"


def test_a_decided_lead_needs_nothing_and_unknown_noise_promises_nothing() -> None:
    assert needed(np.full((2, 25), -1.0), MeanSquare(0.01, 6), units=25, comparisons=2) == Needed(0, 0)
    assert needed(np.ones((1, 25)), None, units=25, comparisons=2) == Needed(None, None)


def test_further_runs_in_the_same_folds_decide_nothing() -> None:
    """A lead of 1 with noise 1: several runs in folds of their own would do, in four folds no number."""
    leads_S, noise = np.ones(2), MeanSquare(0.5, 6)
    more = seeds_needed_in_folds(leads_S, noise, 20, comparisons=1)
    assert lead_interval_in_folds(np.ones(2 + more), MeanSquare(0.5, 6 + more), 20, comparisons=1).low > 0
    assert lead_interval_in_folds(np.ones(1 + more), MeanSquare(0.5, 5 + more), 20, comparisons=1).low < 0
    assert seeds_needed_in_folds(leads_S, noise, 4, comparisons=1) is None
