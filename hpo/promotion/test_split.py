"""Scores on the test split, which promotion alone reads: as a whole, and in the units that carry the intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from hpo.engine.evaluation import evaluate, place, resolve_device
from hpo.errors import Diverged
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import REFERENCE, Fidelity, Task

UNITS = 128  # the test split is scored in at most this many parts, whose spread carries the intervals


@dataclass(frozen=True)
class TestScores:
    """Scores of a model on the test split."""

    scores: Mapping[str, float]
    units: tuple[float, ...]  # the goal of each unit


@dataclass(frozen=True)
class Baseline:
    """A classical method on the same test units."""

    name: str
    scores: Mapping[str, float]
    units: tuple[float, ...]

    @property
    def is_rival(self) -> bool:
        """Whether the method could have been used: a reference knows the answer."""
        return not self.name.endswith(REFERENCE)


def load_test_units(task: Task, fidelity: Fidelity) -> list[NamedTuple]:
    """The test split in at most UNITS batches of equal size, the last one perhaps smaller."""
    size = math.ceil(fidelity.examples("test") / UNITS)
    return list(task.batches("test", fidelity, size, generator("test")))


def score_test_split(task: Task, model: nn.Module, fidelity: Fidelity, *, device: str, precision: str) -> TestScores:
    """Score a trained model on the test split. Raises Diverged where the goal is not a number there."""
    where = resolve_device(device)
    model = model.to(where).eval()
    units = [place(unit, where) for unit in load_test_units(task, fidelity)]
    goals = tuple(evaluate(task, model, [unit], precision=precision)[task.goal] for unit in units)
    scores = evaluate(task, model, units, precision=precision)
    for value in (scores[task.goal], *goals):
        if not math.isfinite(value):
            raise Diverged(f"the test score {task.goal} was {value}")
    return TestScores(scores, goals)


def score_baselines(study: StudySpec) -> tuple[Baseline, ...]:
    """The task's classical methods on the same test units."""
    task, _ = study.configure({}, study.full)
    units = load_test_units(task, study.full)
    parts = [task.baselines([unit]) for unit in units]
    return tuple(
        Baseline(name, scores, tuple(part[name][task.goal] for part in parts))
        for name, scores in task.baselines(units).items()
    )
