"""A user's own raw files and pictures: which of a folder's files are learned from, and in which split."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hpo import Split
from objectives.common.content import sha256_of
from objectives.common.data_folder import require_folder
from objectives.common.listing import warn_of_skipped, why_not_picture
from objectives.common.walk import Skipped, list_files, summary_of_skipped
from objectives.xtrans import raf

HELD_OUT = 0.2  # approximate share of the files for validation


class OwnFile(NamedTuple):
    """A file with the hash of its content."""

    path: Path
    sha256: str


@lru_cache(maxsize=8)
def split_own_files(folder: str, fold: int, folds: int) -> dict[Split, tuple[OwnFile, ...]]:
    """The raw files and pictures in a folder and its subfolders by split. A warning names files that are left out.

    The hash decides whether a file is for validation, and of the others in which fold it judges: so a new file moves no
    other one, unless there are so few files that a split would be empty. Raises ValueError where there are fewer
    different files than one for validation and one for each fold.
    """
    require_folder(Path(folder))
    paths, skipped = _own_files(Path(folder))
    warn_of_skipped(folder, skipped)
    path_by_hash = {sha256_of(path): path for path in paths}
    if len(path_by_hash) < 1 + folds:
        reasons = summary_of_skipped(file for file in skipped if not file.expected)
        raise ValueError(
            f"--data {folder} must hold at least {1 + folds} different files, one for validation and one to judge in "
            f"each of {folds} folds: RAF, DNG or pictures; got {'; '.join([str(len(path_by_hash)), *reasons])}"
        )
    order = [OwnFile(path_by_hash[sha256], sha256) for sha256 in sorted(path_by_hash)]
    choosing = _count_below(HELD_OUT, path_by_hash)
    fold_by_hash = {file.sha256: int(file.sha256[8:16], 16) % folds for file in order[choosing:]}
    if choosing == 0 or set(fold_by_hash.values()) != set(range(folds)):
        choosing = max(1, round(HELD_OUT * len(order)))
        fold_by_hash = {file.sha256: place % folds for place, file in enumerate(order[choosing:])}
    judged = order[choosing:]
    return {
        "val": tuple(order[:choosing]),
        "test": tuple(file for file in judged if fold_by_hash[file.sha256] == fold),
        "train": tuple(file for file in judged if fold_by_hash[file.sha256] != fold),
    }


def _own_files(folder: Path) -> tuple[list[Path], list[Skipped]]:
    """The files that are learned from, and why the others are not.

    Cameras write a picture beside a raw file, of the same scene: that is left out, or the two could be in two splits.
    """
    paths, skipped = list_files(folder, _why_not)
    shot = {path.with_suffix("") for path in paths if is_raw(path)}
    twins = [path for path in paths if not is_raw(path) and path.with_suffix("") in shot]
    skipped += [Skipped(path, "pictures that a camera wrote beside its raw file", expected=True) for path in twins]
    return [path for path in paths if path not in set(twins)], skipped


def is_raw(path: Path) -> bool:
    """Whether a file is read as a raw file."""
    return path.suffix.lower() in raf.SUFFIXES


def _why_not(path: Path) -> Skipped | None:
    return None if is_raw(path) else why_not_picture(path)


def _count_below(share: float, hashes: Iterable[str]) -> int:
    """How many of the hashes lie in the lowest `share` of all possible hashes."""
    return sum(int(sha256[:8], 16) < share * 16**8 for sha256 in hashes)
