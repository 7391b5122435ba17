"""The network's result for a whole photograph, computed tile by tile: as one pass gives it, in a tenth of the memory.

Two parts of the network look at the whole picture, the statistics that its curve begins with and the last step, which
strengthens the colours. They are computed for the whole picture; everything between reaches less far than MARGIN.
Shapes: H, W pixels of the photograph, h, w of a tile with its margin.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from objectives.common.colour import as_uint8
from objectives.lowlight.model import (
    REACH,
    WINDOW,
    CurveBlendNet,
    boosted,
    colour_boost,
    snr_map,
    statistics,
    to_whole_quarters,
)

TILE = 768  # pixels a side, without the margin
STEP = 4 * WINDOW  # the windows of attention begin at its multiples
MARGIN = -(-REACH // STEP) * STEP
ROWS = 256  # that are strengthened at a time


@torch.no_grad()
def brighten(model: CurveBlendNet, low_3HW: Tensor) -> Tensor:
    """The brightened photograph, bytes rgb_3HW."""
    height, width = low_3HW.shape[-2:]
    x = to_whole_quarters(low_3HW[None])
    snr = snr_map(x)
    of_whole_B10 = statistics(x, snr)
    blended_3HW = torch.empty_like(x[0])
    for rows, columns in _tiles(*x.shape[-2:]):
        above, left = min(rows.start, MARGIN), min(columns.start, MARGIN)
        window = (
            ...,
            slice(rows.start - above, rows.stop + MARGIN),
            slice(columns.start - left, columns.stop + MARGIN),
        )
        tile_3hw = model.blend(x[window], snr[window], of_whole_B10).enhanced_B3HW[0]
        inside = (..., slice(above, above + rows.stop - rows.start), slice(left, left + columns.stop - columns.start))
        blended_3HW[:, rows, columns] = tile_3hw[inside]
    return _strengthened(blended_3HW)[:, :height, :width]


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width))


def _strengthened(blended_3HW: Tensor) -> Tensor:
    boost_B = colour_boost(blended_3HW[None])
    strips = [as_uint8(boosted(strip[None], boost_B)[0]) for strip in blended_3HW.split(ROWS, dim=1)]
    return torch.cat(strips, 1)
