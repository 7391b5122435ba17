"""Scores on the test split, which only promotion reads: of the whole split, and of the units that intervals rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from hpo.engine.evaluation import evaluate, place, resolve_device
from hpo.errors import Diverged
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import REFERENCE, Fidelity, Task

UNITS = 128  # the test split is scored in at most this many parts; the intervals rest on their spread


@dataclass(frozen=True)
class TestScores:
    """Scores of a model on the test split."""

    scores: Mapping[str, float]
    units: tuple[float, ...]  # the goal of each unit


@dataclass(frozen=True)
class Baseline:
    """The scores of a classical method on the test split."""

    name: str
    scores: Mapping[str, float]
    units: tuple[float, ...]  # the goal of each unit, the same units as a model's

    @property
    def is_rival(self) -> bool:
        """Whether the method competes: a reference knows the answer, and could not be used."""
        return not self.name.endswith(REFERENCE)


def load_test_units(task: Task[Any], fidelity: Fidelity) -> list[NamedTuple]:
    """The test split in at most UNITS batches of equal size; the last one may be smaller."""
    size = math.ceil(fidelity.examples("test") / UNITS)
    return list(task.batches("test", fidelity, size, generator("test")))


def score_test_split(
    task: Task[Any], model: nn.Module, fidelity: Fidelity, *, device: str, precision: str
) -> TestScores:
    """Score a trained model on the test split. Raises Diverged where the goal is not finite, or not in some unit."""
    resolved = resolve_device(device)
    model = model.to(resolved).eval()
    units = [place(unit, resolved) for unit in load_test_units(task, fidelity)]
    goals = tuple(evaluate(task, model, [unit], precision=precision)[task.goal] for unit in units)
    scores = evaluate(task, model, units, precision=precision)
    for value in (scores[task.goal], *goals):
        if not math.isfinite(value):
            raise Diverged(f"the test score {task.goal} was {value}")
    return TestScores(scores, goals)


def score_baselines(study: StudySpec) -> tuple[Baseline, ...]:
    """Score the task's classical methods on the test split, in the same units as a model."""
    task, _ = study.configure({}, study.full)
    units = load_test_units(task, study.full)
    unit_baselines = [task.baselines([unit]) for unit in units]
    return tuple(
        Baseline(name, scores, tuple(baselines[name][task.goal] for baselines in unit_baselines))
        for name, scores in task.baselines(units).items()
    )
