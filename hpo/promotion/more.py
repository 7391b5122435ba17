"""How many more seeds, or test examples, would decide a lead.

The figures hold if the lead stays where it is: half of the time it will come out smaller. Seeds lower what the runs
differ by, and what a seed does to single units; what is left, the units' own spread, no seed lowers. In the same way no
number of test units lowers what the runs differ by.

Shape suffixes: S seeds (runs), U test units (blocks of examples).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hpo.engine.pseudo_values import BLOCKS
from hpo.promotion.intervals import CONFIDENCE, Spread, dunnett_for, half_width, over_folds, spread, twice
from hpo.promotion.noise import MeanSquare

MOST_SEEDS = 1000  # further ones; nobody trains more to decide one lead
MOST_UNITS = 10**7
TOTALS = (5, 10, 20)  # seeds in all, of which it is said what lead they would show


@dataclass(frozen=True)
class Needed:
    """What would make the interval of a lead exclude 0, each of them alone.

    0 where it does so already; None where no number would.
    """

    seeds: int | None  # further ones, of the default and the leader each
    units: int | None  # further independent test examples, or clusters of them


@dataclass(frozen=True)
class LeastLead:
    """The least lead that so many seeds in all would show: from there on its interval excludes 0."""

    seeds: int
    lead: float


def needed(
    leads_SU: np.ndarray,
    noise: MeanSquare | None,
    *,
    units: int,
    comparisons: int,
    confidence: float = CONFIDENCE,
    centre: float | None = None,
    elsewhere: MeanSquare | None = None,
) -> Needed:
    """Return how many further seeds, or further test units, would decide a lead.

    `units`: how many test examples, or clusters of them, are independent now: there may be several in a block. The
    other arguments are those of `lead_interval`, with the confidence of the next look. None for both where the noise is
    unknown.
    """
    run = twice(noise)
    if run is None:
        return Needed(None, None)
    seeds, blocks = leads_SU.shape
    lead = abs(float(leads_SU.mean()) if centre is None else centre)
    critical = dunnett_for(comparisons, confidence)
    now = spread(leads_SU, run, elsewhere)

    def decided_by_seeds(more: int) -> bool:
        return lead > half_width(_with_seeds(now, seeds, more).of_the_mean(seeds + more), critical)

    def decided_by_units(more: int) -> bool:
        return lead > half_width(_with_units(now, units, more, blocks).of_the_mean(seeds), critical)

    return Needed(_least(decided_by_seeds, MOST_SEEDS), _least(decided_by_units, MOST_UNITS))


def least_leads(
    leads_SU: np.ndarray,
    noise: MeanSquare | None,
    *,
    comparisons: int,
    confidence: float = CONFIDENCE,
    elsewhere: MeanSquare | None = None,
) -> tuple[LeastLead, ...]:
    """Return what lead 5, 10 and 20 seeds in all would show, where that is more seeds than there are.

    The arguments are those of `needed`. Empty where the noise is unknown.
    """
    run = twice(noise)
    if run is None:
        return ()
    seeds, critical = len(leads_SU), dunnett_for(comparisons, confidence)
    now = spread(leads_SU, run, elsewhere)
    return tuple(
        LeastLead(total, half_width(_with_seeds(now, seeds, total - seeds).of_the_mean(total), critical))
        for total in TOTALS
        if total > seeds
    )


def least_leads_in_folds(
    seeds: int, noise: MeanSquare | None, folds: int, *, comparisons: int, confidence: float = CONFIDENCE
) -> tuple[LeastLead, ...]:
    """Return the same where run s is tested in fold s % folds, and there are so many `seeds` now."""
    run = twice(noise)
    if run is None:
        return ()
    critical = dunnett_for(comparisons, confidence)
    more = [total for total in TOTALS if total > seeds]
    variances = [over_folds(MeanSquare(run.value, run.freedom + total - seeds), total, folds) for total in more]
    return tuple(
        LeastLead(total, half_width([variance], critical)) for total, variance in zip(more, variances, strict=True)
    )


def seeds_needed_in_folds(
    leads_S: np.ndarray,
    noise: MeanSquare | None,
    folds: int,
    *,
    comparisons: int,
    confidence: float = CONFIDENCE,
) -> int | None:
    """Return how many further runs would decide a lead where run s is tested in fold s % folds.

    The arguments are those of `lead_interval_in_folds`. 0 where it is decided; None where no number would do it: runs
    beyond the number of folds are tested on the same examples again.
    """
    run = twice(noise)
    if run is None:
        return None
    lead, runs = abs(float(leads_S.mean())), len(leads_S)
    critical = dunnett_for(comparisons, confidence)

    def decided(more: int) -> bool:
        variance = over_folds(MeanSquare(run.value, run.freedom + more), runs + more, folds)
        return lead > half_width([variance], critical)

    return _least(decided, max(0, folds - runs))


def _with_seeds(now: Spread, seeds: int, more: int) -> Spread:
    """The spread with more seeds: each further pair of runs adds a degree of freedom to the noise."""
    rest = MeanSquare(now.rest.value * seeds / (seeds + more), now.rest.freedom)
    units = [MeanSquare(max(0.0, unit.value - now.rest.value + rest.value), unit.freedom) for unit in now.units]
    return Spread(MeanSquare(now.run.value, now.run.freedom + more), tuple(units), rest)


def _with_units(now: Spread, units: int, more: int, blocks: int) -> Spread:
    """The spread with more test units, of which a block holds several where there are many."""
    share = units / (units + more)
    further_blocks = max(0, min(units + more, BLOCKS) - blocks)
    spreads = [MeanSquare(unit.value * share, unit.freedom + further_blocks) for unit in now.units]
    return replace(now, units=tuple(spreads), rest=MeanSquare(now.rest.value * share, now.rest.freedom))


def _least(is_enough: Callable[[int], bool], most: int) -> int | None:
    """The least number up to `most` that is enough, if every larger one is; None where `most` is not."""
    if not is_enough(most):
        return None
    too_few, enough = -1, most
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if is_enough(middle):
            enough = middle
        else:
            too_few = middle
    return enough
