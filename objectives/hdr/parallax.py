"""Real parallax: the two views of a stereo photograph, and what one shows of the other. Never trained on.

The right view of scikit-image's `stereo_motorcycle` (Middlebury 2014) is gathered into the left one by its measured
disparity. What the right camera could not see, and where no disparity is known, is a hole. Both views get the same
expansion to high dynamic range. No licence is stated for the pictures: they are read where they are installed.

Shapes: H, W pixels, S of a patch; light is linear.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import as_float, linear_from_srgb
from objectives.hdr.data import Batch, assembled
from objectives.hdr.scenes import HOLES, MOTION_UNIT, Frame, expanded

PEAK = 10.0  # of the expansion
LAYERS_APART = 4.0  # pixels of disparity: a patch with less has no layers


@cache
def examples(size: int, base: str) -> Batch:
    """The patches of the picture, side by side, whose share of holes is that of the synthetic ones."""
    frame = whole()
    made = []
    for top in range(0, frame.hole_1SS.shape[1] - size + 1, size):
        for left in range(0, frame.hole_1SS.shape[2] - size + 1, size):
            patch = Frame(*(field[:, top : top + size, left : left + size] for field in frame))
            if HOLES[0] < float(patch.hole_1SS.float().mean()) < HOLES[1]:
                made.append(_own(patch))
    fields = zip(Frame._fields, zip(*made, strict=True), strict=True)
    return Batch(*(field.float() for field in assembled({n: torch.stack(f).numpy() for n, f in fields}, base)))


@cache
def whole() -> Frame:
    """The left view, and what the right one says about it. `occluder` holds what was seen at all; motion is the whole
    disparity, in pixels."""
    from skimage import data

    left, right, disparity = data.stereo_motorcycle()
    light = [
        expanded(linear_from_srgb(as_float(torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1))), PEAK)
        for view in (left, right)
    ]
    shift_HW = torch.from_numpy(np.where(np.isfinite(disparity), disparity, 0)).float()
    seen_HW = visible(shift_HW, torch.from_numpy(np.isfinite(disparity)))
    warped = gathered(light[1], shift_HW) * seen_HW
    motion = torch.stack([shift_HW, torch.zeros_like(shift_HW)]) * seen_HW
    return Frame(warped, ~seen_HW[None], seen_HW[None], motion, light[0])


def visible(disparity_HW: Tensor, known_HW: Tensor) -> Tensor:
    """[H, W] bool: left pixels that the right camera sees. Of all that fall on one of its pixels the nearest is seen,
    and what lies within one pixel of disparity behind it."""
    height, width = disparity_HW.shape
    column = torch.arange(width) - disparity_HW
    inside = known_HW & (column >= 0) & (column <= width - 1)
    cell = (torch.arange(height)[:, None] * width + column.round().long().clamp(0, width - 1)).flatten()
    depth = torch.where(inside, disparity_HW, -1.0).flatten()
    nearest = torch.full((height * width,), -1.0).scatter_reduce(0, cell, depth, "amax")
    return inside & (disparity_HW >= nearest[cell].view(height, width) - 1)


def gathered(right_3HW: Tensor, disparity_HW: Tensor) -> Tensor:
    """The right view's light at x - disparity, bilinear."""
    height, width = disparity_HW.shape
    across = (torch.arange(width) - disparity_HW) * 2 / (width - 1) - 1
    down = (torch.arange(height)[:, None] * 2 / (height - 1) - 1).expand(height, width)
    grid = torch.stack([across, down], -1)[None]
    return F.grid_sample(right_3HW[None], grid, padding_mode="border", align_corners=True)[0]


def _own(patch: Frame) -> Frame:
    """A patch's own mean motion taken off, and its foreground: what is nearer than the middle of its disparities."""
    seen, across = patch.occluder_1SS[0], patch.motion_2SS[0]
    known = across[seen]
    low, high = float(known.min()), float(known.max())
    front = seen & (across > (low + high) / 2) & (high - low > LAYERS_APART)
    motion = torch.stack([(across - known.mean()) * seen, torch.zeros_like(across)]) / MOTION_UNIT
    return patch._replace(occluder_1SS=front[None], motion_2SS=motion)
