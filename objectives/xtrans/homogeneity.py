"""Which of several pictures of the same view is right: at each pixel, the ones that change least around it.

Shapes: B batch, D directions along which the pictures were interpolated, 3 RGB, H, W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.xtrans.cells import DIRECTIONS, moved

LUMA = (0.2627, 0.6780, 0.0593)  # Rec. ITU-R BT.2020
BLUE_DIFFERENCE, RED_DIFFERENCE = 0.56433, 0.67815  # the colour differences of the same recommendation, both +-0.5
TOLERANCE = 8.0  # times the smallest change: a neighbour that changes no more is homogeneous
NEARLY_BEST = 7 / 8  # of the best count: such directions are averaged


def most_homogeneous(rgb_BD3HW: Tensor) -> Tensor:
    """The mean of the directions around which the picture changes least, rgb_B3HW."""
    change_BDHW = _change_along(rgb_BD3HW)
    limit_B1HW = TOLERANCE * change_BDHW.amin(1, keepdim=True)
    around = torch.stack(
        [moved(change_BDHW, (down, across), 1) <= limit_B1HW for down in (-1, 0, 1) for across in (-1, 0, 1)]
    )
    count_BDHW = 25 * F.avg_pool2d(around.sum(0).to(rgb_BD3HW.dtype), 5, stride=1, padding=2)
    best = count_BDHW >= NEARLY_BEST * count_BDHW.amax(1, keepdim=True)
    share_BDHW = best / best.sum(1, keepdim=True)
    return (share_BDHW[:, :, None] * rgb_BD3HW).sum(1)


def _change_along(rgb_BD3HW: Tensor) -> Tensor:
    """[B, D, H, W]: the squared second difference along each direction of luma and both colour differences."""
    red, green, blue = rgb_BD3HW.unbind(2)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    seen = torch.stack([luma, BLUE_DIFFERENCE * (blue - luma), RED_DIFFERENCE * (red - luma)], 2)
    bends = []
    for number, (down, across) in enumerate(DIRECTIONS):
        here = seen[:, number]
        ahead, behind = (moved(here, (sign * down, sign * across), 1) for sign in (1, -1))
        bends.append((2 * here - ahead - behind).square().sum(1))
    return torch.stack(bends, 1)
