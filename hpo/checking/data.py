"""The checks of preflight on the data: what the splits hold, and that they are the same in every process."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import scipy  # which imports its parts at their first use
import torch
from torch import Tensor

from hpo.checking.leaks import CHANCE, NEAR, ROWS, Neighbours, Projection, is_plain
from hpo.checking.wording import first_fault, status_of, yes_or_no
from hpo.data.batch import (
    example,
    example_hash,
    examples_in,
    misfits,
    same_but_for_padding,
    tensors_in,
    without_padding,
)
from hpo.data.passes import one_pass
from hpo.formatting import duration
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Check, Fidelity, Split, Status, Task

SPLITS: tuple[Split, ...] = ("train", "val", "test")
BATCH = 64  # examples of "val" or "test" at a time where a recipe has fewer: large batches are read faster

Tier = Literal["cheap", "full", "smoke"]
TIERS: tuple[Tier, ...] = ("cheap", "full", "smoke")


# -- reading every split once ----------------------------------------------------------------------------------------
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


def check_splits(study: StudySpec) -> list[Check]:
    """Every split of every fidelity holds what it should, and no two splits of one fidelity share an example.

    Each is read once, and a split that fidelities share is not read again. Fields are tensors with the examples first,
    of a sensible dtype, and finite; there are as many examples as the fidelity says; the task's `inputs` and `labels`
    are fields. A split that cannot be read is named.
    """
    started = time.perf_counter()
    readings = _read_all(study)
    faults = [f"{reading.split}: {fault}" for reading in readings.values() for fault in _faults(study, reading)]
    seconds = time.perf_counter() - started
    data = Check(
        name="data",
        status=status_of(not faults),
        seen=first_fault(faults) or f"finite, shapes agree; {_counts(readings.values())}, read in {duration(seconds)}",
        allowed="finite; examples first; as many as the fidelities say",
        look_at="the task's batches(), and how many examples the fidelities ask for",
    )
    return [data] if faults else [data, _check_disjoint(study, readings)]


def _read_all(study: StudySpec) -> dict[str, Reading]:
    """A reading of every split of every fidelity, by what its content depends on."""
    readings: dict[str, Reading] = {}
    for tier in TIERS:
        fidelity = getattr(study, tier)
        train = _content(fidelity, "train")
        for split in SPLITS:
            content = _content(fidelity, split)
            if content not in readings:
                known = readings.get(train)
                readings[content] = read(study, tier, split, projection=known.projection if known else None)
    return readings


def _content(fidelity: Fidelity, split: Split) -> str:
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


def _faults(study: StudySpec, reading: Reading) -> list[str]:
    unknown = [name for name in (*study.task.inputs, *study.task.labels) if name not in reading.fields]
    if unknown and reading.fields:
        return [*reading.faults(), f"inputs or labels name {unknown}, but the batch has {list(reading.fields)}"]
    return reading.faults()


def _counts(readings: Iterable[Reading]) -> str:
    """How many examples each fidelity has; a split that was read for an earlier one is left out."""
    counts: dict[str, list[str]] = {}
    for reading in readings:
        counts.setdefault(reading.tier, []).append(f"{reading.split} {reading.examples}")
    return "; ".join(f"{tier}: {', '.join(parts)}" for tier, parts in counts.items())


# -- splits that share something -------------------------------------------------------------------------------------
def has_default_origins(task: Task[Any]) -> bool:
    """Whether the task leaves it to preflight to find examples that splits share."""
    return type(task).origins is Task.origins


def _check_disjoint(study: StudySpec, readings: Mapping[str, Reading]) -> Check:
    """No two splits share what their examples come from, neither at the cheap fidelity nor at the full one."""
    tiers: list[Tier] = ["cheap"] if study.full == study.cheap else ["cheap", "full"]
    if has_default_origins(study.task):
        return _compared_examples(study, readings, tiers)
    shared: list[str] = []
    counts: list[str] = []
    for tier in tiers:
        fidelity = getattr(study, tier)
        task, _ = study.configure({}, fidelity)
        origins = {split: task.origins(split, fidelity) for split in SPLITS}
        shared += [f"{tier}: {overlap}" for overlap in _overlaps(origins)]
        counts.append(f"{tier}: " + " + ".join(str(len(hashes)) for hashes in origins.values()))
    return _disjoint(status_of(not shared), first_fault(shared) or f"none shared ({', '.join(counts)})")


def _disjoint(status: Status, seen: str, look_at: str = "how the task splits its data") -> Check:
    return Check("splits disjoint", status, seen, "none shared", look_at)


def _overlaps(origins: Mapping[Split, set[str]]) -> Iterator[str]:
    for first, second in itertools.combinations(origins, 2):
        shared = origins[first] & origins[second]
        if shared:
            yield f"{first} and {second} share {len(shared)}"


def _compared_examples(study: StudySpec, readings: Mapping[str, Reading], tiers: Sequence[Tier]) -> Check:
    """The inputs of every two splits, compared: bit for bit, and by nearest neighbours."""
    cheap_train = readings[_content(study.cheap, "train")]
    again = read(study, "cheap", "train", projection=cheap_train.projection, epoch=2)
    differs = set(again.hashes) != set(cheap_train.hashes)  # it is augmented, or drawn anew
    nearness = Neighbours.among(cheap_train.distinct_points()).nearness(again.all_points() if differs else None)
    shared: list[str] = []
    counts: list[str] = []
    for tier in tiers:
        fidelity = getattr(study, tier)
        splits = {split: readings[_content(fidelity, split)] for split in SPLITS}
        shared += [f"{tier}: {overlap}" for overlap in _common_examples(splits, nearness)]
        counts.append(f"{tier}: " + " + ".join(str(len(set(reading.hashes))) for reading in splits.values()))
    if shared:
        return _disjoint("no-go", first_fault(shared))
    if differs and nearness is None:
        return _disjoint(
            "caution",
            "training examples differ from epoch to epoch, so nobody can see whether another split has them too",
            look_at="augmentation: define origins(), with hashes of what the examples are made from",
        )
    return _disjoint("go", f"none shared ({', '.join(counts)})")


def _common_examples(splits: Mapping[Split, Reading], nearness: float | None) -> Iterator[str]:
    """Which splits have examples in common, more than chance explains. `nearness` is that of training's copies."""
    repeats = _repeats(splits.values())
    for first, second in itertools.combinations(splits, 2):
        a, b = splits[first], splits[second]
        shared = set(a.hashes) & set(b.hashes)
        if shared and not repeats.explain(sum(value in shared for value in b.hashes), len(b.hashes)):
            yield f"{first} and {second} share {len(shared)}"
            continue
        neighbours = Neighbours.among(a.distinct_points())
        copies = neighbours.copies(b.points_without(shared), nearness if first == "train" else NEAR[0])
        if copies:
            yield f"{copies} examples of {second} are near copies of examples of {first}"


