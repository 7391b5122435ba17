"""Runs on the test split: what each came to, their intervals, and what would decide a lead.

Shape suffixes: S seeds, U test units, V validation units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpo.direction import Direction
from hpo.promotion.intervals import (
    Interval,
    crossed_interval,
    interval_of_runs,
    lead_interval,
    lead_interval_in_folds,
    level_interval,
    level_interval_in_folds,
)
from hpo.promotion.more import (
    LeastLead,
    Needed,
    least_leads,
    least_leads_in_folds,
    needed,
    seeds_needed_in_folds,
)
from hpo.promotion.noise import MeanSquare, unit_spread
from hpo.promotion.results import ENOUGH
from hpo.promotion.test_split import Baseline, SplitScores
from hpo.study import StudySpec


@dataclass(frozen=True)
class TestedRuns:
    """The goal of some runs on the test split: of each run, and its pseudo-values, which are of the same blocks for all
    runs unless each has a fold of its own."""

    totals_S: np.ndarray
    blocks: tuple[tuple[float, ...], ...]  # a run each
    folds: int
    validation: tuple[tuple[float, ...], ...] = ()  # the same runs' pseudo-values there; none where a run has none
    validation_share: float = 0.0  # how many units validation has for each of the test split

    @property
    def blocks_SU(self) -> np.ndarray:
        return np.array(self.blocks)

    def ahead_of(self, rival: TestedRuns, direction: Direction) -> TestedRuns:
        """By how much this is better than a rival that was tested on the same examples."""
        lead_S = direction.lead(self.totals_S, rival.totals_S)
        blocks = [
            direction.lead(np.array(own), np.array(its)) for own, its in zip(self.blocks, rival.blocks, strict=True)
        ]
        validation = [
            direction.lead(np.array(own), np.array(its))
            for own, its in zip(self.validation, rival.validation, strict=False)  # a baseline has none
        ]
        return replace(
            self,
            totals_S=lead_S,
            blocks=tuple(tuple(lead_U) for lead_U in blocks),
            validation=tuple(tuple(lead_V) for lead_V in validation),
        )

    @property
    def elsewhere(self) -> MeanSquare | None:
        """How much units differ, as validation has it."""
        return unit_spread(np.array(self.validation), self.validation_share) if self.validation else None

    @property
    def interval(self) -> Interval:
        """The mean over the runs, with the spread of these runs and of test examples."""
        if self.folds > 1:
            return interval_of_runs(self.totals_S)
        return crossed_interval(self.blocks_SU, centre=float(self.totals_S.mean()))

    def level(self, noise: MeanSquare | None, confidence: float) -> Interval:
        """The mean over the runs, with the noise of all runs of the promotion."""
        if self.folds > 1:
            return level_interval_in_folds(self.totals_S, noise, self.folds, confidence=confidence)
        return level_interval(
            self.blocks_SU,
            noise,
            confidence=confidence,
            centre=float(self.totals_S.mean()),
            elsewhere=self.elsewhere,
        )

    def lead(self, noise: MeanSquare | None, comparisons: int, confidence: float) -> Interval:
        """The mean of a lead over the runs, with the noise of all runs of the promotion."""
        if self.folds > 1:
            return lead_interval_in_folds(
                self.totals_S, noise, self.folds, comparisons=comparisons, confidence=confidence
            )
        return lead_interval(
            self.blocks_SU,
            noise,
            comparisons=comparisons,
            confidence=confidence,
            centre=float(self.totals_S.mean()),
            elsewhere=self.elsewhere,
        )

    def needed(self, noise: MeanSquare | None, comparisons: int, confidence: float, units: int) -> Needed:
        """What would decide a lead; `units` as in `hpo.promotion.more.needed`."""
        if self.folds > 1:
            seeds = seeds_needed_in_folds(
                self.totals_S, noise, self.folds, comparisons=comparisons, confidence=confidence
            )
            return Needed(seeds, units=None)
        return needed(
            self.blocks_SU,
            noise,
            units=units,
            comparisons=comparisons,
            confidence=confidence,
            centre=float(self.totals_S.mean()),
            elsewhere=self.elsewhere,
        )

    def least_leads(self, noise: MeanSquare | None, comparisons: int, confidence: float) -> tuple[LeastLead, ...]:
        """What leads more runs than these would show."""
        if self.folds > 1:
            return least_leads_in_folds(
                len(self.totals_S), noise, self.folds, comparisons=comparisons, confidence=confidence
            )
        return least_leads(
            self.blocks_SU, noise, comparisons=comparisons, confidence=confidence, elsewhere=self.elsewhere
        )

    @property
    def is_ruled_by_one_block(self) -> bool:
        """Whether one block makes up more than half of the spread over blocks: such an interval is not to be trusted.

        It is so where one cluster alone holds a class, of which the score without that cluster knows nothing.
        """
        if self.folds > 1:
            return False
        means_U = self.blocks_SU.mean(0)
        squares_U = (means_U - means_U.mean()) ** 2
        return len(means_U) >= ENOUGH and bool(squares_U.max() > squares_U.sum() / 2)


def of_baseline(baseline: Baseline, study: StudySpec, seeds: Sequence[int]) -> TestedRuns:
    """The goal of a baseline on the test splits of the runs with these seeds."""
    goal, folds = study.task.goal, study.task.folds
    scores: list[SplitScores] = [baseline.folds[seed % folds] for seed in seeds]
    return TestedRuns(
        totals_S=np.array([score.scores[goal] for score in scores]),
        blocks=tuple(score.blocks[goal] for score in scores),
        folds=folds,
    )
