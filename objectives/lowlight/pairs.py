"""A user's own pairs of files: which folders, which file belongs to which, and which scene goes into which split.

Layouts, upper or lower case: our485/{low,high} with eval15/{low,high} (LOL), Train/ and Test/ (LOL-v2), or low and high
directly in the folder. Instead of low and high: input and target, train_data and train_gt, low and normal, low and gt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from hpo.task import Split
from objectives.common.files import content_hash, image_files

Pairing = Literal["strict", "flexible"]
FOLDERS = {"train": ("train", "our485"), "val": ("val", "valid", "validation", "eval15"), "test": ("test",)}
LOW, HIGH = ("low", "input", "dark"), ("high", "target", "normal", "gt")  # beside them train_data and train_gt, ...
LOW_ENDINGS = ("_lowlight", "_low", "_dark", "_input", "_noisy")
HIGH_ENDINGS = ("", "_high", "_normal", "_gt", "_clean", "_target")
HELD_OUT = 0.15  # of the scenes, at least one, for each split that the user has not given
_INTEGER = re.compile(r"\d+")
_TAKE = re.compile(r"(.*\d.*)[_-]\d+")  # 0012_3: take 3 of scene 0012; IMG_0012 is a scene by itself


class Pair(NamedTuple):
    """Two files of one view, and the hashes of their contents."""

    low: Path
    high: Path
    low_sha256: str
    high_sha256: str


@dataclass(frozen=True)
class Pairs:
    """A user's folder, matched and split by scene."""

    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]
    unmatched: tuple[Path, ...]

    def of(self, split: Split) -> tuple[Pair, ...]:
        return getattr(self, split)

    def __str__(self) -> str:
        found = f"{len(self.train)} train, {len(self.val)} val and {len(self.test)} test pairs"
        if not self.unmatched:
            return f"{found}; every file has its partner"
        names = ", ".join(path.name for path in self.unmatched[:5])
        return f"{found}; {len(self.unmatched)} files without a partner: {names}{', ...' * (len(self.unmatched) > 5)}"


def split_pairs(folder: str | Path, pairing: str) -> Pairs:
    """The pairs in a folder. Splits that the user has laid out are taken as they are; each that is missing is held out
    of the training scenes, by a hash of the scene, so that a new file moves no other.

    Raises ValueError naming the folder and the cause: no layout that is known, no pair, too few scenes, or the same
    bright picture in two splits.
    """
    if pairing not in ("strict", "flexible"):
        raise ValueError(f"task.pairing must be 'strict' or 'flexible'; got {pairing!r}")
    return _split_pairs(str(Path(folder).resolve()), pairing)


