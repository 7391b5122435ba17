"""Frames that were never rendered: two layers of photograph, expanded to high dynamic range, that move apart.

A foreground blob lies over a background. Both are zoomed, turned and shifted by a motion of their own, and every pixel
of the first frame is thrown forward to where it goes, as a renderer does that makes a frame from the one before. Where
nothing lands there is a hole: a lattice of cracks, for a picture that grows has more pixels after than before, and
disocclusions behind the blob's edges.

Shapes: N examples, 3 RGB, S pixels a side, C canvas pixels a side. Light is linear and at least 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpo.seeds import generator
from objectives.common import photographs
from objectives.common.colour import linear_from_srgb
from objectives.common.crops import random_square

MARGIN = 16  # canvas pixels beyond the frame on each side: what moves into it comes from somewhere
SCALE = (0.35, 0.85)  # a layer is this much smaller than what it shows of its photograph
HOLES = (0.02, 0.35)  # share of hole pixels of an example that is kept
SAMPLING_NOISE = 0.02  # a warped pixel differs from the rendered one by up to this factor
MOTION_UNIT = 8.0  # pixels


class Motion(NamedTuple):
    """A similarity about the middle of the canvas."""

    zoom: float
    angle: float  # rad
    shift: tuple[float, float]  # pixels, x and y


class Scene(NamedTuple):
    """What a renderer would know: two layers of light, the blob's outline in the first frame, and how they move."""

    background_3CC: Tensor
    foreground_3CC: Tensor
    outline_CC: Tensor  # bool
    background_motion: Motion
    foreground_motion: Motion


class Frame(NamedTuple):
    """The second frame, and what the first one says about it."""

    warped_3SS: Tensor  # 0 in holes
    hole_1SS: Tensor  # bool
    occluder_1SS: Tensor  # bool: the foreground, where something landed
    motion_2SS: Tensor  # of each pixel, x and y, less the mean, in MOTION_UNIT; 0 in holes
    target_3SS: Tensor


def make(names: Sequence[str], split: str, size: int, count: int, source: str) -> dict[str, np.ndarray]:
    """`count` frames cut from the named photographs, the same at every call."""
    del source  # part of the cache's key: other code, other data
    rng = generator("hdr", split)
    made: list[Frame] = []
    while len(made) < count:
        frame = rendered(random_scene(names, size, rng), rng)
        if HOLES[0] < float(frame.hole_1SS.float().mean()) < HOLES[1]:
            made.append(frame)
    fields = zip(Frame._fields, zip(*made, strict=True), strict=True)
    return {name: torch.stack(parts).numpy() for name, parts in fields}


def random_scene(names: Sequence[str], size: int, rng: torch.Generator) -> Scene:
    side = size + 2 * MARGIN
    draw = _Draw(rng)
    layers = [
        random_square(photographs.srgb(names[int(draw(0, len(names)))]), side, scale=SCALE, rng=rng, flip=True)
        for _ in range(2)
    ]
    background, foreground = (expanded(linear_from_srgb(layer), 10 ** draw(0.5, 2.2)) for layer in layers)
    for _ in range(int(draw(0, 3))):
        background = background + lamp(side, draw)
    exposure = 2 ** draw(-3, 3)
    return Scene(
        background * exposure,
        foreground * exposure,
        blob(side, size, draw),
        _motion(draw, angle=0.03, shift=2),
        _motion(draw, angle=0.05, shift=5),
    )


def expanded(light_3HW: Tensor, peak: float) -> Tensor:
    """A photograph's clipped highlights put back: light above 0.6 of its range is multiplied by up to `peak`."""
    bright = ((light_3HW.mean(0, keepdim=True) - 0.6) / 0.4).clamp(0, 1)
    smooth = bright**2 * (3 - 2 * bright)
    return light_3HW * (1 + (peak - 1) * smooth**2)


def lamp(side: int, draw: _Draw) -> Tensor:
    """A light source, [1, side, side]: a Gaussian spot somewhere on the canvas."""
    x, y, radius, peak = draw(0, side), draw(0, side), draw(1.5, 4.5), 10 ** draw(0.7, 2.2)
    across, down = _pixels(side)
    return (peak * torch.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * radius**2)))[None]


