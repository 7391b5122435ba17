"""Errors that repeat with the sensor's 6 x 6 tile: how far they stand out of the error's spectrum, and how large they
are. A network that meets other colours or sharpness than it was trained on makes such a grid.

The tile equals itself shifted by (3, 3). So an error that is locked to the tile has energy only where the two
frequencies sum to an even number. The odd ones are a control: they show what chance and texture give.

Shapes: error [B, 3, H, W], its first pixel at phase (0, 0).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from objectives.xtrans.cfa import SIDE

BLOCK = 48  # pixels, half overlapping
STEP = BLOCK // SIDE  # bins from one of the tile's frequencies to the next
NEAR, FAR = 3, 4  # distances in bins of what each is compared with: beyond the width of the window


def power(error_B3HW: Tensor) -> Tensor:
    """[B, 48, 48]: Hann-windowed power spectra of the blocks and colours of each picture, summed. A block must fit."""
    window = torch.hann_window(BLOCK, periodic=True, dtype=torch.float64, device=error_B3HW.device)
    blocks = error_B3HW.double().unfold(-2, BLOCK, BLOCK // 2).unfold(-2, BLOCK, BLOCK // 2)
    return torch.fft.fft2(blocks * window[:, None] * window).abs().square().sum((1, 2, 3))


def grid_db(power_SS: Tensor) -> tuple[float, float]:
    """How far the tile's frequencies stand out of those around them, in dB: the even ones, and the odd ones as a
    control. 0 where they do not."""
    spectrum = power_SS.cpu()
    rows, columns = _bins()
    down, across = _ring()
    around = spectrum[(rows[:, None] + down) % BLOCK, (columns[:, None] + across) % BLOCK].median(1).values
    ratio = spectrum[rows, columns] / around.clamp(min=1e-30)
    even = (rows + columns) // STEP % 2 == 0
    return _decibels(ratio[even]), _decibels(ratio[~even])


def _decibels(ratios: Tensor) -> float:
    return float(10 * torch.log10(ratios.mean().clamp(min=1e-10)))


def fold(error_B3HW: Tensor) -> Tensor:
    """The error's mean at each place of the tile, [B, 3, 6, 6]."""
    height, width = (side // SIDE * SIDE for side in error_B3HW.shape[-2:])
    cells = error_B3HW[..., :height, :width].unflatten(-1, (-1, SIDE)).unflatten(-3, (-1, SIDE))
    return cells.double().mean((2, 4))


@lru_cache(maxsize=1)
def _bins() -> tuple[Tensor, Tensor]:
    """Rows and columns of the tile's frequencies without (0, 0): 17 even and 18 odd ones."""
    line = torch.arange(0, BLOCK, STEP)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return rows.flatten()[1:], columns.flatten()[1:]


@lru_cache(maxsize=1)
def _ring() -> tuple[Tensor, Tensor]:
    """Offsets, down and across, of the bins at Chebyshev distance NEAR to FAR."""
    line = torch.arange(-FAR, FAR + 1)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    away = torch.maximum(rows.abs(), columns.abs()).flatten()
    return rows.flatten()[away >= NEAR], columns.flatten()[away >= NEAR]
