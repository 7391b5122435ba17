"""Errors that repeat with the sensor's 6 x 6 tile: how much they stand out of the error's spectrum, and how large they
are. A grid is the signature of a network that meets other colours or sharpness than it has learned.

Because the tile is its own copy when shifted by (3, 3), an error that is locked to it has energy only where the two
frequencies sum to an even number: the odd ones are a null that shows what chance and texture give.

Shapes: error [B, 3, H, W], its first pixel at phase (0, 0).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from objectives.xtrans.cfa import SIDE

BLOCK = 48  # pixels, half overlapping
STEP = BLOCK // SIDE  # the tile's frequencies are multiples of it
NEAR, FAR = 3, 4  # bins around each that it is compared with: beyond the window's own width


def power(error_B3HW: Tensor) -> Tensor:
    """[48, 48]: Hann-windowed power spectra of all blocks and colours, summed; 0 where no block fits."""
    if min(error_B3HW.shape[-2:]) < BLOCK:
        return torch.zeros(BLOCK, BLOCK, dtype=torch.float64)
    window = torch.hann_window(BLOCK, periodic=True, dtype=torch.float64, device=error_B3HW.device)
    blocks = error_B3HW.double().unfold(-2, BLOCK, BLOCK // 2).unfold(-2, BLOCK, BLOCK // 2)
    return torch.fft.fft2(blocks * window[:, None] * window).abs().square().sum((0, 1, 2, 3))


def grid_db(power_SS: Tensor) -> tuple[float, float]:
    """How far the tile's frequencies stand out of those around them: the even ones, and the odd ones for comparison.
    0 where they do not."""
    spectrum = power_SS.cpu()
    rows, columns = _bins()
    around = spectrum[(rows[:, None] + _ring()[0]) % BLOCK, (columns[:, None] + _ring()[1]) % BLOCK].median(1).values
    ratio = spectrum[rows, columns] / around.clamp(min=1e-30)
    even = (rows + columns) // STEP % 2 == 0
    return tuple(float(10 * torch.log10(ratio[chosen].mean().clamp(min=1e-10))) for chosen in (even, ~even))


def fold(error_B3HW: Tensor) -> Tensor:
    """[B, 3, 6, 6]: the error's mean at each place of the tile."""
    height, width = (side // SIDE * SIDE for side in error_B3HW.shape[-2:])
    cells = error_B3HW[..., :height, :width].unflatten(-1, (-1, SIDE)).unflatten(-3, (-1, SIDE))
    return cells.double().mean((2, 4))


@lru_cache(maxsize=1)
def _bins() -> tuple[Tensor, Tensor]:
    """The multiples of the tile's frequency but for 0, 0: 17 even and 18 odd ones."""
    line = torch.arange(0, BLOCK, STEP)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return rows.flatten()[1:], columns.flatten()[1:]


@lru_cache(maxsize=1)
def _ring() -> tuple[Tensor, Tensor]:
    """Steps to the bins at Chebyshev distance NEAR to FAR."""
    line = torch.arange(-FAR, FAR + 1)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    away = torch.maximum(rows.abs(), columns.abs()).flatten()
    return rows.flatten()[away >= NEAR], columns.flatten()[away >= NEAR]
