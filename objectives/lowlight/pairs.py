"""A user's own pairs of files: every file is read once, scenes are recognised, and each scene belongs to one split.

Layouts, in upper or lower case: our485/{low,high} with eval15/{low,high} (LOL), Train/ and Test/ (LOL-v2), or low and
high directly in the folder. Other names for low and high: input and target, train_data and train_gt, low and normal,
low and gt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpo import Split, made_once
from objectives.common.content import content_hash
from objectives.common.listing import pictures_in
from objectives.common.walk import summary_of_skipped
from objectives.lowlight.copies import scene_numbers_by_look, thumbnail
from objectives.lowlight.layout import Sides, sides_of_splits, unused_folders
from objectives.lowlight.matching import Pairing, match, scene_of

__all__ = ["Pair", "Pairing", "Pairs", "match", "scene_numbers", "scene_of", "split_pairs"]

HELD_OUT = 0.15  # share of the scenes, at least one, for each split that has no folder of its own
SHOWN = 5  # names of unmatched files, or of scenes in two splits, that are listed
MOST_SHOWN = 20  # files that cannot be used


class Pair(NamedTuple):
    """Two files of one view, the hashes of their content, and the scene that they show."""

    low: Path
    high: Path
    low_sha256: str
    high_sha256: str
    scene: str = ""


@dataclass(frozen=True)
class Pairs:
    """The pairs in a user's folder, split by scene."""

    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]
    unmatched: tuple[Path, ...]
    notes: tuple[str, ...] = ()  # what else is in the folder and is not used, and scenes in two splits

    @property
    def is_doubtful(self) -> bool:
        """Whether the user should look at the folder."""
        return bool(self.unmatched or self.notes)

    def of(self, split: Split) -> tuple[Pair, ...]:
        """The pairs of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def __str__(self) -> str:
        counts = f"{len(self.train)} train, {len(self.val)} val and {len(self.test)} test pairs"
        partners = "every file has its partner"
        if self.unmatched:
            partners = f"{len(self.unmatched)} files without a partner: {_some(path.name for path in self.unmatched)}"
        return "; ".join([counts, partners, *self.notes])


def split_pairs(folder: str | Path, pairing: str) -> Pairs:
    """The pairs in a folder. Every file is opened and decoded.

    Splits with folders of their own are used as they are. Each other split is held out of the training scenes, by a
    hash of the scene, so that a new file moves no other file into another split. Files show one scene if their names
    say so (matching.py) or if their bright pictures look alike (copies.py).

    Raises ValueError naming the folder and the cause: no known layout, no pair, files that cannot be read or pairs of
    two sizes, all by name, too few scenes, or the same bright picture in two splits.
    """
    if pairing == "strict" or pairing == "flexible":
        return _split_pairs(str(Path(folder).resolve()), pairing)
    raise ValueError(f"task.pairing must be 'strict' or 'flexible'; got {pairing!r}")


def scene_numbers(pairs: Sequence[Pair]) -> list[int]:
    """The number of each pair's scene; pairs of one scene have the same."""
    numbers = {scene: number for number, scene in enumerate(dict.fromkeys(pair.scene for pair in pairs))}
    return [numbers[pair.scene] for pair in pairs]


@lru_cache(maxsize=4)
def _split_pairs(folder: str, pairing: Pairing) -> Pairs:
    root = Path(folder)
    sides = sides_of_splits(root)
    pairs: dict[Split, list[Pair]] = {}
    unmatched: list[Path] = []
    notes = [f"not read: the folder {path.relative_to(root)}" for path in unused_folders(root, sides.values())]
    for split, folders in sides.items():
        pairs[split], without_partner, skipped = _matched(folders, pairing)
        unmatched += without_partner
        notes += skipped
    pairs = _with_scenes(root, pairs)
    _hold_out(root, pairs)
    _check_disjoint(root, pairs)
    notes += _scenes_in_two_splits(pairs)
    train, val, test = (tuple(pairs[split]) for split in ("train", "val", "test"))
    return Pairs(train, val, test, tuple(unmatched), tuple(notes))


def _matched(sides: Sides, pairing: Pairing) -> tuple[list[Pair], list[Path], list[str]]:
    """The pairs, the files without a partner, and notes on files that are not read."""
    names: list[list[Path]] = []
    notes: list[str] = []
    for folder in sides:
        paths, skipped = pictures_in(folder)
        names.append([path.relative_to(folder) for path in paths])
        notes += [f"{folder}: {line}" for line in summary_of_skipped(file for file in skipped if not file.expected)]
    matched, unmatched = match(names[0], names[1], pairing)
    if not matched:
        raise ValueError(
            f"no file in {sides.low} has a partner in {sides.high} (pairing {pairing!r}); the first names are "
            f"{sorted(path.name for path in unmatched)[:4]}"
        )
    files = [(sides.low / low, sides.high / high) for low, high in matched]
    pairs = [Pair(low, high, content_hash([low]), content_hash([high])) for low, high in files]
    return pairs, unmatched, notes


