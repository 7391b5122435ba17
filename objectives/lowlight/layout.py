"""The folders of a user's pairs: which hold dark and which hold bright pictures, and of which split."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hpo import Split
from objectives.common.data_folder import names_in, require_folder

FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "our485"),
    "val": ("val", "valid", "validation", "eval15"),
    "test": ("test",),
}
LOW = ("low", "input", "dark")  # names of the folder of dark pictures; train_data, val_data and test_data work too
HIGH = ("high", "target", "normal", "gt")  # of the folder of bright pictures; train_gt, val_gt and test_gt work too


class Sides(NamedTuple):
    """The two folders of a split."""

    low: Path
    high: Path


def sides_of_splits(root: Path) -> dict[Split, Sides]:
    """The two folders of each split that has folders of its own.

    Raises ValueError where there are none for training, or where two could be meant.
    """
    require_folder(root)
    sides = {split: _sides(root, split) for split in FOLDERS}
    if sides["train"] is None:
        raise ValueError(
            f"--data {root} must hold the folders low and high (or {', '.join(LOW[1:])}; {', '.join(HIGH[1:])}), "
            f"directly or in {' or '.join(FOLDERS['train'])}, or train_data and train_gt; found: {names_in(root)}"
        )
    return {split: folders for split, folders in sides.items() if folders}


def unused_folders(root: Path, sides: Iterable[Sides]) -> list[Path]:
    """The folders in `root`, and in those of its subfolders that hold a side, that are not read."""
    used = {folder for pair in sides for folder in pair}
    parents = {root, *(folder.parent for folder in used)}
    folders = sorted(child for parent in parents for child in _folders(parent))
    return [folder for folder in folders if folder not in used and folder not in parents]


def _sides(root: Path, split: Split) -> Sides | None:
    parents = _children(root, FOLDERS[split])
    if split == "train":
        parents.append(root)
    candidates = [(parent, _children(parent, LOW), _children(parent, HIGH)) for parent in parents]
    candidates.append((root, _children(root, (f"{split}_data",)), _children(root, (f"{split}_gt",))))
    complete = [(parent, low, high) for parent, low, high in candidates if low and high]
    if not complete:
        return None
    folders = [folder for _, low, high in complete for folder in (*low, *high)]
    if len(folders) > 2:
        names = ", ".join(str(folder.relative_to(root)) for folder in folders)
        raise ValueError(f"--data {root}: several folders could be those of {split}: {names}; move or rename some")
    return Sides(*folders)


def _children(parent: Path, names: Iterable[str]) -> list[Path]:
    """The folders in `parent` that have one of the names, in upper or lower case."""
    return [path for path in _folders(parent) if path.name.lower() in names]


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
