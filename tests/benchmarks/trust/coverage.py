"""Do the intervals of a promotion hold the truth? On planted worlds, the scores of whose runs are known beforehand.

Two configurations are equal, so that the true lead is 0; what an example, a photograph and a training seed do to each
is drawn anew in every repeat.

Shape suffixes: K configurations, S seeds, N examples, P photographs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from hpo.direction import Direction
from hpo.engine.evaluation import scores_of
from hpo.engine.rows import Rows
from hpo.promotion.intervals import Interval, lead_interval, lead_interval_in_folds, level_interval
from hpo.promotion.noise import MeanSquare, by_fold, level_noise, run_noise, unit_spread
from hpo.promotion.results import Sample
from hpo.promotion.test_split import SplitScores, split_scores
from hpo.task import Columns, Task
from tests.benchmarks.trust.experiment import Experiment, Row
from tests.measures import MEASURES, Examples
from tests.toy import Toy

SEEDS = 3
PHOTOGRAPHS, CROPS = 2, 48  # of a test split, or of a fold
FOLDS = 3
SKEWED = 28  # units, of which one in twenty carries the lead


def experiments() -> tuple[Experiment, ...]:
    """The claims on photographs, on scores that are no means, on skewed units and on plain ones."""
    return (*_photographs(), *(_measure(name) for name in MEASURES), _skewed(), *_plain())


# -- crops of a few photographs --------------------------------------------------------------------------------------
def _photographs() -> tuple[Experiment, ...]:
    rotating = Row("coverage-2-photographs-folds-rotate", least=0.93)
    fixed = Row("coverage-2-photographs-covered-or-withheld", least=0.93)
    return (
        Experiment(partial(_rotating_once, rotating.name), (rotating,), repeats=1000),
        Experiment(partial(_fixed_once, fixed.name), (fixed,)),
    )


def _rotating_once(name: str, seed: int) -> Mapping[str, float]:
    """A race 4 > 2 > 1 of 12 runs; run s is tested on the photographs of fold s % 3, so that one fold is met twice."""
    rng = np.random.default_rng(seed)
    effects_KFP = rng.normal(0, 0.5, (5, FOLDS, PHOTOGRAPHS))  # what a photograph does to a configuration
    totals_KS = np.array(
        [[_photographed(rng, effects_FP[run % FOLDS]).scores["mse"] for run in range(4)] for effects_FP in effects_KFP]
    )
    totals_KS[3:, 1:], totals_KS[2, 2:] = np.nan, np.nan  # who did not go on
    noise = run_noise(by_fold(totals_KS, FOLDS))
    interval = lead_interval_in_folds(totals_KS[1] - totals_KS[0], noise, FOLDS, comparisons=4)
    return {name: _covers(interval, 0.0)}


def _fixed_once(name: str, seed: int) -> Mapping[str, float]:
    """The same two photographs for all runs: the page gives the point alone."""
    scores = _photographed(np.random.default_rng(seed), np.zeros(PHOTOGRAPHS))
    return {name: float(Sample(scores.examples, scores.clusters, "photograph").is_too_small)}


def _photographed(rng: np.random.Generator, effects_P: np.ndarray) -> SplitScores:
    """The scores of one run on 48 crops of each photograph: its luck, the photographs' effects, and each crop's own."""
    crops_N = np.repeat(effects_P, CROPS) + rng.normal(0, 0.2) + rng.normal(0, 0.75, CROPS * len(effects_P))
    photographs_N = torch.arange(len(effects_P)).repeat_interleave(CROPS)
    return split_scores(Toy(), Rows({"mse": torch.tensor(crops_N)}, photographs_N))


# -- two configurations on the same examples -------------------------------------------------------------------------
@dataclass(frozen=True)
class _Promotion:
    """The runs of two configurations, on test and on validation."""

    task: Task[Any]
    test: tuple[list[SplitScores], ...]  # a configuration each, a run each
    validation: tuple[list[SplitScores], ...]

    @property
    def totals_KS(self) -> np.ndarray:
        return np.array([[run.scores[self.task.goal] for run in runs] for runs in self.test])

    @property
    def lead(self) -> Interval:
        """Of the second configuration over the first."""
        default_S, other_S = self.totals_KS
        lead = Direction(self.task.direction).lead
        return lead_interval(
            lead(self._blocks(self.test[1]), self._blocks(self.test[0])),
            run_noise(self.totals_KS),
            comparisons=1,
            centre=float(lead(other_S, default_S).mean()),
            elsewhere=self._elsewhere(lead(self._blocks(self.validation[1]), self._blocks(self.validation[0]))),
        )

    @property
    def level(self) -> Interval:
        """Of the first configuration's own value."""
        return level_interval(
            self._blocks(self.test[0]),
            level_noise(self.totals_KS),
            centre=float(self.totals_KS[0].mean()),
            elsewhere=self._elsewhere(self._blocks(self.validation[0])),
        )

    def _blocks(self, runs: list[SplitScores]) -> np.ndarray:
        return np.array([run.blocks[self.task.goal] for run in runs])

    def _elsewhere(self, validation_SV: np.ndarray) -> MeanSquare | None:
        return unit_spread(validation_SV, self.validation[0][0].units / self.test[0][0].units)


