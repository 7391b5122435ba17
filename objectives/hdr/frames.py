"""A user's own frames: the folders, the files of each frame, and the split of each frame.

The folder holds three folders: the light warped from the frame before (warp, warped, warp_hole), the rendered light
(ref, target, gt) and the holes (hole, holes, mask, bistro/correct). Two more are read where they are there: where the
foreground landed (occluder, foreground: a mask), and how far each pixel moved to its place (motion, mv, velocity: to
the right in the first channel, down in the second one, in pixels). Files of one frame share the last whole number in
their names: warped_hole-0012.exr, ref-0012.exr, hole-0012.exr. What stands before that number in the name of the
rendered file names the sequence.

The frames are split into blocks of consecutive numbers, because a frame and the next one are nearly the same; from 20
frames on, one frame is left out between two blocks. A folder that holds the folders train, val and test is split so.

Shapes: rgb_3HW linear light, hole_1HW bool, motion_2HW.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hpo import Split
from objectives.common.exr import Windows
from objectives.common.files import content_hash
from objectives.common.light import MASK_SUFFIXES, SUFFIXES, read_light, read_mask
from objectives.hdr.alignment import Canvas, align_light, align_mask, canvas_of
from objectives.hdr.warp import MOTION_UNIT, middle_gain

FOLDERS = {
    "warp": ("warp", "warped", "warp_hole"),
    "ref": ("ref", "target", "gt"),
    "hole": ("hole", "holes", "mask", "bistro/correct"),
}
LAYERS = {"occluder": ("occluder", "foreground"), "motion": ("motion", "mv", "velocity")}  # may be missing
SPLITS: tuple[Split, ...] = ("train", "val", "test")
HELD_OUT = 0.15  # share of the frames, at least one, for val and again for test
GAP_FROM = 20  # frames: a shorter sequence has none to leave out between two blocks
SHOWN = 5  # numbers of incomplete frames that are listed
_NUMBER = re.compile(r"\d+")


class LayerFiles(NamedTuple):
    """The files of what a renderer knows of a frame beside its light; None for what is not known."""

    occluder: Path | None = None
    motion: Path | None = None


NOT_KNOWN = LayerFiles()


class FrameFiles(NamedTuple):
    """The files of one frame, with hashes of their content: new content makes new examples."""

    number: int
    warp: Path
    ref: Path
    hole: Path
    layers: LayerFiles
    sequence: int  # frames of one sequence have the same number
    ref_sha256: str
    rest_sha256: str  # of the other files


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
    occluder_1HW: Tensor  # bool: where the foreground landed; nowhere if that is not known
    motion_2HW: Tensor  # of each pixel, minus the mean, in MOTION_UNIT; 0 in holes and if it is not known
    gain: float  # the factor from the light in the file to this light
    light_3HW: Tensor  # of the warped file, as it is there: neither scaled nor clipped
    windows: Windows  # of the warped file


def read_sequence(folder: str | Path) -> FrameSequence:
    """The frames in a folder.

    Raises ValueError naming the folder and the cause: a folder that is missing, a number that two files share, fewer
    than three complete frames, or a split without one.
    """
    return _read_sequence(str(Path(folder).resolve()))


def read_frame(warp: Path, hole: Path, ref: Path | None, layers: LayerFiles = NOT_KNOWN) -> ScaledFrame:
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
    gain = middle_gain(warped_3HW, ~hole_1HW[0])
    target_3HW = None
    if ref is not None:
        target_3HW = align_light(ref, read_light(ref), canvas)
        _check_finite(ref, target_3HW, torch.ones_like(hole_1HW), "in it")
        target_3HW = target_3HW.clamp(min=0) * gain
    occluder_1HW = _read_occluder(layers.occluder, canvas, hole_1HW)
    motion_2HW = _read_motion(layers.motion, canvas, hole_1HW)
    return ScaledFrame(
        warped_3HW * gain, hole_1HW, target_3HW, occluder_1HW, motion_2HW, gain, light_3HW, canvas.windows
    )


def frame_files(folder: Path, kinds: Iterable[str] = tuple(FOLDERS)) -> dict[str, dict[int, Path]]:
    """Kind -> number -> file; also for each kind of LAYERS whose folder is there.

    Raises ValueError naming the folder that is missing or holds no such file.
    """
    if not folder.is_dir():
        raise ValueError(f"--data {folder} must be a folder; it is not")
    known = [kind for kind, names in LAYERS.items() if any((folder / name).is_dir() for name in names)]
    return {kind: _numbered_files(_child(folder, kind), _suffixes(kind)) for kind in (*kinds, *known)}


def layer_files(files: Mapping[str, Mapping[int, Path]], number: int) -> LayerFiles:
    """What `frame_files` has of a frame's layers and motion."""
    return LayerFiles(*(files.get(kind, {}).get(number) for kind in LAYERS))


