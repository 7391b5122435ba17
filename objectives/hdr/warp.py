"""A frame warped from the one before: what every kind of frame has, whoever made it.

Composites of photographs (scenes.py), a path tracer's frames (rendered.py) and a stereo pair (parallax.py) all end
here, so that a network that has learned from one of them finds the others in the same form.

Shapes: 3 RGB, S pixels a side or H x W pixels. Light is linear and at least 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import luma

MIDDLE_LIGHT = 0.2  # every frame, made or a user's, is scaled so that its median luminance is this
MOTION_UNIT = 8.0  # pixels
HOLES = (0.02, 0.35)  # a made frame is kept if its share of hole pixels is between these
WINDOW = 17  # pixels a side, within which foreground is told from background: wider than a disocclusion
FRONT = 0.6  # foreground is nearer than this, from the farthest (0) to the nearest (1) pixel of the window
MIN_CONTRAST = 0.4  # of nearness, relative to the nearest pixel of the window: with less, there is one layer


class Frame(NamedTuple):
    """The second of two frames, and what is known of it from the first one."""

    warped_3SS: Tensor  # 0 in holes
    hole_1SS: Tensor  # bool
    occluder_1SS: Tensor  # bool: where the foreground landed
    motion_2SS: Tensor  # of each pixel, x and y, minus the mean, in MOTION_UNIT; 0 in holes
    target_3SS: Tensor


def warped_frame(
    warped_3HW: Tensor, target_3HW: Tensor, seen_HW: Tensor, nearness_HW: Tensor, moved_2HW: Tensor
) -> Frame:
    """The frame in which only the pixels in `seen_HW` (bool) are known.

    `nearness_HW` is 1 / depth, or anything in proportion to it; `moved_2HW` is the motion to the right and down, in
    pixels. Both are read where a pixel is seen, and so is the light of `warped_3HW`. The light is scaled to a median
    luminance of MIDDLE_LIGHT, as a user's frames are.
    """
    gain = middle_gain(warped_3HW, seen_HW)
    mean = moved_2HW[:, seen_HW].mean(1)[:, None, None]
    nothing = torch.zeros(())
    return Frame(
        warped_3SS=torch.where(seen_HW, warped_3HW * gain, nothing),
        hole_1SS=~seen_HW[None],
        occluder_1SS=foreground(nearness_HW, seen_HW)[None],
        motion_2SS=torch.where(seen_HW, (moved_2HW - mean) / MOTION_UNIT, nothing),
        target_3SS=target_3HW * gain,
    )


def middle_gain(light_3HW: Tensor, seen_HW: Tensor) -> float:
    """The factor that brings the median luminance of the pixels in `seen_HW` to MIDDLE_LIGHT."""
    return MIDDLE_LIGHT / max(1e-8, float(luma(light_3HW)[0][seen_HW].median()))


def foreground(nearness_HW: Tensor, seen_HW: Tensor) -> Tensor:
    """[H, W] bool: the seen pixels that are much nearer than the farthest of those in a window around them.

    A plane, whose nearness is linear in x and y, has no foreground (each pixel is in the middle of its window), and
    neither has a window with little contrast of nearness.
    """
    nearest = _largest(torch.where(seen_HW, nearness_HW, -torch.inf))
    farthest = -_largest(torch.where(seen_HW, -nearness_HW, -torch.inf))
    has_layers = nearest - farthest > MIN_CONTRAST * nearest
    return seen_HW & has_layers & (nearness_HW > farthest + FRONT * (nearest - farthest))


def _largest(values_HW: Tensor) -> Tensor:
    return F.max_pool2d(values_HW[None, None], WINDOW, stride=1, padding=WINDOW // 2)[0, 0]
