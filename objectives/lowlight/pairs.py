"""A user's own pairs of files: the folders, the partner of each file, and the split of each scene.

Layouts, in upper or lower case: our485/{low,high} with eval15/{low,high} (LOL), Train/ and Test/ (LOL-v2), or low and
high directly in the folder. Other names for low and high: input and target, train_data and train_gt, low and normal,
low and gt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from hpo import Split
from objectives.common.files import content_hash, image_files

K = TypeVar("K", str, int)

Pairing = Literal["strict", "flexible"]
FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "our485"),
    "val": ("val", "valid", "validation", "eval15"),
    "test": ("test",),
}
LOW = ("low", "input", "dark")  # names of the folder of dark pictures; train_data, val_data and test_data work too
HIGH = ("high", "target", "normal", "gt")  # of the folder of bright pictures; train_gt, val_gt and test_gt work too
LOW_ENDINGS = ("_lowlight", "_low", "_dark", "_input", "_noisy")
HIGH_ENDINGS = ("", "_high", "_normal", "_gt", "_clean", "_target")
HELD_OUT = 0.15  # share of the scenes, at least one, for each split that has no folder of its own
SHOWN = 5  # names of unmatched files that are listed
_INTEGER = re.compile(r"\d+")
_TAKE = re.compile(r"(.*\d.*)[_-]\d+")  # 0012_3 is take 3 of scene 0012; IMG_0012 is a scene of its own


class Pair(NamedTuple):
    """Two files of one view, and the hashes of their content."""

    low: Path
    high: Path
    low_sha256: str
    high_sha256: str


@dataclass(frozen=True)
class Pairs:
    """The pairs in a user's folder, split by scene."""

    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]
    unmatched: tuple[Path, ...]

    def of(self, split: Split) -> tuple[Pair, ...]:
        """The pairs of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def __str__(self) -> str:
        counts = f"{len(self.train)} train, {len(self.val)} val and {len(self.test)} test pairs"
        if not self.unmatched:
            return f"{counts}; every file has its partner"
        names = ", ".join(path.name for path in self.unmatched[:SHOWN])
        more = ", ..." if len(self.unmatched) > SHOWN else ""
        return f"{counts}; {len(self.unmatched)} files without a partner: {names}{more}"


def split_pairs(folder: str | Path, pairing: str) -> Pairs:
    """The pairs in a folder.

    Splits with folders of their own are used as they are. Each other split is held out of the training scenes, by a
    hash of the scene, so that a new file moves no other file into another split.

    Raises ValueError naming the folder and the cause: no known layout, no pair, too few scenes, or the same bright
    picture in two splits.
    """
    if pairing not in ("strict", "flexible"):
        raise ValueError(f"task.pairing must be 'strict' or 'flexible'; got {pairing!r}")
    return _split_pairs(str(Path(folder).resolve()), pairing)


def match(low: Iterable[Path], high: Iterable[Path], pairing: Pairing) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Pairs, and the files of either side that have no partner.

    strict: the same name without its suffix. flexible: the same name, or the name without an ending such as _low and
    with an ending such as _gt; or else the same whole number in the name, if only one bright file has it: 1 is not 10.
    """
    low, high = list(low), list(high)
    by_stem = _unique({path: path.stem for path in high})
    by_number = _unique({path: _number(path.stem) for path in high}) if pairing == "flexible" else {}
    matched = []
    unmatched = []
    for path in low:
        stems = [path.stem] if pairing == "strict" else _bright_stems(path.stem)
        same_name = next((by_stem[stem] for stem in stems if stem in by_stem), None)
        partner = same_name or by_number.get(_number(path.stem))
        if partner:
            matched.append((path, partner))
        else:
            unmatched.append(path)
    partners = {partner for _, partner in matched}
    return matched, unmatched + [path for path in high if path not in partners]


def scene_of(path: Path) -> str:
    """The scene of a bright file, by its name: takes of one scene, such as 0012_1 and 0012_2, share it."""
    stem = path.stem.lower()
    for ending in HIGH_ENDINGS[1:]:
        stem = stem.removesuffix(ending)
    take = _TAKE.fullmatch(stem)
    return take.group(1) if take else stem


def scene_numbers(pairs: Sequence[Pair]) -> list[int]:
    """The number of each pair's scene; pairs of one scene have the same."""
    number_by_pair = {pair: number for number, scene in enumerate(_scenes(pairs)) for pair in scene}
    return [number_by_pair[pair] for pair in pairs]


