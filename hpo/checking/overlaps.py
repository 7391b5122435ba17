"""The check of preflight that no two splits share an example, or what their examples come from."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import scipy  # which imports its parts at their first use

from hpo.checking.leaks import CHANCE, NEAR, Neighbours
from hpo.checking.splits import SPLITS, Reading, Tier, content_of, has_default_origins, read
from hpo.checking.wording import first_fault, status_of
from hpo.study import StudySpec
from hpo.task import Check, Split, Status


def check_disjoint(study: StudySpec, readings: Mapping[str, Reading]) -> Check:
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
    cheap_train = readings[content_of(study.cheap, "train")]
    again = read(study, "cheap", "train", projection=cheap_train.projection, epoch=2)
    differs = set(again.hashes) != set(cheap_train.hashes)  # it is augmented, or drawn anew
    nearness = Neighbours.among(cheap_train.distinct_points()).nearness(again.all_points() if differs else None)
    shared: list[str] = []
    counts: list[str] = []
    for tier in tiers:
        fidelity = getattr(study, tier)
        splits = {split: readings[content_of(fidelity, split)] for split in SPLITS}
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