class Repeats(NamedTuple):
    """How many examples are equal to another one of their own split: where values are few, chance makes some so."""

    repeated: int
    of: int

    def explain(self, shared: int, of: int) -> bool:
        """Whether it is no wonder that so many examples of a split are equal to some of another split."""
        if not self.repeated:
            return False
        table = [[shared, of - shared], [self.repeated, self.of - self.repeated]]
        return bool(scipy.stats.fisher_exact(table, alternative="greater").pvalue >= CHANCE)


def _repeats(splits: Iterable[Reading]) -> Repeats:
    """Of all splits together. One that repeats its examples equally often, as a cycle does, shows no chance."""
    repeated, total = 0, 0
    for reading in splits:
        times = Counter(reading.hashes)
        least, most = min(times.values(), default=1), max(times.values(), default=1)
        is_cycle = least > 1 and most - least <= 1
        repeated += 0 if is_cycle else sum(count for count in times.values() if count > 1)
        total += len(reading.hashes)
    return Repeats(repeated, total)


# -- the same batches again ------------------------------------------------------------------------------------------
def check_repeatable(study: StudySpec) -> list[Check]:
    """The same rng gives the same batches, and another rng gives other training batches.

    The validation split depends on neither the rng nor the batch size.
    """

    def examples(split: Split, seed: int, batch_size: int | None = None) -> list[Any]:
        return [
            example(batch, row)
            for batch in batches(study, study.smoke, split, seed, batch_size)
            for row in range(examples_in(batch))
        ]

    def hashes(split: Split, seed: int) -> list[str]:
        return [example_hash([each]) for each in examples(split, seed)]

    repeats = hashes("train", 1) == hashes("train", 1) and hashes("val", 1) == hashes("val", 1)
    epochs_differ = hashes("train", 1) != hashes("train", 2)
    validation_is_fixed = same_but_for_padding(examples("val", 1), examples("val", 2, batch_size=1))
    return [
        Check(
            name="same seed, same batches",
            status=status_of(repeats and epochs_differ and validation_is_fixed),
            seen=f"repeats: {yes_or_no(repeats)}; epochs differ: {yes_or_no(epochs_differ)}; "
            f"validation fixed: {yes_or_no(validation_is_fixed)}",
            allowed="yes; yes; yes",
            look_at="batches(): random numbers that do not come from rng, or a validation split that depends on rng or "
            "batch_size",
        )
    ]


def field_hashes(study: StudySpec) -> dict[str, str]:
    """A hash of each field of each split, at the smoke fidelity: {"train: class_B": "1f0c..."}."""
    hashes: dict[str, list[str]] = {}
    for split in SPLITS:
        for batch in batches(study, study.smoke, split):
            for name, values in zip(batch._fields, batch, strict=True):
                hashes.setdefault(f"{split}: {name}", []).append(example_hash([values]))
    return {name: " ".join(parts) for name, parts in hashes.items()}


def check_processes_agree(study: StudySpec, elsewhere: Mapping[str, str]) -> list[Check]:
    """Another process makes the same batches; `elsewhere` are its `field_hashes`.

    Python orders a set of strings otherwise in every process.
    """
    here = field_hashes(study)
    differing = [name for name in here if here[name] != elsewhere.get(name)]
    return [
        Check(
            name="every process, same batches",
            status=status_of(not differing),
            seen=f"another process makes other batches: {', '.join(differing)}" if differing else "the same",
            allowed="the same",
            look_at="the order of a set() or of a folder's files (sort it), hash(), the time, or random numbers that "
            "do not come from rng",
        )
    ]
