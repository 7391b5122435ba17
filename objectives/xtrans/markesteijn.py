"""Markesteijn's demosaicing for X-Trans: interpolate along four directions, and take what is most homogeneous.

Green is interpolated along each direction from the six greens around a pixel, and kept within their range; red and blue
follow as differences from green. Each pass after the first finds green again, from the differences. Each pixel becomes
the mean of the directions whose neighbourhood changes least (homogeneity.py). This is the classical method to beat, and
the picture that a network corrects by default.

Everything is proportional to the light: nothing is clipped above, and the change is measured in linear luma and colour
differences, where dcraw takes CIELab. With three passes, dcraw lets the first pass compete with the last, and here the
last one alone counts. Give it white-balanced light.

Source: Frank Markesteijn's algorithm as dcraw and LibRaw publish it; its outputs are what the tests compare with.
Shapes: B batch, D directions, 3 RGB, H, W pixels at phase (0, 0). A plane [B, h, w] holds one place of every cell of
3 x 3 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.xtrans import cfa
from objectives.xtrans.cells import (
    ALONE,
    BLOCK,
    CELL,
    COLOURED,
    DIRECTIONS,
    OWN,
    PLACES,
    Colours,
    Offset,
    Place,
    Planes,
    at,
    colour_at,
    diagonals,
    direction_of,
    place_of,
    positive,
    right_angle_to,
    times,
    whole_picture,
)
from objectives.xtrans.homogeneity import most_homogeneous


@torch.no_grad()
def demosaic(balanced_B1HW: Tensor, passes: int = 1) -> Tensor:
    """rgb_B3HW of white-balanced mosaics; measured samples are kept. `passes` is 1 or 3."""
    height, width = balanced_B1HW.shape[-2:]
    whole_tiles = cfa.extend(balanced_B1HW, 0, 0, -height % cfa.SIDE, -width % cfa.SIDE)
    directional = _Directional.of(whole_tiles[:, 0])
    for _ in range(passes - 1):
        directional = directional.refined()
    rgb = most_homogeneous(directional.picture())[..., :height, :width]
    return torch.where(cfa.masks(height, width).to(rgb) > 0.5, balanced_B1HW, rgb)


# -- one picture for each direction ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Directional:
    """The mosaic by place, and for each direction green and both colours of every place."""

    mosaic: Planes
    green: list[Planes]  # by direction
    colours: list[Colours]  # by direction, then colour 0 and 1

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
            for near in (times(partner, -1), *diagonals(partner)):
                number = direction_of(near)
                near_difference = self._difference(number, place, near)
                far_difference = self._difference(number, place, times(near, -2))
                again = self.mosaic[place] + (2 * near_difference + far_difference) / 3
                green[number][place] = torch.clamp(again, low, high)
        return _Directional(
            self.mosaic, green, [_colours(self.mosaic, plane, number) for number, plane in enumerate(green)]
        )

    def _difference(self, number: int, place: Place, offset: Offset) -> Tensor:
        """Green less the colour that `place` measures, at an offset from it."""
        green, colours = self.green[number], self.colours[number]
        return at(green, place, offset) - colour_at(colours, OWN[place], place, offset)

    def picture(self) -> Tensor:
        """rgb_BD3HW."""
        each = zip(self.green, self.colours, strict=True)
        return torch.stack([whole_picture(green, *colours) for green, colours in each], 1)


def _green_around(mosaic: Planes, place: Place) -> list[Tensor]:
    """Green at a red or blue pixel, for each direction, within the range of the six greens around it."""
    partner = COLOURED[place]
    beside = right_angle_to(partner)
    own = mosaic[place]

    def near(offset: Offset, factor: int = 1) -> Tensor:
        return at(mosaic, place, times(offset, factor))

    across = (174 * (near(beside) + near(beside, -1)) - 46 * (near(beside, 2) + near(beside, -2))) / 256
    along = (223 * near(partner, -1) + 33 * near(partner, 2) + 92 * (own - near(partner, -2))) / 256
    green = {direction_of(beside): across, direction_of(partner): along}
    for way in diagonals(partner):
        curvature = 2 * own - near(way, 3) - near(way, -3)
        green[direction_of(way)] = (164 * near(way) + 92 * near(way, -2) + 33 * curvature) / 256
    low, high = _range(mosaic, place)
    return [torch.clamp(green[number], low, high) for number in range(len(DIRECTIONS))]


def _range(mosaic: Planes, place: Place) -> tuple[Tensor, Tensor]:
    """The smallest and the largest of the six greens around a pixel and its partner."""
    partner = COLOURED[place]
    beside = right_angle_to(partner)
    offsets = (beside, times(beside, -1), *diagonals(partner), times(partner, -1), times(partner, 2))
    around = torch.stack([at(mosaic, place, offset) for offset in offsets])
    return around.amin(0), around.amax(0)


def _colours(mosaic: Planes, green: Planes, number: int) -> Colours:
    """Both colours of every place along a direction: at the green that is alone, at the coloured pixels, and in the
    blocks of green, in this order, since each needs the one before."""
    colours: Colours = ({}, {})
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


def _at_alone(mosaic: Planes, green: Planes, number: int) -> tuple[Tensor, Tensor]:
    """Both colours at the green that is alone. A diagonal takes the axis along which colours change less."""
    estimates = {}
    changes = {}
    for axis in (0, 1):
        step = DIRECTIONS[axis]
        planes, change = [], torch.zeros_like(green[ALONE])
        for reach in (1, 2):
            ahead, behind = times(step, reach), times(step, -reach)
            green_ahead, green_behind = at(green, ALONE, ahead), at(green, ALONE, behind)
            colour_ahead, colour_behind = at(mosaic, ALONE, ahead), at(mosaic, ALONE, behind)
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
    mosaic: Planes,
    green: Planes,
    colours: Colours,
    place: Place,
    number: int,
) -> Tensor:
    """Blue at a red pixel, red at a blue one: along the pair, or from three pixels away across it, where green changes
    less there."""
    partner = COLOURED[place]
    far = times(right_angle_to(partner), CELL)
    missing = 1 - OWN[place]
    at_partner = at(mosaic, place, partner)
    at_alone = colour_at(colours, missing, place, times(partner, -1))
    pair_bend, pair_change = _bend_and_change(green, place, partner)
    along = ((at_partner + at_alone + pair_bend) / 2).clamp(min=0)
    if DIRECTIONS[number] != positive(right_angle_to(partner)):
        return along
    far_bend, far_change = _bend_and_change(green, place, far)
    across = ((at(mosaic, place, far) + at(mosaic, place, times(far, -1)) + far_bend) / 2).clamp(min=0)
    return torch.where(pair_change < 2 * far_change, along, across)


def _bend_and_change(green: Planes, place: Place, offset: Offset) -> tuple[Tensor, Tensor]:
    """How far green bends between two neighbours, and how much it changes towards them."""
    here, ahead, behind = green[place], at(green, place, offset), at(green, place, times(offset, -1))
    return 2 * here - ahead - behind, (here - ahead).abs() + (here - behind).abs()


def _in_block(
    green: Planes,
    colours: Colours,
    place: Place,
    number: int,
) -> tuple[Tensor, Tensor]:
    """Both colours in a block of green, from the nearest two pixels on the direction's line that have them."""
    ways = [times(DIRECTIONS[number], sign) for sign in (1, -1)]
    near = next(way for way in ways if place_of(place, way) not in BLOCK)
    other_way = times(near, -1)
    far = other_way if place_of(place, other_way) not in BLOCK else times(near, -2)
    weight = 1 / 2 if far == other_way else 2 / 3
    planes = []
    for colour in (0, 1):
        near_difference = colour_at(colours, colour, place, near) - at(green, place, near)
        far_difference = colour_at(colours, colour, place, far) - at(green, place, far)
        planes.append((green[place] + weight * near_difference + (1 - weight) * far_difference).clamp(min=0))
    return planes[0], planes[1]
