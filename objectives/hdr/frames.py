"""A user's own frames: which folders, which file belongs to which, and which frames go into which split.

A folder holds three: what was warped from the frame before (warp, warped, warp_hole), what was rendered (ref, target,
gt) and the holes (hole, holes, bistro/correct). Files of one frame share the last whole number in their names:
warped_hole-0012.exr, ref-0012.exr, hole-0012.exr. The frames are split in blocks of consecutive numbers, for a frame
and the next one show nearly the same; of at least 20 frames, one on each border of two blocks is left out.

Shapes: rgb_3HW linear light, hole_1HW bool.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hpo.task import Split
from objectives.common.colour import luma
from objectives.common.files import content_hash
from objectives.hdr.files import MASK_SUFFIXES, SUFFIXES, read_light, read_mask

FOLDERS = {
    "warp": ("warp", "warped", "warp_hole"),
    "ref": ("ref", "target", "gt"),
    "hole": ("hole", "holes", "mask", "bistro/correct"),
}
HELD_OUT = 0.15  # share of the frames, at least one, for val and again for test
GAP_FROM = 20  # frames
MIDDLE_LIGHT = 0.2  # a frame is scaled so that its median luminance is this
_NUMBER = re.compile(r"\d+")


class Files(NamedTuple):
    """The three files of one frame, and hashes of what they hold: other files are other examples."""

    number: int
    warp: Path
    ref: Path
    hole: Path
    ref_sha256: str
    rest_sha256: str  # of the other two


@dataclass(frozen=True)
class Sequence:
    """A user's frames, in order, in blocks."""

    train: tuple[Files, ...]
    val: tuple[Files, ...]
    test: tuple[Files, ...]
    alone: tuple[int, ...]  # numbers of frames that lack a file

    def of(self, split: Split) -> tuple[Files, ...]:
        return getattr(self, split)

    def __str__(self) -> str:
        found = f"{len(self.train)} train, {len(self.val)} val and {len(self.test)} test frames"
        more = ", ..." * (len(self.alone) > 5)
        return f"{found}; incomplete: {', '.join(map(str, self.alone[:5]))}{more}" if self.alone else found


class Sight(NamedTuple):
    """One frame as it is learned from: scaled so that its median luminance is MIDDLE_LIGHT, negative light made 0."""

    warped_3HW: Tensor  # 0 in holes
    hole_1HW: Tensor
    target_3HW: Tensor | None
    gain: float  # what the light was multiplied by


def sequence(folder: str | Path) -> Sequence:
    """The frames in a folder. Raises ValueError naming the folder and the cause: a folder that is missing, a number
    that two files share, or too few frames that are whole."""
    return _sequence(str(Path(folder).resolve()))


def look(warp: Path, hole: Path, ref: Path | None) -> Sight:
    """Read a frame. Raises ValueError naming the file whose size differs, which holds light that is not finite, or
    which is all hole."""
    hole_1HW, light = read_mask(hole), {path: read_light(path) for path in (warp, ref) if path}
    for path, rgb_3HW in light.items():
        if rgb_3HW.shape[1:] != hole_1HW.shape[1:]:
            raise ValueError(
                f"{path} and {hole} must have the same size; got {tuple(rgb_3HW.shape[1:])} and "
                f"{tuple(hole_1HW.shape[1:])}"
            )
        bad = int((~torch.isfinite(rgb_3HW) & ~(hole_1HW & (path == warp))).sum())
        if bad:
            where = "outside its holes" if path == warp else "in it"
            raise ValueError(f"{path}: {bad} values {where} are not finite")
    if bool(hole_1HW.all()):
        raise ValueError(f"{hole}: every pixel is a hole")
    warped = torch.where(hole_1HW, 0.0, light[warp].clamp(min=0))
    gain = MIDDLE_LIGHT / max(1e-8, float(luma(warped)[~hole_1HW].median()))
    return Sight(warped * gain, hole_1HW, light[ref].clamp(min=0) * gain if ref else None, gain)


def frame_files(folder: Path, kinds: Iterable[str] = tuple(FOLDERS)) -> dict[str, dict[int, Path]]:
    """Kind -> number -> file. Raises ValueError naming what is missing."""
    if not folder.is_dir():
        raise ValueError(f"--data {folder} must be a folder; it is not")
    return {kind: _numbered(_child(folder, kind), MASK_SUFFIXES if kind == "hole" else SUFFIXES) for kind in kinds}


@lru_cache(maxsize=4)
def _sequence(folder: str) -> Sequence:
    files = frame_files(Path(folder))
    whole = sorted(set.intersection(*(set(found) for found in files.values())))
    alone = sorted(set.union(*(set(found) for found in files.values())) - set(whole))
    if len(whole) < 3:
        raise ValueError(
            f"--data {folder} must hold at least 3 whole frames, for train, val and test; got {len(whole)}"
            f" (without all of {', '.join(FOLDERS)}: {len(alone)})"
        )
    frames = [_files(n, *(files[kind][n] for kind in FOLDERS)) for n in whole]
    held = max(1, round(HELD_OUT * len(frames)))
    gap = 1 if len(frames) >= GAP_FROM else 0
    train, val = len(frames) - 2 * held, len(frames) - held
    return Sequence(tuple(frames[: train - gap]), tuple(frames[train : val - gap]), tuple(frames[val:]), tuple(alone))


def _files(number: int, warp: Path, ref: Path, hole: Path) -> Files:
    return Files(number, warp, ref, hole, content_hash([ref]), content_hash([warp, hole]))


def _child(root: Path, kind: str) -> Path:
    for name in FOLDERS[kind]:
        if (root / name).is_dir():
            return root / name
    there = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
    raise ValueError(f"--data {root} must hold a folder {' or '.join(FOLDERS[kind])}; found: {there}")


def _numbered(folder: Path, suffixes: frozenset[str]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        numbers = _NUMBER.findall(path.stem)
        if path.suffix.lower() in suffixes and numbers:
            first = found.setdefault(int(numbers[-1]), path)
            if first != path:
                raise ValueError(f"{folder}: {first.name} and {path.name} have the same number")
    if not found:
        raise ValueError(f"{folder} holds no file with a number in its name that ends in {', '.join(sorted(suffixes))}")
    return found
