"""What the splits of a study hold, read once each: what the checks of preflight on the data go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from hpo.checking.leaks import ROWS, Projection, is_plain
from hpo.data.batch import example, example_hash, examples_in, misfits, tensors_in, without_padding
from hpo.data.passes import one_pass
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Fidelity, Split, Task

SPLITS: tuple[Split, ...] = ("train", "val", "test")
BATCH = 64  # examples of "val" or "test" at a time where a recipe has fewer: large batches are read faster

Tier = Literal["cheap", "full", "smoke"]
TIERS: tuple[Tier, ...] = ("cheap", "full", "smoke")


@dataclass
class Reading:
    """What one pass over a split has shown. It holds no example."""

    tier: Tier
    split: Split
    expected: int | None  # examples; None: however many there are
    projection: Projection | None  # None until the first batch has been seen
    examples: int = 0
    fields: tuple[str, ...] = ()
    wrong_fields: list[str] = field(default_factory=list)
    nonfinite: Counter[str] = field(default_factory=Counter)  # elements, by field
    elements: Counter[str] = field(default_factory=Counter)
    hashes: list[str] = field(default_factory=list)  # of the inputs of each example
    points: list[Tensor] = field(default_factory=list)  # likewise, of the first ROWS examples

    def add(self, batch: NamedTuple) -> None:
        """Count a batch, and look at its fields."""
        examples = examples_in(batch)
        self.examples += examples
        self.fields = batch._fields
        for name, value in zip(batch._fields, batch, strict=True):
            faults = list(misfits(name, value, examples))
            self.wrong_fields += faults
            for tensor in [] if faults else tensors_in(value):
                if tensor.dtype in (torch.float64, torch.complex128):
                    self.wrong_fields.append(f"{name} is {tensor.dtype}; use float32 or complex64")
                self.elements[name] += tensor.numel()
                self.nonfinite[name] += int((~torch.isfinite(tensor)).sum())

    def keep(self, inputs: Sequence[Any]) -> None:
        """Keep a hash and a point of each example of a batch, given by its inputs."""
        examples = next((examples_in(value) for value in inputs if value is not None), 0)
        self.hashes += [
            example_hash([without_padding(example(value, row)) for value in inputs]) for row in range(examples)
        ]
        tensors = [value for value in inputs if isinstance(value, Tensor) and is_plain(value)]
        if tensors and sum(map(len, self.points)) < ROWS:
            self.projection = self.projection or Projection(tensors)
            self.points.append(self.projection(tensors))

    def faults(self) -> list[str]:
        """What is wrong with the split, a sentence each."""
        counted = [
            f"{name} is not finite in {count} of {self.elements[name]} elements"
            for name, count in self.nonfinite.items()
            if count
        ]
        faults = [*dict.fromkeys(self.wrong_fields), *counted]
        if self.expected is not None and self.examples != self.expected:
            faults.append(f"{self.examples} examples, but the {self.tier} fidelity has {self.expected}")
        return faults

    def all_points(self) -> Tensor:
        """[N, dimensions]"""
        return torch.cat(self.points) if self.points else torch.empty(0, 1)

    def distinct_points(self) -> Tensor:
        """The points of examples that differ."""
        points = self.all_points()
        first = {value: row for row, value in reversed(list(enumerate(self.hashes[: len(points)])))}
        return points[sorted(first.values())]

    def points_without(self, hashes: set[str]) -> Tensor:
        """The points of examples that have none of these hashes."""
        points = self.all_points()
        return points[[row for row, value in enumerate(self.hashes[: len(points)]) if value not in hashes]]


def read_all(study: StudySpec) -> dict[str, Reading]:
    """A reading of every split of every fidelity, by what its content depends on."""
    readings: dict[str, Reading] = {}
    for tier in TIERS:
        fidelity = getattr(study, tier)
        train = content_of(fidelity, "train")
        for split in SPLITS:
            content = content_of(fidelity, split)
            if content not in readings:
                known = readings.get(train)
                readings[content] = read(study, tier, split, projection=known.projection if known else None)
    return readings


def content_of(fidelity: Fidelity, split: Split) -> str:
    """What the content of a split depends on."""
    return repr((split, fidelity.size, fidelity.limit(split), sorted(fidelity.fixed.items())))


def read(
    study: StudySpec, tier: Tier, split: Split, *, projection: Projection | None = None, epoch: int = 1
) -> Reading:
    """Read a split once.

    What is needed to compare splits is kept, unless the task says with `origins` what its examples come from. "train"
    is read in batches of the recipe's size: a task may drop its last batch if that is not full, as in training.
    """
    fidelity: Fidelity = getattr(study, tier)
    reading = Reading(tier, split, fidelity.limit(split), projection)
    compares = tier != "smoke" and has_default_origins(study.task)
    at_least = 1 if split == "train" else BATCH
    try:
        for batch in batches(study, fidelity, split, epoch, at_least=at_least):
            reading.add(batch)
            if compares:
                reading.keep([getattr(batch, name, None) for name in study.task.inputs])
    except Exception as error:
        error.add_note(f"the {split} split of the {tier} fidelity")
        raise
    return reading


def batches(
    study: StudySpec,
    fidelity: Fidelity,
    split: Split,
    seed: int = 1,
    batch_size: int | None = None,
    *,
    at_least: int = 1,
) -> Iterator[NamedTuple]:
    """One pass over a split of the default configuration, in batches of `batch_size`, or else of the recipe's size."""
    task, recipe = study.configure({}, fidelity)
    size = batch_size or max(recipe.batch_size, at_least)
    return one_pass(task, split, fidelity, size, generator("preflight", seed))


def has_default_origins(task: Task[Any]) -> bool:
    """Whether the task leaves it to preflight to find examples that splits share."""
    return type(task).origins is Task.origins
