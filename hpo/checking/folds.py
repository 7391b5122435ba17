"""The checks on folds and on the parts of a cross-validation: nothing both teaches or chooses and judges."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hpo.data.passes import one_pass
from hpo.formatting import count
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Check, Fidelity, Split, Task


@dataclass(frozen=True)
class _Contents:
    """What the examples of a split come from."""

    origins: frozenset[str]
    clusters: frozenset[Any]  # empty where the task names no cluster

    def shared_with(self, other: _Contents) -> str:
        """What both have, in words; "" where they share nothing."""
        if self.clusters & other.clusters:
            return count(len(self.clusters & other.clusters), "cluster")
        return count(len(self.origins & other.origins), "origin") if self.origins & other.origins else ""


def check_folds(study: StudySpec) -> list[Check]:
    """In every fold, training and validation share nothing with the test split, which shares nothing with other folds'.

    What another fold trains on is no leak: its run is another one. Nothing is checked of a task without folds.
    """
    if study.task.folds == 1:
        return []
    tasks = [study.configure({}, study.full, fold=fold).task for fold in range(study.task.folds)]
    validations = [_contents(task, "val", study.full) for task in tasks]
    tests = [_contents(task, "test", study.full) for task in tasks]
    trains = (frozenset(task.origins("train", study.full)) for task in tasks)
    faults = [*_validation_faults(validations, tests), *_test_faults(trains, tests)]
    sizes = " + ".join(str(len(test.clusters or test.origins)) for test in tests)
    return [
        Check(
            name="folds",
            status="no-go" if faults else "go",
            seen=faults[0] if faults else f"{len(tasks)} folds test on {sizes}, and validate on none of them",
            allowed="the same validation split in each; none of it, and nothing twice, is tested on",
            look_at="what batches() serves as 'val' and 'test' for each value of self.fold",
        )
    ]


def check_parts(study: StudySpec) -> list[Check]:
    """In every part of a cross-validation, what validates is trained on nowhere in it, validates once, and is not
    tested on. Nothing is checked of a study without cross-validation.
    """
    if study.cross_validate == 1:
        return []
    tasks = [study.configure({}, study.cheap, part=part).task for part in range(study.cross_validate)]
    validations = [_contents(task, "val", study.cheap) for task in tasks]
    test = _contents(tasks[0], "test", study.cheap)
    faults = [*_part_faults(validations, [_contents(task, "train", study.cheap) for task in tasks], test)]
    sizes = " + ".join(str(len(validation.clusters or validation.origins)) for validation in validations)
    return [
        Check(
            name="cross-validation",
            status="no-go" if faults else "go",
            seen=faults[0] if faults else f"{len(tasks)} parts validate on {sizes}",
            allowed="each part validates on what it is not trained on, what no other validates on, and nothing tests",
            look_at="what batches() serves as 'train' and 'val' for each value of self.part",
        )
    ]


def _part_faults(validations: list[_Contents], trains: list[_Contents], test: _Contents) -> Iterator[str]:
    for part, (validation, train) in enumerate(zip(validations, trains, strict=True)):
        if validation.shared_with(train):
            yield f"part {part} trains on {validation.shared_with(train)} that it validates on"
        if validation.shared_with(test):
            yield f"part {part} validates on {validation.shared_with(test)} of the test split"
    for first, second in itertools.combinations(range(len(validations)), 2):
        shared = validations[first].shared_with(validations[second])
        if shared:
            yield f"parts {first} and {second} both validate on {shared}"


def _validation_faults(validations: list[_Contents], tests: list[_Contents]) -> Iterator[str]:
    for fold, validation in enumerate(validations):
        if validation != validations[0]:
            yield f"fold {fold} validates on other examples than fold 0"
    for fold, test in enumerate(tests):
        shared = test.shared_with(validations[0])
        if shared:
            yield f"fold {fold} tests on {shared} of the validation split"


def _test_faults(trains: Iterable[frozenset[str]], tests: list[_Contents]) -> Iterator[str]:
    for fold, (train, test) in enumerate(zip(trains, tests, strict=True)):
        if train & test.origins:
            yield f"fold {fold} trains on {count(len(train & test.origins), 'origin')} that it tests on"
    for first, second in itertools.combinations(range(len(tests)), 2):
        shared = tests[first].shared_with(tests[second])
        if shared:
            yield f"folds {first} and {second} both test on {shared}"


def _contents(task: Task[Any], split: Split, fidelity: Fidelity) -> _Contents:
    return _Contents(frozenset(task.origins(split, fidelity)), frozenset(_clusters(task, split, fidelity)))


def _clusters(task: Task[Any], split: Split, fidelity: Fidelity) -> Iterator[Any]:
    if task.cluster is None:
        return
    for batch in one_pass(task, split, fidelity, 64, generator("folds")):
        values = getattr(batch, task.cluster)
        yield from values.tolist() if isinstance(values, Tensor) else values
