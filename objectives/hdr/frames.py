"""A user's own frames: the folders, the files of each frame, and the split of each frame.

The folder holds three folders: the light warped from the frame before (warp, warped, warp_hole), the rendered light
(ref, target, gt) and the holes (hole, holes, mask, bistro/correct). Files of one frame share the last whole number in
their names: warped_hole-0012.exr, ref-0012.exr, hole-0012.exr. The frames are split into blocks of consecutive numbers,
because a frame and the next one are nearly the same; from 20 frames on, one frame is left out between two blocks.

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

from hpo import Split
from objectives.common.colour import luma
from objectives.common.exr import Windows
from objectives.common.files import content_hash
from objectives.common.light import MASK_SUFFIXES, SUFFIXES, read_light, read_mask
from objectives.hdr.alignment import align_light, align_mask, canvas_of

FOLDERS = {
    "warp": ("warp", "warped", "warp_hole"),
    "ref": ("ref", "target", "gt"),
    "hole": ("hole", "holes", "mask", "bistro/correct"),
}
HELD_OUT = 0.15  # share of the frames, at least one, for val and again for test
GAP_FROM = 20  # frames: a shorter sequence has none to leave out between two blocks
MIDDLE_LIGHT = 0.2  # a frame is scaled so that its median luminance is this
SHOWN = 5  # numbers of incomplete frames that are listed
_NUMBER = re.compile(r"\d+")


class FrameFiles(NamedTuple):
    """The three files of one frame, with hashes of their content: new content makes new examples."""

    number: int
    warp: Path
    ref: Path
    hole: Path
    ref_sha256: str
    rest_sha256: str  # of the other two files


@dataclass(frozen=True)
class FrameSequence:
    """A user's frames, in order, split into blocks."""

    train: tuple[FrameFiles, ...]
    val: tuple[FrameFiles, ...]
    test: tuple[FrameFiles, ...]
    incomplete: tuple[int, ...]  # numbers of the frames that lack a file

    def of(self, split: Split) -> tuple[FrameFiles, ...]:
        """The frames of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def __str__(self) -> str:
        counts = f"{len(self.train)} train, {len(self.val)} val and {len(self.test)} test frames"
        if not self.incomplete:
            return counts
        numbers = ", ".join(str(number) for number in self.incomplete[:SHOWN])
        more = ", ..." if len(self.incomplete) > SHOWN else ""
        return f"{counts}; incomplete: {numbers}{more}"


class ScaledFrame(NamedTuple):
    """One frame, scaled so that its median luminance is MIDDLE_LIGHT; negative light counts as 0."""

    warped_3HW: Tensor  # 0 in holes
    hole_1HW: Tensor
    target_3HW: Tensor | None
    gain: float  # the factor from the light in the file to this light
    light_3HW: Tensor  # of the warped file, as it is there: neither scaled nor clipped
    windows: Windows  # of the warped file


def read_sequence(folder: str | Path) -> FrameSequence:
    """The frames in a folder.

    Raises ValueError naming the folder and the cause: a folder that is missing, a number that two files share, or fewer
    than three complete frames.
    """
    return _read_sequence(str(Path(folder).resolve()))


def read_frame(warp: Path, hole: Path, ref: Path | None) -> ScaledFrame:
    """Read the files of a frame, on the pixels of its warped file; without `ref` there is no target.

    Raises ValueError naming the file: one that lies elsewhere or is of another size, one with light that is not finite
    (which is allowed in the holes of the warped file), or a mask that is no hole at all, or all hole.
    """
    light_3HW = read_light(warp)
    canvas = canvas_of(warp, light_3HW)
    hole_1HW = align_mask(hole, read_mask(hole), canvas)
    _check_holes(hole, hole_1HW)
    _check_finite(warp, light_3HW, ~hole_1HW, "outside its holes")
    warped_3HW = torch.where(hole_1HW, 0.0, light_3HW.clamp(min=0))
    gain = MIDDLE_LIGHT / max(1e-8, float(luma(warped_3HW)[~hole_1HW].median()))
    target_3HW = None
    if ref is not None:
        target_3HW = align_light(ref, read_light(ref), canvas)
        _check_finite(ref, target_3HW, torch.ones_like(hole_1HW), "in it")
        target_3HW = target_3HW.clamp(min=0) * gain
    return ScaledFrame(warped_3HW * gain, hole_1HW, target_3HW, gain, light_3HW, canvas.windows)


def frame_files(folder: Path, kinds: Iterable[str] = tuple(FOLDERS)) -> dict[str, dict[int, Path]]:
    """Kind -> number -> file. Raises ValueError naming the folder that is missing or holds no such file."""
    if not folder.is_dir():
        raise ValueError(f"--data {folder} must be a folder; it is not")
    return {kind: _numbered_files(_child(folder, kind), _suffixes(kind)) for kind in kinds}


@lru_cache(maxsize=4)
def _read_sequence(folder: str) -> FrameSequence:
    files = frame_files(Path(folder))
    numbers = [set(numbered) for numbered in files.values()]
    complete = sorted(set.intersection(*numbers))
    incomplete = sorted(set.union(*numbers) - set(complete))
    if len(complete) < 3:
        raise ValueError(
            f"--data {folder} must hold at least 3 complete frames, for train, val and test; got {len(complete)}"
            f" ({len(incomplete)} others lack one of {', '.join(FOLDERS)})"
        )
    frames = tuple(_hashed(n, files["warp"][n], files["ref"][n], files["hole"][n]) for n in complete)
    held_out = max(1, round(HELD_OUT * len(frames)))
    gap = 1 if len(frames) >= GAP_FROM else 0
    val_start = len(frames) - 2 * held_out
    test_start = len(frames) - held_out
    return FrameSequence(
        train=frames[: val_start - gap],
        val=frames[val_start : test_start - gap],
        test=frames[test_start:],
        incomplete=tuple(incomplete),
    )


def _hashed(number: int, warp: Path, ref: Path, hole: Path) -> FrameFiles:
    return FrameFiles(number, warp, ref, hole, content_hash([ref]), content_hash([warp, hole]))


def _check_holes(hole: Path, hole_1HW: Tensor) -> None:
    if bool(hole_1HW.all()):
        raise ValueError(f"{hole}: every pixel is a hole")
    if not bool(hole_1HW.any()):
        raise ValueError(f"{hole}: the frame has no hole: the mask is nowhere above one half, and not of 0 and 1")


def _check_finite(path: Path, rgb_3HW: Tensor, region_1HW: Tensor, where: str) -> None:
    count = int((~torch.isfinite(rgb_3HW) & region_1HW).sum())
    if count:
        raise ValueError(f"{path}: {count} values {where} are not finite")


def _suffixes(kind: str) -> frozenset[str]:
    return MASK_SUFFIXES if kind == "hole" else SUFFIXES


def _child(root: Path, kind: str) -> Path:
    for name in FOLDERS[kind]:
        if (root / name).is_dir():
            return root / name
    names = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
    raise ValueError(f"--data {root} must hold a folder {' or '.join(FOLDERS[kind])}; found: {names}")


def _numbered_files(folder: Path, suffixes: frozenset[str]) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        numbers = _NUMBER.findall(path.stem)
        is_hidden = path.name.startswith(".")  # as the companion of a file that macOS writes beside it
        if path.suffix.lower() not in suffixes or not numbers or is_hidden:
            continue
        first = files.setdefault(int(numbers[-1]), path)
        if first != path:
            raise ValueError(f"{folder}: {first.name} and {path.name} have the same number")
    if not files:
        raise ValueError(f"{folder} holds no file with a number in its name that ends in {', '.join(sorted(suffixes))}")
    return files