def match(low: Iterable[Path], high: Iterable[Path], pairing: Pairing) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Pairs, and the files of either side that have no partner.

    strict: the same name without its suffix. flexible: that, or the name less an ending such as _low, with an ending
    such as _gt; or, failing that, the same whole number in the name, where just one bright file has it: 1 is not 10.
    """
    low, high = list(low), list(high)
    by_stem = _unique({path: path.stem for path in high})
    by_number = _unique({path: _number(path.stem) for path in high}) if pairing == "flexible" else {}
    partners: dict[Path, Path | None] = {}
    for path in low:
        stems = [path.stem] if pairing == "strict" else _stems(path.stem)
        named = next((by_stem[stem] for stem in stems if stem in by_stem), None)
        partners[path] = named or by_number.get(_number(path.stem))
    matched = [(path, partner) for path, partner in partners.items() if partner]
    used = {partner for _, partner in matched}
    return matched, [path for path, partner in partners.items() if not partner] + [p for p in high if p not in used]


def scene_of(path: Path) -> str:
    """The scene that a bright file shows, by its name: takes of one scene, 0012_1 and 0012_2, share it."""
    stem = path.stem.lower()
    for ending in HIGH_ENDINGS[1:]:
        stem = stem.removesuffix(ending)
    take = _TAKE.fullmatch(stem)
    return take.group(1) if take else stem


@lru_cache(maxsize=4)
def _split_pairs(folder: str, pairing: Pairing) -> Pairs:
    root = Path(folder)
    found = {split: _matched(sides, pairing) for split, sides in _layout(root).items()}
    pairs = {split: list(pairs) for split, (pairs, _) in found.items()}
    unmatched = [path for _, alone in found.values() for path in alone]
    _hold_out(root, pairs)
    _check_disjoint(root, pairs)
    return Pairs(*(tuple(pairs[split]) for split in ("train", "val", "test")), unmatched=tuple(unmatched))


def _layout(root: Path) -> dict[Split, tuple[Path, Path]]:
    """The two folders of each split that the user has laid out."""
    if not root.is_dir():
        raise ValueError(f"--data {root} must be a folder; it is not")
    sides = {split: _sides(root, split) for split in FOLDERS}
    if sides["train"] is None:
        raise ValueError(
            f"--data {root} must hold the folders low and high (or {', '.join(LOW[1:])}; {', '.join(HIGH[1:])}), "
            f"directly or in {' or '.join(FOLDERS['train'])}, or train_data and train_gt; found: "
            f"{', '.join(sorted(path.name for path in root.iterdir())[:10]) or 'nothing'}"
        )
    return {split: pair for split, pair in sides.items() if pair}


def _sides(root: Path, split: Split) -> tuple[Path, Path] | None:
    inner = [folder for name in FOLDERS[split] if (folder := _child(root, (name,)))]
    for parent in inner + [root] * (split == "train"):
        low, high = _child(parent, LOW), _child(parent, HIGH)
        if low and high:
            return low, high
    low, high = _child(root, (f"{split}_data",)), _child(root, (f"{split}_gt",))
    return (low, high) if low and high else None


def _child(parent: Path, names: Iterable[str]) -> Path | None:
    children = {path.name.lower(): path for path in sorted(parent.iterdir()) if path.is_dir()}
    return next((children[name] for name in names if name in children), None)


def _matched(sides: tuple[Path, Path], pairing: Pairing) -> tuple[list[Pair], list[Path]]:
    matched, unmatched = match(image_files(sides[0]), image_files(sides[1]), pairing)
    if not matched:
        raise ValueError(
            f"no file in {sides[0]} has a partner in {sides[1]} (pairing {pairing!r}); first names: "
            f"{sorted(path.name for path in unmatched)[:4]}"
        )
    return [Pair(low, high, content_hash([low]), content_hash([high])) for low, high in matched], unmatched


def _hold_out(root: Path, pairs: dict[str, list[Pair]]) -> None:
    """Move whole scenes out of train into each split that is missing, in place."""
    missing = [split for split in ("val", "test") if split not in pairs]
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
    """Pairs of one scene together: of one name, or of an equal bright picture. In an order that depends on the scenes
    alone, and not on which others there are."""
    scenes: dict[str, list[Pair]] = {}
    for pair in pairs:
        same = [
            name
            for name, members in scenes.items()
            if name == scene_of(pair.high) or any(m.high_sha256 == pair.high_sha256 for m in members)
        ]
        merged = [member for name in same for member in scenes.pop(name)] + [pair]
        scenes[same[0] if same else scene_of(pair.high)] = merged
    return [scenes[name] for name in sorted(scenes, key=lambda name: hashlib.sha256(name.encode()).digest())]


def _check_disjoint(root: Path, pairs: dict[str, list[Pair]]) -> None:
    seen: dict[str, tuple[str, Path]] = {}
    for split, members in pairs.items():
        for pair in members:
            other, path = seen.setdefault(pair.high_sha256, (split, pair.high))
            if other != split:
                raise ValueError(f"--data {root}: {other} and {split} hold the same picture: {path} and {pair.high}")


def _stems(stem: str) -> list[str]:
    bases = [stem] + [stem[: -len(ending)] for ending in LOW_ENDINGS if stem.lower().endswith(ending)]
    return [stem] + [base + ending for base in bases for ending in HIGH_ENDINGS]


def _number(stem: str) -> int | None:
    numbers = _INTEGER.findall(stem)
    return int(numbers[0]) if len(numbers) == 1 else None


def _unique(keys: dict[Path, str | int | None]) -> dict:
    """Key -> path, for the keys that just one path has."""
    counted: dict = {}
    for path, key in keys.items():
        counted.setdefault(key, []).append(path)
    return {key: paths[0] for key, paths in counted.items() if key is not None and len(paths) == 1}
