"""Markesteijn's demosaicing for X-Trans: interpolate along four directions, and take what is most homogeneous.

Green is interpolated along each direction from the six greens around a pixel, and kept within their range; red and blue
follow as differences from green. Each pass after the first finds green again, from the differences. Each pixel becomes
the mean of the directions whose neighbourhood changes least. The classical method to beat, and the picture that a
network corrects by default.

Everything is proportional to the light: nothing is clipped above, and the change is measured in linear luma and colour
differences, where dcraw takes CIELab. With three passes, dcraw lets the first pass compete with the last, and here the
last one alone counts. Give it white-balanced light.

Source: Frank Markesteijn's algorithm as dcraw and LibRaw publish it; its outputs are what the tests compare with.
Shapes: B batch, D directions, 3 RGB, H, W pixels at phase (0, 0). A plane [B, h, w] holds one place of every cell of
3 x 3 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.xtrans import cfa

CELL = 3
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # across, down and the two diagonals
LUMA = (0.2627, 0.6780, 0.0593)  # Rec. ITU-R BT.2020
BLUE_DIFFERENCE, RED_DIFFERENCE = 0.56433, 0.67815  # the colour differences of the same recommendation, both +-0.5
TOLERANCE = 8.0  # times the smallest change: a neighbour that changes no more is homogeneous
NEARLY_BEST = 7 / 8  # of the best count: such directions are averaged

Offset = tuple[int, int]
Place = tuple[int, int]  # in a cell, down and across
PLACES: tuple[Place, ...] = tuple((down, across) for down in range(CELL) for across in range(CELL))
ALONE: Place = (0, 2)  # the green pixel whose four neighbours are red or blue
# The pixels that measure red or blue, and where the neighbour lies that measures the other of the two.
COLOURED: dict[Place, Offset] = {(0, 0): (0, 1), (0, 1): (0, -1), (1, 2): (1, 0), (2, 2): (-1, 0)}
OWN: dict[Place, int] = {(0, 0): 0, (0, 1): 1, (1, 2): 0, (2, 2): 1}  # in an even cell 0 is red and 1 blue
BLOCK: tuple[Place, ...] = ((1, 0), (1, 1), (2, 0), (2, 1))  # four greens side by side


@torch.no_grad()
def demosaic(balanced_B1HW: Tensor, passes: int = 1) -> Tensor:
    """rgb_B3HW of white-balanced mosaics; measured samples are kept. `passes` is 1 or 3."""
    height, width = balanced_B1HW.shape[-2:]
    whole_tiles = cfa.extend(balanced_B1HW, 0, 0, -height % cfa.SIDE, -width % cfa.SIDE)
    directional = _Directional.of(whole_tiles[:, 0])
    for _ in range(passes - 1):
        directional = directional.refined()
    rgb = _most_homogeneous(directional.picture())[..., :height, :width]
    return torch.where(cfa.masks(height, width).to(rgb) > 0.5, balanced_B1HW, rgb)


# -- one picture for each direction ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Directional:
    """The mosaic by place, and for each direction green and two colour planes of every place.

    Cells take turns like a chessboard: in odd ones red and blue are exchanged. So the two colours are numbered: 0 is
    red in even cells and blue in odd ones.
    """

    mosaic: dict[Place, Tensor]
    green: list[dict[Place, Tensor]]  # by direction
    colours: list[tuple[dict[Place, Tensor], dict[Place, Tensor]]]  # by direction, then colour 0 and 1

    @classmethod
    def of(cls, mosaic_BHW: Tensor) -> _Directional:
        mosaic = {place: mosaic_BHW[:, place[0] :: CELL, place[1] :: CELL] for place in PLACES}
        first = {place: _green_around(mosaic, place) for place in COLOURED}
        measured = {place: mosaic[place] for place in (ALONE, *BLOCK)}
        green = [measured | {place: first[place][number] for place in COLOURED} for number in range(len(DIRECTIONS))]
        return cls(mosaic, green, [_colours(mosaic, plane, number) for number, plane in enumerate(green)])

    def refined(self) -> _Directional:
        """Green anew, from the differences between green and the own colour at the two nearest greens."""
        green = [dict(plane) for plane in self.green]
        for place, partner in COLOURED.items():
            low, high = _range(self.mosaic, place)
            for near in (_times(partner, -1), *_diagonals(partner)):
                number = _direction(near)
                near_difference = self._difference(number, place, near)
                far_difference = self._difference(number, place, _times(near, -2))
                again = self.mosaic[place] + (2 * near_difference + far_difference) / 3
                green[number][place] = torch.clamp(again, low, high)
        return _Directional(
            self.mosaic, green, [_colours(self.mosaic, plane, number) for number, plane in enumerate(green)]
        )

    def _difference(self, number: int, place: Place, offset: Offset) -> Tensor:
        """Green less the colour that `place` measures, at an offset from it."""
        green, colours = self.green[number], self.colours[number]
        return _at(green, place, offset) - _colour_at(colours, OWN[place], place, offset)

    def picture(self) -> Tensor:
        """rgb_BD3HW."""
        each = zip(self.green, self.colours, strict=True)
        return torch.stack([_whole(green, *colours) for green, colours in each], 1)


def _green_around(mosaic: dict[Place, Tensor], place: Place) -> list[Tensor]:
    """Green at a red or blue pixel, for each direction, within the range of the six greens around it."""
    partner = COLOURED[place]
    beside = _beside(partner)
    own = mosaic[place]

    def near(offset: Offset, factor: int = 1) -> Tensor:
        return _at(mosaic, place, _times(offset, factor))

    across = (174 * (near(beside) + near(beside, -1)) - 46 * (near(beside, 2) + near(beside, -2))) / 256
    along = (223 * near(partner, -1) + 33 * near(partner, 2) + 92 * (own - near(partner, -2))) / 256
    green = {_direction(beside): across, _direction(partner): along}
    for way in _diagonals(partner):
        curvature = 2 * own - near(way, 3) - near(way, -3)
        green[_direction(way)] = (164 * near(way) + 92 * near(way, -2) + 33 * curvature) / 256
    low, high = _range(mosaic, place)
    return [torch.clamp(green[number], low, high) for number in range(len(DIRECTIONS))]


def _range(mosaic: dict[Place, Tensor], place: Place) -> tuple[Tensor, Tensor]:
    """The smallest and the largest of the six greens around a pixel and its partner."""
    partner = COLOURED[place]
    beside = _beside(partner)
    offsets = (beside, _times(beside, -1), *_diagonals(partner), _times(partner, -1), _times(partner, 2))
    around = torch.stack([_at(mosaic, place, offset) for offset in offsets])
    return around.amin(0), around.amax(0)


def _colours(
    mosaic: dict[Place, Tensor], green: dict[Place, Tensor], number: int
) -> tuple[dict[Place, Tensor], dict[Place, Tensor]]:
    """Both colours of every place along a direction: at the green that is alone, at the coloured pixels, and in the
    blocks of green, in this order, since each needs the one before."""
    colours: tuple[dict[Place, Tensor], dict[Place, Tensor]] = ({}, {})
    for colour, plane in enumerate(_at_alone(mosaic, green, number)):
        colours[colour][ALONE] = plane
    for place in COLOURED:
        colours[OWN[place]][place] = mosaic[place]
    exchanged = {place: _exchanged(mosaic, green, colours, place, number) for place in COLOURED}
    for place, plane in exchanged.items():
        colours[1 - OWN[place]][place] = plane
    in_blocks = {place: _in_block(green, colours, place, number) for place in BLOCK}
    for place, (first, second) in in_blocks.items():
        colours[0][place], colours[1][place] = first, second
    return colours


def _at_alone(mosaic: dict[Place, Tensor], green: dict[Place, Tensor], number: int) -> tuple[Tensor, Tensor]:
    """Both colours at the green that is alone. A diagonal takes the axis along which colours change less."""
    estimates = {}
    changes = {}
    for axis in (0, 1):
        step = DIRECTIONS[axis]
        planes, change = [], torch.zeros_like(green[ALONE])
        for reach in (1, 2):
            ahead, behind = _times(step, reach), _times(step, -reach)
            green_ahead, green_behind = _at(green, ALONE, ahead), _at(green, ALONE, behind)
            colour_ahead, colour_behind = _at(mosaic, ALONE, ahead), _at(mosaic, ALONE, behind)
            bend = 2 * green[ALONE] - green_ahead - green_behind
            planes.append(((bend + colour_ahead + colour_behind) / 2).clamp(min=0))
            change = change + (green_ahead - green_behind - colour_ahead + colour_behind).square() + bend.square()
        # Across, colour 1 is the nearer one; down, colour 0 is.
        estimates[axis] = (planes[1], planes[0]) if axis == 0 else (planes[0], planes[1])
        changes[axis] = change
    if number < 2:
        return estimates[number]
    take_across = changes[0] < changes[1]
    first, second = (torch.where(take_across, estimates[0][colour], estimates[1][colour]) for colour in (0, 1))
    return first, second


def _exchanged(
    mosaic: dict[Place, Tensor],
    green: dict[Place, Tensor],
    colours: tuple[dict[Place, Tensor], dict[Place, Tensor]],
    place: Place,
    number: int,
) -> Tensor:
    """Blue at a red pixel, red at a blue one: along the pair, or from three pixels away across it, where green changes
    less there."""
    partner = COLOURED[place]
    far = _times(_beside(partner), CELL)
    missing = 1 - OWN[place]
    at_partner = _at(mosaic, place, partner)
    at_alone = _colour_at(colours, missing, place, _times(partner, -1))
    pair_bend, pair_change = _bend_and_change(green, place, partner)
    along = ((at_partner + at_alone + pair_bend) / 2).clamp(min=0)
    if DIRECTIONS[number] != _positive(_beside(partner)):
        return along
    far_bend, far_change = _bend_and_change(green, place, far)
    across = ((_at(mosaic, place, far) + _at(mosaic, place, _times(far, -1)) + far_bend) / 2).clamp(min=0)
    return torch.where(pair_change < 2 * far_change, along, across)


def _bend_and_change(green: dict[Place, Tensor], place: Place, offset: Offset) -> tuple[Tensor, Tensor]:
    """How far green bends between two neighbours, and how much it changes towards them."""
    here, ahead, behind = green[place], _at(green, place, offset), _at(green, place, _times(offset, -1))
    return 2 * here - ahead - behind, (here - ahead).abs() + (here - behind).abs()


def _in_block(
    green: dict[Place, Tensor],
    colours: tuple[dict[Place, Tensor], dict[Place, Tensor]],
    place: Place,
    number: int,
) -> tuple[Tensor, Tensor]:
    """Both colours in a block of green, from the nearest two pixels on the direction's line that have them."""
    ways = [_times(DIRECTIONS[number], sign) for sign in (1, -1)]
    near = next(way for way in ways if _place_of(place, way) not in BLOCK)
    other_way = _times(near, -1)
    far = other_way if _place_of(place, other_way) not in BLOCK else _times(near, -2)
    weight = 1 / 2 if far == other_way else 2 / 3
    planes = []
    for colour in (0, 1):
        near_difference = _colour_at(colours, colour, place, near) - _at(green, place, near)
        far_difference = _colour_at(colours, colour, place, far) - _at(green, place, far)
        planes.append((green[place] + weight * near_difference + (1 - weight) * far_difference).clamp(min=0))
    return planes[0], planes[1]


