"""Real parallax: one view of a stereo photograph, warped into the other. Never trained on.

The right view of scikit-image's `stereo_motorcycle` (Middlebury 2014) is warped into the left one by the measured
disparity. Pixels that the right camera could not see, or without a known disparity, are holes. Both views get the same
expansion to high dynamic range. No licence is stated for the pictures, so they are read where they are installed.

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
MIN_LAYER_DISTANCE = 4.0  # pixels of disparity: a patch with a smaller range has no layers


@cache
def examples(size: int, base: str) -> Batch:
    """Patches of the picture, without overlap, whose share of holes is in the range of the synthetic frames."""
    frame = stereo_frame()
    height, width = frame.hole_1SS.shape[1:]
    patches = []
    for top in range(0, height - size + 1, size):
        for left in range(0, width - size + 1, size):
            patch = Frame(*(field[:, top : top + size, left : left + size] for field in frame))
            if HOLES[0] < float(patch.hole_1SS.float().mean()) < HOLES[1]:
                patches.append(_as_trained(patch))
    arrays = {
        name: torch.stack(fields).numpy()
        for name, fields in zip(Frame._fields, zip(*patches, strict=True), strict=True)
    }
    return assembled(arrays | {"source": np.zeros(len(patches), np.int64)}, base).batch()


@cache
def stereo_frame() -> Frame:
    """The whole left view, and the right view warped into it.

    Unlike in other frames, `occluder` marks every pixel that both cameras see, and motion is the disparity in pixels.
    """
    from skimage import data

    left, right, disparity = data.stereo_motorcycle()
    known = np.isfinite(disparity)
    disparity_HW = torch.from_numpy(np.where(known, disparity, 0)).float()
    visible_HW = visible(disparity_HW, torch.from_numpy(known))
    warped = warped_by_disparity(_expanded_light(right), disparity_HW) * visible_HW
    motion = torch.stack([disparity_HW, torch.zeros_like(disparity_HW)]) * visible_HW
    return Frame(warped, ~visible_HW[None], visible_HW[None], motion, _expanded_light(left))


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


def _as_trained(patch: Frame) -> Frame:
    """The patch with motion and occluder as in training: motion minus its mean, and the foreground, which is nearer
    than the middle of the patch's disparities."""
    visible_SS = patch.occluder_1SS[0]
    across = patch.motion_2SS[0]
    known = across[visible_SS]
    low = float(known.min())
    high = float(known.max())
    front = visible_SS & (across > (low + high) / 2) & (high - low > MIN_LAYER_DISTANCE)
    motion = torch.stack([(across - known.mean()) * visible_SS, torch.zeros_like(across)]) / MOTION_UNIT
    return patch._replace(occluder_1SS=front[None], motion_2SS=motion)