def _read_occluder(path: Path | None, canvas: Canvas, hole_1HW: Tensor) -> Tensor:
    if path is None:
        return torch.zeros_like(hole_1HW)
    return align_mask(path, read_mask(path), canvas) & ~hole_1HW


def _read_motion(path: Path | None, canvas: Canvas, hole_1HW: Tensor) -> Tensor:
    """The motion minus its mean over what is seen, in MOTION_UNIT."""
    if path is None:
        return torch.zeros(2, *hole_1HW.shape[1:])
    moved_2HW = align_light(path, read_light(path), canvas)[:2]
    _check_finite(path, moved_2HW, ~hole_1HW, "outside the holes")
    mean = moved_2HW[:, ~hole_1HW[0]].mean(1)[:, None, None]
    return torch.where(hole_1HW, 0.0, (moved_2HW - mean) / MOTION_UNIT)


@lru_cache(maxsize=4)
def _read_sequence(folder: str) -> FrameSequence:
    if all((Path(folder) / split).is_dir() for split in SPLITS):
        return _split_by_user(Path(folder))
    frames, incomplete = _complete_frames(Path(folder), at_least=3, use="for train, val and test")
    held_out = max(1, round(HELD_OUT * len(frames)))
    gap = 1 if len(frames) >= GAP_FROM else 0
    val_start = len(frames) - 2 * held_out
    test_start = len(frames) - held_out
    return FrameSequence(
        train=frames[: val_start - gap],
        val=frames[val_start : test_start - gap],
        test=frames[test_start:],
        incomplete=incomplete,
    )


def _split_by_user(folder: Path) -> FrameSequence:
    parts = {split: _complete_frames(folder / split, at_least=1, use=f"for {split}") for split in SPLITS}
    frames = {split: part[0] for split, part in parts.items()}
    return FrameSequence(**frames, incomplete=tuple(number for part in parts.values() for number in part[1]))


def _complete_frames(folder: Path, *, at_least: int, use: str) -> tuple[tuple[FrameFiles, ...], tuple[int, ...]]:
    """The frames that have all their files, and the numbers of those that lack one."""
    files = frame_files(folder)
    numbers = [set(numbered) for numbered in files.values()]
    complete = sorted(set.intersection(*numbers))
    incomplete = sorted(set.union(*numbers) - set(complete))
    if len(complete) < at_least:
        raise ValueError(
            f"--data {folder} must hold at least {_count_of(at_least)}, {use}; got {len(complete)}"
            f" ({len(incomplete)} others lack one of {', '.join(files)})"
        )
    names = {number: _sequence_name(files["ref"][number]) for number in complete}
    sequences = sorted(set(names.values()))
    frames = (_hashed(number, files, sequences.index(names[number])) for number in complete)
    return tuple(frames), tuple(incomplete)


def _count_of(frames: int) -> str:
    return "1 complete frame" if frames == 1 else f"{frames} complete frames"


def _hashed(number: int, files: Mapping[str, Mapping[int, Path]], sequence: int) -> FrameFiles:
    warp, ref, hole = (files[kind][number] for kind in ("warp", "ref", "hole"))
    layers = layer_files(files, number)
    rest = [warp, hole, *(path for path in layers if path is not None)]
    return FrameFiles(number, warp, ref, hole, layers, sequence, content_hash([ref]), content_hash(rest))


def _sequence_name(ref: Path) -> str:
    """What stands before the last number in the name of a file: "shot3-" of shot3-0012.exr."""
    return ref.stem[: list(_NUMBER.finditer(ref.stem))[-1].start()]


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
    return MASK_SUFFIXES if kind in ("hole", "occluder") else SUFFIXES


def _child(root: Path, kind: str) -> Path:
    choices = (FOLDERS | LAYERS)[kind]
    for name in choices:
        if (root / name).is_dir():
            return root / name
    names = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
    raise ValueError(f"--data {root} must hold a folder {' or '.join(choices)}; found: {names}")


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