def _with_scenes(root: Path, pairs: Mapping[Split, list[Pair]]) -> dict[Split, list[Pair]]:
    """The pairs with the scenes that they show. Raises ValueError that names every file that cannot be used."""
    everything = [pair for members in pairs.values() for pair in members]
    names = [_scene_name(split, pair) for split, members in pairs.items() for pair in members]
    looks = made_once(_look, tuple(everything))
    problems = [str(problem) for problem in looks["problems"] if problem]
    if problems:
        more = f"\n... and {len(problems) - MOST_SHOWN} more" if len(problems) > MOST_SHOWN else ""
        listed = "\n".join(problems[:MOST_SHOWN])
        raise ValueError(f"--data {root}: {len(problems)} of {len(everything)} pairs cannot be used:\n{listed}{more}")
    numbers = scene_numbers_by_look(np.asarray(looks["thumbnails"]), names)
    scene_of_number: dict[int, str] = {}
    for number, name in zip(numbers, names, strict=True):
        scene_of_number[number] = min(name, scene_of_number.get(number, name))
    scenes = iter([scene_of_number[number] for number in numbers])
    return {split: [pair._replace(scene=next(scenes)) for pair in members] for split, members in pairs.items()}


def _scene_name(split: Split, pair: Pair) -> str:
    """Splits of the user's own may count from 1 each, so a name says nothing about those of another split."""
    return scene_of(pair.high) if split == "train" else f"{split}/{scene_of(pair.high)}"


def _look(pairs: tuple[Pair, ...]) -> dict[str, np.ndarray]:
    """A thumbnail of each bright picture, and what is wrong with each pair, "" if nothing is."""
    thumbnails = []
    problems = []
    for pair in pairs:
        try:
            high, high_size = thumbnail(pair.high)
            _, low_size = thumbnail(pair.low)
            thumbnails.append(high)
            problems.append("" if low_size == high_size else _sizes_differ(pair, low_size, high_size))
        except ValueError as error:
            problems.append(str(error))
    return {"thumbnails": np.array(thumbnails), "problems": np.array(problems)}


def _sizes_differ(pair: Pair, low: tuple[int, int], high: tuple[int, int]) -> str:
    return f"{pair.low} and {pair.high} must have the same size; got {low} and {high}"


def _hold_out(root: Path, pairs: dict[Split, list[Pair]]) -> None:
    """Move whole scenes from train into each split that is missing, in place."""
    held_out: tuple[Split, ...] = ("val", "test")
    missing = [split for split in held_out if split not in pairs]
    scenes = _scenes(pairs["train"])
    if missing and len(scenes) <= len(missing):
        raise ValueError(
            f"--data {root}: {len(scenes)} scenes cannot be split into train and {' and '.join(missing)}; "
            f"at least {len(missing) + 1} are needed, or folders {' and '.join(missing)}"
        )
    share = max(1, min(round(HELD_OUT * len(scenes)), (len(scenes) - 1) // 2))
    for split in missing:
        held, scenes = scenes[:share], scenes[share:]
        pairs[split] = [pair for scene in held for pair in scene]
        pairs["train"] = [pair for scene in scenes for pair in scene]


def _scenes(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """The pairs of each scene. The order of two scenes depends on their names, not on which others there are."""
    scenes: dict[str, list[Pair]] = {}
    for pair in pairs:
        scenes.setdefault(pair.scene, []).append(pair)
    return [scenes[name] for name in sorted(scenes, key=lambda name: hashlib.sha256(name.encode()).digest())]


def _check_disjoint(root: Path, pairs: Mapping[Split, list[Pair]]) -> None:
    first: dict[str, tuple[Split, Path]] = {}  # by the hash of the bright picture
    for split, members in pairs.items():
        for pair in members:
            first_split, path = first.setdefault(pair.high_sha256, (split, pair.high))
            if first_split != split:
                raise ValueError(
                    f"--data {root}: {first_split} and {split} hold the same picture: {path} and {pair.high}"
                )


def _scenes_in_two_splits(pairs: Mapping[Split, list[Pair]]) -> list[str]:
    """A note if the user's own splits share scenes: scores are then too good."""
    splits_of_scene: dict[str, dict[Split, Path]] = {}
    for split, members in pairs.items():
        for pair in members:
            splits_of_scene.setdefault(pair.scene, {}).setdefault(split, pair.high)
    shared = [places for places in splits_of_scene.values() if len(places) > 1]
    if not shared:
        return []
    names = (" and ".join(f"{split} {path.name}" for split, path in places.items()) for places in shared)
    return [f"{len(shared)} scenes look alike in two splits: {_some(names)}"]


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
