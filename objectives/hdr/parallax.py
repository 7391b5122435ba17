"""Real parallax: one view of a stereo photograph, warped into the other. Never trained on.

The right view of scikit-image's `stereo_motorcycle` (Middlebury 2014) is warped into the left one by the measured
disparity. Pixels that the right camera could not see, or without a known disparity, are holes. Both views get the same
expansion to high dynamic range. No licence is stated for the pictures, so they are read where they are installed.

Shapes: H, W pixels, S of a patch; light is linear.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import as_float, linear_from_srgb
from objectives.hdr.data import Batch, assembled
from objectives.hdr.scenes import expanded
from objectives.hdr.warp import HOLES, Frame, warped_frame

PEAK = 10.0  # of the expansion


class StereoFrame(NamedTuple):
    """The left view, and the right view warped into it."""

    warped_3HW: Tensor
    target_3HW: Tensor
    seen_HW: Tensor  # bool: the left pixels that both cameras see
    disparity_HW: Tensor  # pixels: the motion to the right, and in proportion to nearness


@cache
def examples(size: int, base: str) -> Batch:
    """Patches of the picture, without overlap, whose share of holes is in the range of the other frames."""
    whole = stereo_frame()
    height, width = whole.seen_HW.shape
    patches = []
    for top in range(0, height - size + 1, size):
        for left in range(0, width - size + 1, size):
            patch = StereoFrame(*(field[..., top : top + size, left : left + size] for field in whole))
            if HOLES[0] < float((~patch.seen_HW).float().mean()) < HOLES[1]:
                patches.append(_frame(patch))
    nothing = np.zeros(len(patches), np.int64)
    arrays = {
        name: torch.stack(fields).numpy()
        for name, fields in zip(Frame._fields, zip(*patches, strict=True), strict=True)
    }
    return assembled(arrays | {"source": nothing, "rendered": nothing}, base).batch()


@cache
def stereo_frame() -> StereoFrame:
    """The whole left view, and the right view warped into it."""
    from skimage import data

    left, right, disparity = data.stereo_motorcycle()
    known = np.isfinite(disparity)
    disparity_HW = torch.from_numpy(np.where(known, disparity, 0)).float()
    seen_HW = visible(disparity_HW, torch.from_numpy(known))
    warped_3HW = warped_by_disparity(_expanded_light(right), disparity_HW)
    return StereoFrame(warped_3HW, _expanded_light(left), seen_HW, disparity_HW)


def _frame(patch: StereoFrame) -> Frame:
    moved_2SS = torch.stack([patch.disparity_HW, torch.zeros_like(patch.disparity_HW)])
    return warped_frame(patch.warped_3HW, patch.target_3HW, patch.seen_HW, patch.disparity_HW, moved_2SS)


def visible(disparity_HW: Tensor, known_HW: Tensor) -> Tensor:
    """[H, W] bool: the left pixels that the right camera sees.

    Of all left pixels that fall on one right pixel, the nearest is visible, and so are those within one pixel of
    disparity behind it.
    """
    height, width = disparity_HW.shape
    column = torch.arange(width) - disparity_HW
    inside = known_HW & (column >= 0) & (column <= width - 1)
    cell = (torch.arange(height)[:, None] * width + column.round().long().clamp(0, width - 1)).flatten()
    depth = torch.where(inside, disparity_HW, -1.0).flatten()
    nearest = torch.full((height * width,), -1.0).scatter_reduce(0, cell, depth, "amax")
    return inside & (disparity_HW >= nearest[cell].view(height, width) - 1)


def warped_by_disparity(right_3HW: Tensor, disparity_HW: Tensor) -> Tensor:
    """The light of the right view at x - disparity, bilinear."""
    height, width = disparity_HW.shape
    across = (torch.arange(width) - disparity_HW) * 2 / (width - 1) - 1
    down = (torch.arange(height)[:, None] * 2 / (height - 1) - 1).expand(height, width)
    grid = torch.stack([across, down], -1)[None]
    return F.grid_sample(right_3HW[None], grid, padding_mode="border", align_corners=True)[0]


def _expanded_light(view_HW3: np.ndarray) -> Tensor:
    """An 8-bit sRGB view as high-dynamic-range light, [3, H, W]."""
    srgb_3HW = as_float(torch.from_numpy(np.ascontiguousarray(view_HW3)).permute(2, 0, 1))
    return expanded(linear_from_srgb(srgb_3HW), PEAK)