# -- the choice ------------------------------------------------------------------------------------------------------
def _most_homogeneous(rgb_BD3HW: Tensor) -> Tensor:
    """The mean of the directions around which the picture changes least, rgb_B3HW."""
    change_BDHW = _change_along(rgb_BD3HW)
    limit_B1HW = TOLERANCE * change_BDHW.amin(1, keepdim=True)
    around = torch.stack(
        [_moved(change_BDHW, (down, across), 1) <= limit_B1HW for down in (-1, 0, 1) for across in (-1, 0, 1)]
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
        ahead, behind = (_moved(here, (sign * down, sign * across), 1) for sign in (1, -1))
        bends.append((2 * here - ahead - behind).square().sum(1))
    return torch.stack(bends, 1)


# -- places ----------------------------------------------------------------------------------------------------------
def _place_of(place: Place, offset: Offset) -> Place:
    return (place[0] + offset[0]) % CELL, (place[1] + offset[1]) % CELL


def _at(planes: dict[Place, Tensor], place: Place, offset: Offset) -> Tensor:
    """What lies at an offset in pixels from a place, for every cell; beyond the border, what lies a tile further in."""
    cells = (place[0] + offset[0]) // CELL, (place[1] + offset[1]) // CELL
    return _moved(planes[_place_of(place, offset)], cells, cfa.SIDE // CELL)


def _moved(x: Tensor, by: Offset, period: int) -> Tensor:
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


def _colour_at(
    colours: tuple[dict[Place, Tensor], dict[Place, Tensor]], colour: int, place: Place, offset: Offset
) -> Tensor:
    """The same of a colour, by its number in the cell of `place`."""
    cells_away = (place[0] + offset[0]) // CELL + (place[1] + offset[1]) // CELL
    return _at(colours[(colour + cells_away) % 2], place, offset)


def _whole(green: dict[Place, Tensor], first: dict[Place, Tensor], second: dict[Place, Tensor]) -> Tensor:
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


def _times(offset: Offset, factor: int) -> Offset:
    return factor * offset[0], factor * offset[1]


def _beside(partner: Offset) -> Offset:
    """At a right angle to the direction of a pair."""
    return partner[1], partner[0]


def _diagonals(partner: Offset) -> tuple[Offset, Offset]:
    """The two diagonals on the partner's side: greens lie at these offsets, and at minus twice each."""
    beside = _beside(partner)
    return (partner[0] + beside[0], partner[1] + beside[1]), (partner[0] - beside[0], partner[1] - beside[1])


def _direction(offset: Offset) -> int:
    """The number of the direction in which an offset lies."""
    return DIRECTIONS.index(_positive(offset))


def _positive(offset: Offset) -> Offset:
    """A direction's offset of one pixel, whichever way."""
    largest = max(abs(offset[0]), abs(offset[1]))
    unit = (offset[0] // largest, offset[1] // largest)
    return unit if unit in DIRECTIONS else _times(unit, -1)
