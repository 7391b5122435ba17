"""Scores of a developed raw file, whose true picture nobody knows.

None of them alone says that a picture is right: a blurred one has no grid and agrees with itself. So they are read
together, and beside those of Markesteijn on the same pixels.
Shapes: H, W pixels of the middle of the sensor, at phase (0, 0); light is in the sensor's own scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import luma
from objectives.common.image_scores import psnr_db
from objectives.xtrans import cfa, raf, spectrum
from objectives.xtrans.light import per_channel, to_display
from objectives.xtrans.loss import inner, laplacian

MIDDLE = 768  # pixels a side that are judged: 128 tiles
BORDER = 12  # pixels at each side that are not: methods guess what lies beyond
SHIFT = 1  # pixel, down and across: most pixels then measure another colour
BOX = 5  # pixels: finer than this is what a grid can be in

Demosaic = Callable[[Tensor], Tensor]  # mosaic_1HW -> light_3HW


@dataclass(frozen=True)
class Scores:
    """What can be said of a picture without the true one."""

    remosaic_db: float  # PSNR, as displayed, of what the method makes of its own picture, mosaiced one pixel further
    grid_db: float  # how far a 6 x 6 grid stands out of the picture's finest detail
    grid_odd_db: float  # the same where no grid can be: the control
    sharpness: float  # Laplacian variance of the displayed brightness, 1e-3


@torch.no_grad()
def score(demosaic: Demosaic, mosaic_1HW: Tensor, gain_3: Tensor) -> Scores:
    """The scores of a method on a mosaic at phase (0, 0) of at least 96 pixels a side."""
    light_3HW = demosaic(mosaic_1HW)
    shifted_3HW = light_3HW[:, SHIFT:, SHIFT:]
    again_3HW = demosaic(cfa.mosaic(shifted_3HW[None])[0])
    displayed, displayed_again = (inner(to_display(x, gain_3), BORDER)[None] for x in (shifted_3HW, again_3HW))
    even, odd = spectrum.grid_db(spectrum.power(inner(finest(light_3HW), BORDER)[None])[0])
    brightness = luma(inner(to_display(light_3HW, gain_3), BORDER))
    return Scores(
        remosaic_db=float(psnr_db(displayed_again, displayed)),
        grid_db=even,
        grid_odd_db=odd,
        sharpness=1e3 * float(laplacian(brightness[None]).var()),
    )


def markesteijn(gain_3: Tensor) -> Demosaic:
    """Markesteijn with three passes, for a sensor of these gains. Needs the optional dependency `raw`."""
    from objectives.xtrans.dng import MIN_SIDE

    def demosaic(mosaic_1HW: Tensor) -> Tensor:
        height, width = mosaic_1HW.shape[-2:]
        large_1HW = cfa.extend(mosaic_1HW, 0, 0, max(0, MIN_SIDE - height), max(0, MIN_SIDE - width))
        balanced = raf.demosaic(raf.Raw(large_1HW, gain_3, "", (0.0, 0.0, 0.0), 1.0), "markesteijn 3")
        return balanced[:, :height, :width] * per_channel(gain_3)

    return demosaic


def middle(mosaic_1HW: Tensor) -> Tensor:
    """The middle of a mosaic at phase (0, 0), at phase (0, 0) again."""
    rows, columns = (_middle(side) for side in mosaic_1HW.shape[-2:])
    return mosaic_1HW[:, rows, columns]


def finest(light_3HW: Tensor) -> Tensor:
    """The picture minus its mean over a box."""
    return light_3HW - F.avg_pool2d(light_3HW, BOX, stride=1, padding=BOX // 2, count_include_pad=False)


def _middle(side: int) -> slice:
    length = min(MIDDLE, side // cfa.SIDE * cfa.SIDE)
    start = (side - length) // 2 // cfa.SIDE * cfa.SIDE
    return slice(start, start + length)