@lru_cache(maxsize=4)
def _split_pairs(folder: str, pairing: Pairing) -> Pairs:
    root = Path(folder)
    pairs: dict[Split, list[Pair]] = {}
    unmatched: list[Path] = []
    for split, sides in _layout(root).items():
        pairs[split], without_partner = _matched(sides, pairing)
        unmatched += without_partner
    _hold_out(root, pairs)
    _check_disjoint(root, pairs)
    return Pairs(tuple(pairs["train"]), tuple(pairs["val"]), tuple(pairs["test"]), tuple(unmatched))


def _layout(root: Path) -> dict[Split, tuple[Path, Path]]:
    """The two folders of each split that has folders of its own."""
    if not root.is_dir():
        raise ValueError(f"--data {root} must be a folder; it is not")
    sides = {split: _sides(root, split) for split in FOLDERS}
    if sides["train"] is None:
        names = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
        raise ValueError(
            f"--data {root} must hold the folders low and high (or {', '.join(LOW[1:])}; {', '.join(HIGH[1:])}), "
            f"directly or in {' or '.join(FOLDERS['train'])}, or train_data and train_gt; found: {names}"
        )
    return {split: folders for split, folders in sides.items() if folders}


def _sides(root: Path, split: Split) -> tuple[Path, Path] | None:
    """The folders of dark and bright pictures of a split."""
    parents = [_child(root, (name,)) for name in FOLDERS[split]]
    if split == "train":
        parents.append(root)
    candidates = [(_child(parent, LOW), _child(parent, HIGH)) for parent in parents if parent]
    candidates.append((_child(root, (f"{split}_data",)), _child(root, (f"{split}_gt",))))
    for low, high in candidates:
        if low and high:
            return low, high
    return None


def _child(parent: Path, names: Iterable[str]) -> Path | None:
    children = {path.name.lower(): path for path in sorted(parent.iterdir()) if path.is_dir()}
    return next((children[name] for name in names if name in children), None)


def _matched(sides: tuple[Path, Path], pairing: Pairing) -> tuple[list[Pair], list[Path]]:
    matched, unmatched = match(image_files(sides[0]), image_files(sides[1]), pairing)
    if not matched:
        raise ValueError(
            f"no file in {sides[0]} has a partner in {sides[1]} (pairing {pairing!r}); the first names are "
            f"{sorted(path.name for path in unmatched)[:4]}"
        )
    return [Pair(low, high, content_hash([low]), content_hash([high])) for low, high in matched], unmatched


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
    """The pairs of each scene: pairs with the scene's name, or with an equal bright picture.

    The order of two scenes depends on their names alone, not on which other scenes there are.
    """
    scenes: dict[str, list[Pair]] = {}
    for pair in pairs:
        same = [
            name
            for name, members in scenes.items()
            if name == scene_of(pair.high) or any(member.high_sha256 == pair.high_sha256 for member in members)
        ]
        merged = [member for name in same for member in scenes.pop(name)]
        scenes[same[0] if same else scene_of(pair.high)] = [*merged, pair]
    return [scenes[name] for name in sorted(scenes, key=lambda name: hashlib.sha256(name.encode()).digest())]


def _check_disjoint(root: Path, pairs: dict[Split, list[Pair]]) -> None:
    first: dict[str, tuple[Split, Path]] = {}  # by the hash of the bright picture
    for split, members in pairs.items():
        for pair in members:
            first_split, path = first.setdefault(pair.high_sha256, (split, pair.high))
            if first_split != split:
                raise ValueError(
                    f"--data {root}: {first_split} and {split} hold the same picture: {path} and {pair.high}"
                )


def _bright_stems(stem: str) -> list[str]:
    """The names that the bright partner of a dark file may have, without suffix."""
    bases = [stem] + [stem[: -len(ending)] for ending in LOW_ENDINGS if stem.lower().endswith(ending)]
    return [stem] + [base + ending for base in bases for ending in HIGH_ENDINGS]


def _number(stem: str) -> int | None:
    """The whole number in a name; None if it has none, or several."""
    numbers = _INTEGER.findall(stem)
    return int(numbers[0]) if len(numbers) == 1 else None


def _unique(keys: Mapping[Path, K | None]) -> dict[K | None, Path]:
    """Key -> path, for the keys of exactly one path; None is no key."""
    paths_by_key: dict[K | None, list[Path]] = {}
    for path, key in keys.items():
        paths_by_key.setdefault(key, []).append(path)
    return {key: paths[0] for key, paths in paths_by_key.items() if key is not None and len(paths) == 1}
