"""Scores on the test split, which only promotion reads: of all of it, and of the blocks that intervals rest on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from hpo.data.passes import one_pass
from hpo.engine.evaluation import judge_baselines, judge_batches, mean_scores, resolve_device, scores_of
from hpo.engine.pseudo_values import pseudo_values
from hpo.engine.rows import Rows
from hpo.errors import Diverged
from hpo.promotion.intervals import Interval
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import REFERENCE, Fidelity, Split, Task


@dataclass(frozen=True)
class SplitScores:
    """Scores of a model on the test split."""

    scores: Mapping[str, float]
    blocks: Mapping[str, tuple[float, ...]]  # pseudo-values of each score, a block of examples each
    examples: int
    clusters: int | None  # how many things are independent of each other; None: each example is


@dataclass(frozen=True)
class Baseline:
    """The scores of a classical method on the test split."""

    name: str
    scores: Mapping[str, float]  # means over the folds
    folds: tuple[SplitScores, ...]  # of each fold's test split, in the same blocks as a model's
    interval: Interval | None = None  # of the goal

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


def score_test_split(
    task: Task[Any], model: nn.Module, fidelity: Fidelity, *, batch_size: int, device: str, precision: str
) -> SplitScores:
    """Score a trained model on the test split.

    Raises Diverged where the goal is not finite, or not without one of the blocks.
    """
    model = model.to(resolve_device(device))
    batches = SplitBatches(task, "test", fidelity, batch_size)
    return scores_of_rows(task, judge_batches(task, model, batches, precision=precision))


def scores_of_rows(task: Task[Any], rows: Rows) -> SplitScores:
    """The scores of a model's rows. Raises Diverged where the goal is not finite, or not without one of the blocks."""
    judged = _judged(task, rows)
    for value in (judged.scores[task.goal], *judged.blocks[task.goal]):
        if not math.isfinite(value):
            raise Diverged(f"the test score {task.goal} was {value}")
    return judged


def score_baselines(study: StudySpec) -> tuple[Baseline, ...]:
    """Score the task's classical methods on the test split of each fold, in the same blocks as a model."""
    configured = [study.configure({}, study.full, fold=fold) for fold in range(study.task.folds)]
    by_fold = [_scores_of_baselines(task, study.full, recipe.batch_size) for task, recipe in configured]
    return tuple(_baseline(name, tuple(fold[name] for fold in by_fold)) for name in by_fold[0])


def _scores_of_baselines(task: Task[Any], fidelity: Fidelity, batch_size: int) -> dict[str, SplitScores]:
    judged = judge_baselines(task, fidelity, SplitBatches(task, "test", fidelity, batch_size))
    return {name: _judged(task, rows) for name, rows in judged.items()}


def _baseline(name: str, folds: tuple[SplitScores, ...]) -> Baseline:
    return Baseline(name, mean_scores([fold.scores for fold in folds]), folds)


def _judged(task: Task[Any], rows: Rows) -> SplitScores:
    scores = scores_of(task, rows.columns)
    return SplitScores(scores, pseudo_values(task, rows, scores), len(rows), rows.clusters)
