"""Scores of a demosaiced picture without its truth, for one's own raw files.

None of them says alone that a picture is right: a blurred one agrees with itself and has no grid, and a noisy one is
sharp. Read them together, and as a difference between methods on the same mosaic.

Shapes: mosaic_1HW and light_3HW at phase (0, 0), in the sensor's own scale; gain_3 the sensor's response to white.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import luma
from objectives.common.image_scores import psnr_db
from objectives.xtrans import cfa, spectrum
from objectives.xtrans import markesteijn as algorithm
from objectives.xtrans.light import per_channel, to_display
from objectives.xtrans.loss import inner, laplacian
from objectives.xtrans.model import balanced

MIDDLE = 768  # pixels a side of a whole sensor that are judged: 128 tiles
SHIFTS = ((0, 3), (1, 0), (0, 1), (1, 1))  # where the filter falls anew: red for blue, and greens on other pixels
BORDER = 12  # pixels at each side that are not judged: methods guess what lies beyond. Two tiles: phase (0, 0) again
BOX = 5  # pixels: finer than this is what a grid can be in
Demosaic = Callable[[Tensor], Tensor]  # mosaic_1HW -> light_3HW


@dataclass(frozen=True)
class Scores:
    """What can be said of a picture without the true one."""

    remosaic_db: float  # how well the method agrees with itself: higher is better
    grid_db: float  # how far a 6 x 6 grid stands out of the picture's finest detail; 0 is none
    grid_odd_db: float  # the same where no grid can be: what the picture's own texture gives
    sharpness: float  # Laplacian variance of the displayed brightness, 1e-3: larger is sharper, or noisier
    sample_error: float  # RMS difference from the measured samples; 0 where the method keeps them


@torch.no_grad()
def score(demosaic: Demosaic, mosaic_1HW: Tensor, gain_3: Tensor) -> Scores:
    """The scores of a method on a mosaic of at least 96 pixels a side."""
    light_3HW = demosaic(mosaic_1HW)
    even, odd = grid_db(light_3HW)
    return Scores(
        remosaic_db(light_3HW, demosaic, gain_3),
        even,
        odd,
        sharpness(light_3HW, gain_3),
        sample_error(light_3HW, mosaic_1HW),
    )


def remosaic_db(light_3HW: Tensor, demosaic: Demosaic, gain_3: Tensor) -> float:
    """How well a method finds a picture again that it made: PSNR in dB, as displayed, a mean over the SHIFTS.

    The picture is shifted, so that other pixels measure other colours, mosaiced and demosaiced again. What the filter's
    place put into it does not come again; what the scene put into it does.
    """
    decibels = []
    for down, across in SHIFTS:
        shifted_3HW = light_3HW[:, down:, across:]
        again_3HW = demosaic(cfa.mosaic(shifted_3HW[None])[0])
        first, second = (to_display(inner(rgb, BORDER), gain_3)[None] for rgb in (shifted_3HW, again_3HW))
        decibels.append(float(psnr_db(second, first)))
    return sum(decibels) / len(decibels)


def grid_db(light_3HW: Tensor) -> tuple[float, float]:
    """How far the frequencies of the 6 x 6 tile stand out of the picture's finest detail, in dB, and the control.

    The detail is the picture less its mean over a box.
    """
    detail = light_3HW - F.avg_pool2d(light_3HW[None], BOX, stride=1, padding=BOX // 2, count_include_pad=False)[0]
    return spectrum.grid_db(spectrum.power(inner(detail, BORDER)[None])[0])


def sharpness(light_3HW: Tensor, gain_3: Tensor) -> float:
    """Laplacian variance of the displayed brightness, 1e-3."""
    brightness = luma(inner(to_display(light_3HW, gain_3), BORDER)[None])
    return 1e3 * float(laplacian(brightness).var())


def sample_error(light_3HW: Tensor, mosaic_1HW: Tensor) -> float:
    """RMS difference between the picture and the samples it was made from."""
    return float((cfa.mosaic(light_3HW[None])[0] - mosaic_1HW).square().mean().sqrt())


def markesteijn(gain_3: Tensor) -> Demosaic:
    """Markesteijn with three passes, for a sensor of these gains: what to compare with."""
    gain = per_channel(gain_3)

    def demosaic(mosaic_1HW: Tensor) -> Tensor:
        known = cfa.masks(*mosaic_1HW.shape[-2:])
        light = balanced(mosaic_1HW[None], known[None], gain[None])
        return algorithm.demosaic(light, 3)[0] * gain

    return demosaic


def middle(mosaic_1HW: Tensor) -> Tensor:
    """The middle of a large mosaic, at phase (0, 0) again."""
    top, left = (max(0, side - MIDDLE) // 2 // cfa.SIDE * cfa.SIDE for side in mosaic_1HW.shape[-2:])
    return mosaic_1HW[:, top : top + MIDDLE, left : left + MIDDLE]