def blob(side: int, size: int, draw: _Draw) -> Tensor:
    """Where the foreground is, [side, side]: a star-shaped outline near the middle, of four harmonics."""
    across, down = _pixels(side)
    across = across - side / 2 - draw(-0.25, 0.25) * size
    down = down - side / 2 - draw(-0.25, 0.25) * size
    angle = torch.atan2(down, across)
    waves = sum(draw(-0.18, 0.18) * torch.cos(k * angle + draw(0, 2 * math.pi)) for k in range(1, 5))
    return torch.hypot(across, down) < draw(0.15, 0.30) * size * (1 + waves)


def rendered(scene: Scene, rng: torch.Generator) -> Frame:
    """The second frame by looking up where each of its pixels came from; its holes by throwing the first one's pixels
    to where they go. A pixel that shows one layer through a crack in the other is a hole too."""
    side = scene.outline_CC.shape[-1]
    window = slice(MARGIN, side - MARGIN)
    across, down = (line[window, window] for line in _pixels(side))
    came_bg, came_fg = (_backward(m, across, down, side) for m in (scene.background_motion, scene.foreground_motion))
    front = _looked_up(scene.outline_CC[None].float(), *came_fg, mode="nearest")[0] > 0.5
    target = torch.where(front, _looked_up(scene.foreground_3CC, *came_fg), _looked_up(scene.background_3CC, *came_bg))
    hit = torch.where(
        front,
        _landed(scene.outline_CC, scene.foreground_motion)[window, window],
        _landed(~scene.outline_CC, scene.background_motion)[window, window],
    )[None]
    came = [torch.where(front, *pair) for pair in zip(came_fg, came_bg, strict=True)]
    moved = torch.stack([across - came[0], down - came[1]])
    mean = (moved * hit).sum((-2, -1), keepdim=True) / hit.sum().clamp(min=1)
    noise = 1 + SAMPLING_NOISE * (2 * torch.rand(target.shape, generator=rng) - 1)
    return Frame(target * noise * hit, ~hit, front[None] & hit, (moved - mean) / MOTION_UNIT * hit, target)


def _motion(draw: _Draw, *, angle: float, shift: float) -> Motion:
    return Motion(draw(1.03, 1.12), draw(-angle, angle), (draw(-shift, shift), draw(-shift, shift)))


def _landed(pixels_CC: Tensor, motion: Motion) -> Tensor:
    """[C, C] bool: where the marked pixels land, each on the nearest one."""
    side = pixels_CC.shape[-1]
    across, down = (line[pixels_CC] - (side - 1) / 2 for line in _pixels(side))
    cos, sin = math.cos(motion.angle), math.sin(motion.angle)
    to_x = motion.zoom * (cos * across - sin * down) + (side - 1) / 2 + motion.shift[0]
    to_y = motion.zoom * (sin * across + cos * down) + (side - 1) / 2 + motion.shift[1]
    column, row = to_x.round().long(), to_y.round().long()
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    landed = torch.zeros(side, side, dtype=torch.bool)
    landed[row[inside], column[inside]] = True
    return landed


def _backward(motion: Motion, across: Tensor, down: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Where pixels came from, x and y on the canvas."""
    middle = (side - 1) / 2
    across, down = across - middle - motion.shift[0], down - middle - motion.shift[1]
    cos, sin = math.cos(motion.angle), math.sin(motion.angle)
    return ((cos * across + sin * down) / motion.zoom + middle, (cos * down - sin * across) / motion.zoom + middle)


def _looked_up(image_ACC: Tensor, across: Tensor, down: Tensor, mode: str = "bilinear") -> Tensor:
    """Values of the canvas at points between its pixels."""
    side = image_ACC.shape[-1]
    grid = torch.stack([across, down], -1) * 2 / (side - 1) - 1
    return F.grid_sample(image_ACC[None], grid[None], mode=mode, padding_mode="border", align_corners=True)[0]


def _pixels(side: int) -> tuple[Tensor, Tensor]:
    """x and y of every pixel, [side, side] each."""
    line = torch.arange(side, dtype=torch.float32)
    return line.expand(side, side), line[:, None].expand(side, side)


class _Draw:
    """Uniform numbers from one generator."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng = rng

    def __call__(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.rng, dtype=torch.float64))
