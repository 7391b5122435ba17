"""The numbers of a run, and whether two runs have the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hpo.engine.evaluation import resolve_device
from hpo.engine.own_training import OwnProgress, epochs_of
from hpo.engine.training import Progress
from hpo.epoch import Epoch
from hpo.errors import Diverged, Infeasible
from hpo.study import StudySpec
from hpo.task import Fidelity

SAME = 1e-3  # relative difference up to which two scores count as the same
NOISE = 10  # a change counts if it is this many times what repeating the run changes; on the CPU that is nothing

Numbers = Mapping[str, float]  # the losses, terms and scores of a run, by name and epoch


def run_numbers(study: StudySpec, values: Mapping[str, Any], fidelity: Fidelity, seed: int, device: str) -> Numbers:
    """The numbers of a run. Of one that diverges, the message is a number too, so how it diverges tells runs apart."""
    numbers: dict[str, float] = {}
    try:
        for epoch in _epochs(study, values, fidelity, seed, device):
            numbers |= numbers_of([epoch])
    except Diverged as diverged:
        numbers[str(diverged)] = 0.0
    return numbers


def changes_run(
    study: StudySpec,
    values: Mapping[str, Any],
    fidelity: Fidelity,
    device: str,
    reference: Numbers,
    *,
    noise: float,
    seed: int = 1,
) -> bool:
    """Whether a run with these values has other numbers than the reference. It ends with the first epoch that has.

    `noise` is what repeating a run changes.
    """
    compared = 0
    try:
        for epoch in _epochs(study, values, fidelity, seed, device):
            numbers = numbers_of([epoch])
            expected = {name: reference[name] for name in numbers if name in reference}
            if distance(expected, numbers) > NOISE * noise:
                return True
            compared += len(numbers)
    except Diverged as diverged:
        return str(diverged) not in reference
    except Infeasible:
        return True  # the task itself says that the values matter
    return compared < len(reference)


def _epochs(
    study: StudySpec, values: Mapping[str, Any], fidelity: Fidelity, seed: int, device: str
) -> Iterator[Progress | OwnProgress]:
    """The epochs of a run. An exception other than Diverged gets a note of the values."""
    try:
        task, recipe = study.configure(values, fidelity)
        yield from epochs_of(task, recipe, fidelity, seed=seed, device=device)
    except Diverged:
        raise
    except Exception as error:
        error.add_note(", ".join(f"{name} = {value!r}" for name, value in values.items()))
        raise


def numbers_of(epochs: Iterable[Epoch]) -> Numbers:
    """Losses, terms and scores of every epoch."""
    numbers: dict[str, float] = {}
    for epoch in epochs:
        scores = {f"score {name}": score for name, score in epoch.scores.items()}
        for name, number in {"loss": epoch.loss, **epoch.terms, **scores}.items():
            numbers[f"{name} of epoch {epoch.epoch}"] = number
    return numbers


def distance(a: Numbers, b: Numbers) -> float:
    """The largest relative difference between the numbers of two runs; infinite where their names differ."""
    if a.keys() != b.keys():
        return math.inf
    return max(relative_difference(a[name], b[name]) for name in a)


def relative_difference(a: float, b: float) -> float:
    """The relative difference of two numbers: 0 for NaN twice, infinite where only one is NaN or infinite."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    difference = abs(a - b) / max(abs(a), abs(b))
    return math.inf if math.isnan(difference) else difference


def is_close(value: float, expected: float) -> bool:
    return relative_difference(value, expected) == 0 or abs(value - expected) <= SAME * max(1e-6, abs(expected))


def is_exact(device: str) -> bool:
    """Whether the same run gives the same numbers, bit for bit, on this device."""
    return resolve_device(device).type == "cpu"


def searchable(study: StudySpec, fidelity: Fidelity) -> Fidelity:
    """The fidelity without what it pins of the searched hyperparameters."""
    return replace(fidelity, fixed={name: value for name, value in fidelity.fixed.items() if name not in study.space})
