"""The X-Trans colour filter: which colour each pixel of the sensor measures, also after a picture is flipped or turned.

A 6 x 6 tile of 20 green, 8 red and 8 blue pixels. A phase (down, across) is the place in the tile of the first pixel.
The tile equals itself shifted by (3, 3), so two phases describe every map; the smaller one is used.

Source: the filter of US patent 8,531,563 as LibRaw reports it. Shapes: B batch, 3 RGB, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

RED, GREEN, BLUE = range(3)
TILE = torch.tensor(
    [["RGB".index(colour) for colour in row] for row in ("RBGBRG", "GGRGGB", "GGBGGR", "BRGRBG", "GGBGGR", "GGRGGB")]
)
SIDE = 6
Phase = tuple[int, int]

MOVES: dict[str, Callable[[Tensor], Tensor]] = {  # of the last two dimensions: the eight symmetries of a square
    "identity": lambda x: x,
    "flip across": lambda x: x.flip(-1),
    "flip down": lambda x: x.flip(-2),
    "turn 180": lambda x: x.flip(-2, -1),
    "transpose": lambda x: x.transpose(-2, -1),
    "turn 90": lambda x: x.rot90(1, (-2, -1)),
    "turn 270": lambda x: x.rot90(-1, (-2, -1)),
    "anti-transpose": lambda x: x.flip(-2, -1).transpose(-2, -1),
}


def colours(height: int, width: int, phase: Phase = (0, 0)) -> Tensor:
    """The colour of each pixel, [H, W]: 0 red, 1 green, 2 blue."""
    down, across = (torch.arange(side) + start for side, start in zip((height, width), phase, strict=True))
    return TILE[(down % SIDE)[:, None], across % SIDE]


@lru_cache(maxsize=64)
def masks(height: int, width: int, phase: Phase = (0, 0)) -> Tensor:
    """1 where a colour is measured, else 0, [3, H, W]. Shared: do not change it in place."""
    return torch.nn.functional.one_hot(colours(height, width, phase), 3).permute(2, 0, 1).float().contiguous()


def mosaic(rgb_B3HW: Tensor, phase: Phase = (0, 0)) -> Tensor:
    """What the sensor measures at each pixel, [B, 1, H, W]."""
    return (rgb_B3HW * masks(*rgb_B3HW.shape[-2:], phase).to(rgb_B3HW)).sum(-3, keepdim=True)


def find_phase(colours_HW: Tensor) -> Phase:
    """The phase of a map of colours, the smaller of the two.

    Raises ValueError where the map is not an X-Trans filter, or smaller than 6 x 6.
    """
    height, width = colours_HW.shape
    if min(height, width) >= SIDE:
        for down in range(SIDE):
            for across in range(SIDE):
                if torch.equal(colours_HW, colours(height, width, (down, across))):
                    return down, across
    raise ValueError(f"the {height} x {width} map of colours must be an X-Trans filter of at least 6 x 6; it is not")


def moved_phase(move: str, height: int, width: int, phase: Phase = (0, 0)) -> Phase:
    """The phase of a mosaic of this size after a move."""
    return find_phase(MOVES[move](colours(height, width, phase)))


def extend(mosaic_B1HW: Tensor, top: int, left: int, bottom: int, right: int) -> Tensor:
    """The mosaic with pixels added around it, each copied from a whole number of tiles away.

    So each added pixel has the right colour; reflection would put red where blue belongs.
    """
    height, width = mosaic_B1HW.shape[-2:]
    rows, columns = _shifted(height, top, bottom), _shifted(width, left, right)
    return mosaic_B1HW[..., rows[:, None], columns]


def _shifted(side: int, before: int, after: int) -> Tensor:
    at = torch.arange(-before, side + after)
    whole = torch.where(at < 0, -(at // SIDE), 0) - torch.where(at >= side, (at - side) // SIDE + 1, 0)
    return at + SIDE * whole
