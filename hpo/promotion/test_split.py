"""Scores on the test split, which only promotion reads: of all of it, and of the blocks that intervals rest on.

The blocks of the validation split say more of how examples differ; where a few examples carry a score, the test split
may hold none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import nn

from hpo.data.passes import one_pass
from hpo.engine.evaluation import judge_baselines, judge_batches, mean_scores, resolve_device, scores_of
from hpo.engine.pseudo_values import pseudo_values
from hpo.engine.rows import Rows
from hpo.errors import Diverged
from hpo.promotion.intervals import Interval
from hpo.promotion.tuning import Tuning, keep_tunings
from hpo.seeds import generator
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import REFERENCE, Fidelity, Split, Task
from hpo.trial.record import Outcome


@dataclass(frozen=True)
class SplitScores:
    """Scores of a model on a split."""

    scores: Mapping[str, float]
    blocks: Mapping[str, tuple[float, ...]]  # pseudo-values of each score, a block of examples each
    examples: int
    clusters: int | None  # how many things are independent of each other; None: each example is

    @property
    def units(self) -> int:
        """How many things the blocks are made of: clusters; examples where each is alone, or all are of one."""
        return self.examples if self.clusters in (None, 1) else self.clusters

    def finite_blocks(self, score: str) -> tuple[float, ...]:
        """The pseudo-values of a score; none where one is not finite, since a block holds what the score needs."""
        values = self.blocks[score]
        return values if all(math.isfinite(value) for value in values) else ()


@dataclass(frozen=True)
class RunScores:
    """Scores of a run's model on the splits that its intervals rest on."""

    test: SplitScores
    validation: SplitScores | None  # None where test folds rotate: intervals rest on the runs alone then

    def added_to(self, outcome: Outcome, goal: str) -> Outcome:
        """The outcome of the run with these scores."""
        return replace(
            outcome,
            test=dict(self.test.scores),
            blocks=self.test.blocks,
            examples=self.test.examples,
            clusters=self.test.clusters,
            validation_blocks=self.validation.finite_blocks(goal) if self.validation else (),
            validation_units=self.validation.units if self.validation else 0,
        )


@dataclass(frozen=True)
class Baseline:
    """The scores of a classical method on the test split."""

    name: str
    scores: Mapping[str, float]  # means over the folds
    folds: tuple[SplitScores, ...]  # of each fold's test split, in the same blocks as a model's
    interval: Interval | None = None  # of the goal
    tuned: tuple[Tuning, ...] = ()  # its settings in each fold; none where it has none to choose

    def scores_of(self, seeds: Sequence[int]) -> dict[str, float]:
        """Means over the folds of runs with these seeds."""
        return mean_scores([self.folds[seed % len(self.folds)].scores for seed in seeds])

    @property
    def is_rival(self) -> bool:
        """Whether the method competes: a reference knows the answer, and could not be used."""
        return not self.name.endswith(REFERENCE)


@dataclass(frozen=True)
class SplitBatches:
    """The batches of a split, read anew each time that they are iterated over: they may not fit into memory."""

    task: Task[Any]
    split: Split
    fidelity: Fidelity
    batch_size: int

    def __iter__(self) -> Iterator[NamedTuple]:
        return one_pass(self.task, self.split, self.fidelity, self.batch_size, generator(self.split))


def judge_split(
    task: Task[Any],
    model: nn.Module,
    split: Split,
    fidelity: Fidelity,
    *,
    batch_size: int,
    device: str,
    precision: str,
) -> Rows:
    """What a trained model comes to on each example of a split."""
    batches = SplitBatches(task, split, fidelity, batch_size)
    return judge_batches(task, model.to(resolve_device(device)), batches, precision=precision)


def run_scores(task: Task[Any], rows: Callable[[Split], Rows]) -> RunScores:
    """The scores of a run's model, whose rows of a split `rows` gives.

    Raises Diverged where the goal on test is not finite, or not without one of the blocks.
    """
    test = scores_of_rows(task, rows("test"))
    return RunScores(test, split_scores(task, rows("val")) if task.folds == 1 else None)


def scores_of_rows(task: Task[Any], rows: Rows) -> SplitScores:
    """The scores of a model's rows. Raises Diverged where the goal is not finite, or not without one of the blocks."""
    judged = split_scores(task, rows)
    for value in (judged.scores[task.goal], *judged.blocks[task.goal]):
        if not math.isfinite(value):
            raise Diverged(f"the test score {task.goal} was {value}")
    return judged


def score_baselines(
    study: StudySpec, folder: RunFolder, watch: Callable[[str], None] = lambda _: None
) -> tuple[Baseline, ...]:
    """Score the task's classical methods on the test split of each fold, in the same blocks as a model.

    The settings of tuned ones are chosen first, on training examples of the fold. `watch` is called with what is done.
    """
    folds = range(study.task.folds)
    tuned = [keep_tunings(study, folder, fold, watch) for fold in folds]
    scores = [_scores_of_baselines(study, fold, tuned[fold]) for fold in folds]
    return tuple(
        Baseline(
            name,
            mean_scores([in_fold[name].scores for in_fold in scores]),
            folds=tuple(in_fold[name] for in_fold in scores),
            tuned=tuple(in_fold[name] for in_fold in tuned if name in in_fold),
        )
        for name in scores[0]
    )


def _scores_of_baselines(study: StudySpec, fold: int, tuned: Mapping[str, Tuning]) -> dict[str, SplitScores]:
    task, recipe = study.configure({}, study.full, fold=fold)
    settings = {name: tuning.settings for name, tuning in tuned.items()}
    batches = SplitBatches(task, "test", study.full, recipe.batch_size)
    judged = judge_baselines(task, study.full, batches, settings)
    return {name: split_scores(task, rows) for name, rows in judged.items()}


def split_scores(task: Task[Any], rows: Rows) -> SplitScores:
    """The scores of rows, and of their blocks."""
    scores = scores_of(task, rows.columns)
    return SplitScores(scores, pseudo_values(task, rows, scores), len(rows), rows.clusters)
