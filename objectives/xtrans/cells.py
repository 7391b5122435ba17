"""Places on the X-Trans filter: cells of 3 x 3 pixels, what lies beside what, and the planes that hold one place each.

The filter's tile of 6 x 6 pixels is four cells, which take turns like a chessboard: in odd ones red and blue are
exchanged. So the two colours are numbered: 0 is red in even cells and blue in odd ones.

Shapes: B batch, 3 RGB, H, W pixels at phase (0, 0). A plane [B, h, w] holds one place of every cell. Offsets are in
pixels, down and across.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.xtrans import cfa

CELL = 3
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # across, down and the two diagonals

Offset = tuple[int, int]
Place = tuple[int, int]  # in a cell, down and across
Planes = dict[Place, Tensor]
Colours = tuple[Planes, Planes]  # by the number of the colour
PLACES: tuple[Place, ...] = tuple((down, across) for down in range(CELL) for across in range(CELL))
ALONE: Place = (0, 2)  # the green pixel whose four neighbours are red or blue
# The pixels that measure red or blue, and where the neighbour lies that measures the other of the two.
COLOURED: dict[Place, Offset] = {(0, 0): (0, 1), (0, 1): (0, -1), (1, 2): (1, 0), (2, 2): (-1, 0)}
OWN: dict[Place, int] = {(0, 0): 0, (0, 1): 1, (1, 2): 0, (2, 2): 1}  # in an even cell 0 is red and 1 blue
BLOCK: tuple[Place, ...] = ((1, 0), (1, 1), (2, 0), (2, 1))  # four greens side by side


def place_of(place: Place, offset: Offset) -> Place:
    """The place at an offset from a place, whatever its cell."""
    return (place[0] + offset[0]) % CELL, (place[1] + offset[1]) % CELL


def at(planes: Planes, place: Place, offset: Offset) -> Tensor:
    """What lies at an offset in pixels from a place, for every cell; beyond the border, what lies a tile further in."""
    cells = (place[0] + offset[0]) // CELL, (place[1] + offset[1]) // CELL
    return moved(planes[place_of(place, offset)], cells, cfa.SIDE // CELL)


def moved(x: Tensor, by: Offset, period: int) -> Tensor:
    """x[..., i + down, j + across]; an index beyond the border comes back inside by whole periods."""
    for dimension, step in zip((-2, -1), by, strict=True):
        if step:
            x = x.index_select(dimension, _indices(x.shape[dimension], step, period).to(x.device))
    return x


@lru_cache(maxsize=256)
def _indices(side: int, step: int, period: int) -> Tensor:
    at = torch.arange(side) + step
    below = (-at).clamp(min=0)
    above = (at - side + 1).clamp(min=0)
    return at + (below + period - 1) // period * period - (above + period - 1) // period * period


def colour_at(colours: Colours, colour: int, place: Place, offset: Offset) -> Tensor:
    """What `at` gives of the colour that has this number in the cell of `place`."""
    cells_away = (place[0] + offset[0]) // CELL + (place[1] + offset[1]) // CELL
    return at(colours[(colour + cells_away) % 2], place, offset)


def whole_picture(green: Planes, first: Planes, second: Planes) -> Tensor:
    """rgb_B3HW from planes: in odd cells the first colour is blue."""
    cells = green[ALONE].shape[-2:]
    rows, columns = (torch.arange(side, device=green[ALONE].device) for side in cells)
    odd = (rows[:, None] + columns) % 2 == 1
    planes = []
    for place in PLACES:
        red = torch.where(odd, second[place], first[place])
        blue = torch.where(odd, first[place], second[place])
        planes.append(torch.stack([red, green[place], blue], 1))
    return F.pixel_shuffle(torch.stack(planes, 2).flatten(1, 2), CELL)


def times(offset: Offset, factor: int) -> Offset:
    """So many times the offset; the other way where `factor` is negative."""
    return factor * offset[0], factor * offset[1]


def right_angle_to(partner: Offset) -> Offset:
    """The offset of one pixel at a right angle to that of a pair."""
    return partner[1], partner[0]


def diagonals(partner: Offset) -> tuple[Offset, Offset]:
    """The two diagonals on the partner's side: greens lie at these offsets, and at minus twice each."""
    beside = right_angle_to(partner)
    return (partner[0] + beside[0], partner[1] + beside[1]), (partner[0] - beside[0], partner[1] - beside[1])


def direction_of(offset: Offset) -> int:
    """The number of the direction in which an offset lies."""
    return DIRECTIONS.index(positive(offset))


def positive(offset: Offset) -> Offset:
    """A direction's offset of one pixel, whichever way."""
    largest = max(abs(offset[0]), abs(offset[1]))
    unit = (offset[0] // largest, offset[1] // largest)
    return unit if unit in DIRECTIONS else times(unit, -1)
