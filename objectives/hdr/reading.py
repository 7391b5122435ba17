"""Read the files of one frame: its light, its holes and what is known of its layers, all on the warped file's pixels.

Shapes: rgb_3HW linear light, hole_1HW bool, motion_2HW.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from objectives.common.exr import Windows
from objectives.common.light import read_light, read_mask
from objectives.hdr.alignment import Canvas, align_light, align_mask, canvas_of
from objectives.hdr.frames import NOT_KNOWN, LayerFiles
from objectives.hdr.warp import MOTION_UNIT, middle_gain


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


def _check_holes(hole: Path, hole_1HW: Tensor) -> None:
    if bool(hole_1HW.all()):
        raise ValueError(f"{hole}: every pixel is a hole")
    if not bool(hole_1HW.any()):
        raise ValueError(f"{hole}: the frame has no hole: the mask is nowhere above one half, and not of 0 and 1")


def _check_finite(path: Path, rgb_3HW: Tensor, region_1HW: Tensor, where: str) -> None:
    count = int((~torch.isfinite(rgb_3HW) & region_1HW).sum())
    if count:
        raise ValueError(f"{path}: {count} values {where} are not finite")