def _covers(interval: Interval, truth: float) -> float:
    return float(interval.low <= truth <= interval.high)


# -- scores that are no means ----------------------------------------------------------------------------------------
def _measure(name: str) -> Experiment:
    lead, level = Row(f"coverage-{name}-lead", least=0.94), Row(f"coverage-{name}-level", least=0.94)
    return Experiment(partial(_measure_once, name, lead.name, level.name), (lead, level), repeats=400)


def _measure_once(measure: str, lead: str, level: str, seed: int) -> Mapping[str, float]:
    """400 test and 200 validation examples. Half of an example's error is the same for all models, 3/10 for all runs of
    a configuration."""
    rng = np.random.default_rng(seed)
    task, _ = MEASURES[measure]
    luck_KS = rng.normal(0, 0.03, (2, SEEDS))
    test = _judged(measure, rng, 400, luck_KS)
    promotion = _Promotion(task, test, _judged(measure, rng, 200, luck_KS))
    return {lead: _covers(promotion.lead, 0.0), level: _covers(promotion.level, _truth(measure))}


def _judged(measure: str, rng: np.random.Generator, count: int, luck_KS: np.ndarray) -> tuple[list[SplitScores], ...]:
    task, world = MEASURES[measure]
    examples, common_N = Examples.drawn(rng, count), rng.normal(0, 0.5**0.5, count)
    judged = []
    for luck_S in luck_KS:
        configuration_N = common_N + rng.normal(0, 0.3**0.5, count)
        columns = [world(examples, configuration_N + rng.normal(0, 0.2**0.5, count), luck) for luck in luck_S]
        judged.append([split_scores(task, Rows(each, None)) for each in columns])
    return tuple(judged)


@cache
def _truth(measure: str) -> float:
    """The score of two million examples without luck."""
    task, world = MEASURES[measure]
    rng = np.random.default_rng(0)
    count = 2_000_000
    return scores_of(task, world(Examples.drawn(rng, count), rng.standard_normal(count), 0.0))[task.goal]


# -- means of examples -----------------------------------------------------------------------------------------------
def _skewed() -> Experiment:
    row = Row("coverage-28-skewed-units", least=0.90)
    return Experiment(partial(_skewed_once, row.name), (row,), repeats=1000)


def _skewed_once(name: str, seed: int) -> Mapping[str, float]:
    """One unit in twenty is worth 1 to the second configuration; 28 on test, 28 on validation. Test units alone would
    all agree in .95^28 = 24 % of the repeats."""
    rng = np.random.default_rng(seed)

    def judged() -> tuple[list[SplitScores], ...]:
        lead_KN = np.stack([np.zeros(SKEWED), -1.0 * (rng.random(SKEWED) < 0.05)])  # the smaller error is better
        return _scored(lead_KN[:, None] + rng.normal(0, 0.001, (2, SEEDS, SKEWED)))

    return {name: _covers(_Promotion(Toy(), judged(), judged()).lead, 0.05)}


def _plain() -> tuple[Experiment, ...]:
    rows = {
        (0.3, 0.3): Row("coverage-plain-seeds-rule", least=0.93),
        (0.03, 1.5): Row("coverage-plain-units-rule", least=0.93),
        (0.15, 1.0): Row("coverage-plain-both", least=0.93),
    }
    return tuple(Experiment(partial(_plain_once, *stds, row.name), (row,), repeats=1000) for stds, row in rows.items())


def _plain_once(luck_std: float, unit_std: float, name: str, seed: int) -> Mapping[str, float]:
    """100 independent examples on test and 50 on validation, three seeds."""
    rng = np.random.default_rng(seed)
    luck_KS1 = rng.normal(0, luck_std, (2, SEEDS, 1))

    def judged(count: int) -> tuple[list[SplitScores], ...]:
        units_K1N = rng.normal(0, unit_std, (2, 1, count))
        return _scored(luck_KS1 + units_K1N + rng.normal(0, 0.5, (2, SEEDS, count)))

    return {name: _covers(_Promotion(Toy(), judged(100), judged(50)).lead, 0.0)}


def _scored(errors_KSN: np.ndarray) -> tuple[list[SplitScores], ...]:
    """The scores of runs whose goal is the mean of these errors."""
    return tuple(
        [split_scores(Toy(), Rows(_columns(errors_N), None)) for errors_N in errors_SN] for errors_SN in errors_KSN
    )


def _columns(errors_N: np.ndarray) -> Columns:
    return {"mse": torch.tensor(errors_N)}
