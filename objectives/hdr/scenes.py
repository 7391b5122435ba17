"""Synthetic frames: two layers of photographs, expanded to high dynamic range, that move apart.

A foreground blob lies over a background. Each layer is zoomed, rotated and shifted by its own motion, and every pixel
of the first frame is thrown forward to its new place, as in a renderer that makes a frame from the one before. Pixels
where nothing lands are holes: a lattice of cracks, because a picture that grows has more pixels after than before, and
disocclusions behind the edges of the blob.

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

from hpo import generator
from objectives.common import photographs
from objectives.common.colour import linear_from_srgb
from objectives.common.crops import random_square

MARGIN = 16  # canvas pixels beyond the frame on each side: they can move into the frame
SCALE = (0.35, 0.85)  # side of a layer over the side of the square of the photograph that it shows
HOLES = (0.02, 0.35)  # an example is kept if its share of hole pixels is between these
SAMPLING_NOISE = 0.02  # a warped pixel differs from the rendered one by up to this factor
MOTION_UNIT = 8.0  # pixels


class Motion(NamedTuple):
    """A zoom, rotation and shift about the middle of the canvas."""

    zoom: float
    angle: float  # rad
    shift: tuple[float, float]  # pixels, x and y


class Scene(NamedTuple):
    """What a renderer knows: two layers of light, the outline of the blob in the first frame, and their motions."""

    background_3CC: Tensor
    foreground_3CC: Tensor
    outline_CC: Tensor  # bool
    background_motion: Motion
    foreground_motion: Motion
    photograph: int = 0  # number of the background's photograph


class Frame(NamedTuple):
    """The second frame, and what is known of it from the first one."""

    warped_3SS: Tensor  # 0 in holes
    hole_1SS: Tensor  # bool
    occluder_1SS: Tensor  # bool: where the foreground landed
    motion_2SS: Tensor  # of each pixel, x and y, minus the mean, in MOTION_UNIT; 0 in holes
    target_3SS: Tensor


def make(names: Sequence[str], split: str, size: int, count: int) -> dict[str, np.ndarray]:
    """`count` frames cut from the named photographs, the same at every call.

    Arrays named as the fields of Frame, and "source", [N]: the number of the photograph of each background, which shows
    in most of the picture and in all of the disocclusions.
    """
    rng = generator("hdr", split)
    frames: list[Frame] = []
    sources: list[int] = []
    while len(frames) < count:
        scene = random_scene(names, size, rng)
        frame = rendered(scene, rng)
        if HOLES[0] < float(frame.hole_1SS.float().mean()) < HOLES[1]:
            frames.append(frame)
            sources.append(scene.photograph)
    fields = zip(*frames, strict=True)
    arrays = {name: torch.stack(parts).numpy() for name, parts in zip(Frame._fields, fields, strict=True)}
    return arrays | {"source": np.array(sources)}


def random_scene(names: Sequence[str], size: int, rng: torch.Generator) -> Scene:
    """A random scene of two of the named photographs, for a frame of `size` pixels a side."""
    side = size + 2 * MARGIN
    draw = _Draw(rng)
    photograph, background_srgb = _random_layer(names, side, draw)
    _, foreground_srgb = _random_layer(names, side, draw)
    background = expanded(linear_from_srgb(background_srgb), 10 ** draw(0.5, 2.2))
    foreground = expanded(linear_from_srgb(foreground_srgb), 10 ** draw(0.5, 2.2))
    for _ in range(int(draw(0, 3))):
        background = background + lamp(side, draw)
    exposure = 2 ** draw(-3, 3)
    return Scene(
        background * exposure,
        foreground * exposure,
        blob(side, size, draw),
        _random_motion(draw, angle=0.03, shift=2),
        _random_motion(draw, angle=0.05, shift=5),
        photograph,
    )


def expanded(light_3HW: Tensor, peak: float) -> Tensor:
    """A photograph with restored highlights: light above 0.6 of its range is multiplied by up to `peak`."""
    bright = ((light_3HW.mean(0, keepdim=True) - 0.6) / 0.4).clamp(0, 1)
    smooth = bright**2 * (3 - 2 * bright)
    return light_3HW * (1 + (peak - 1) * smooth**2)


def lamp(side: int, draw: _Draw) -> Tensor:
    """A light source, [1, side, side]: a Gaussian spot somewhere on the canvas."""
    x = draw(0, side)
    y = draw(0, side)
    radius = draw(1.5, 4.5)
    peak = 10 ** draw(0.7, 2.2)
    across, down = _pixels(side)
    squared_distance = (across - x) ** 2 + (down - y) ** 2
    return (peak * torch.exp(-squared_distance / (2 * radius**2)))[None]


def blob(side: int, size: int, draw: _Draw) -> Tensor:
    """The region of the foreground, [side, side] bool: star-shaped, near the middle, its outline of four harmonics."""
    across, down = _pixels(side)
    across = across - side / 2 - draw(-0.25, 0.25) * size
    down = down - side / 2 - draw(-0.25, 0.25) * size
    angle = torch.atan2(down, across)
    waves = torch.zeros_like(angle)
    for harmonic in range(1, 5):
        waves = waves + draw(-0.18, 0.18) * torch.cos(harmonic * angle + draw(0, 2 * math.pi))
    return torch.hypot(across, down) < draw(0.15, 0.30) * size * (1 + waves)


def rendered(scene: Scene, rng: torch.Generator) -> Frame:
    """The second frame, which samples the layers at the places its pixels came from.

    Its holes are the pixels where none of the first frame's pixels lands. A pixel that shows one layer through a crack
    in the other is a hole too.
    """
    side = scene.outline_CC.shape[-1]
    window = slice(MARGIN, side - MARGIN)
    across, down = (line[window, window] for line in _pixels(side))
    back_x, back_y = _source_places(scene.background_motion, across, down, side)
    front_x, front_y = _source_places(scene.foreground_motion, across, down, side)
    front = _sampled(scene.outline_CC[None].float(), front_x, front_y, mode="nearest")[0] > 0.5
    front_light = _sampled(scene.foreground_3CC, front_x, front_y)
    back_light = _sampled(scene.background_3CC, back_x, back_y)
    target = torch.where(front, front_light, back_light)
    front_hit = _landed(scene.outline_CC, scene.foreground_motion)[window, window]
    back_hit = _landed(~scene.outline_CC, scene.background_motion)[window, window]
    hit = torch.where(front, front_hit, back_hit)[None]
    moved_x = across - torch.where(front, front_x, back_x)
    moved_y = down - torch.where(front, front_y, back_y)
    moved = torch.stack([moved_x, moved_y])
    mean = (moved * hit).sum((-2, -1), keepdim=True) / hit.sum().clamp(min=1)
    noise = 1 + SAMPLING_NOISE * (2 * torch.rand(target.shape, generator=rng) - 1)
    return Frame(
        warped_3SS=target * noise * hit,
        hole_1SS=~hit,
        occluder_1SS=front[None] & hit,
        motion_2SS=(moved - mean) / MOTION_UNIT * hit,
        target_3SS=target,
    )


def _random_layer(names: Sequence[str], side: int, draw: _Draw) -> tuple[int, Tensor]:
    """The number of a random photograph, and a random square of it."""
    number = int(draw(0, len(names)))
    return number, random_square(photographs.srgb(names[number]), side, scale=SCALE, rng=draw.rng, flip=True)


def _random_motion(draw: _Draw, *, angle: float, shift: float) -> Motion:
    return Motion(draw(1.03, 1.12), draw(-angle, angle), (draw(-shift, shift), draw(-shift, shift)))


def _landed(pixels_CC: Tensor, motion: Motion) -> Tensor:
    """[C, C] bool: the pixels that the marked pixels land on, each on the nearest one."""
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


def _source_places(motion: Motion, across: Tensor, down: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The places on the canvas that pixels came from, x and y."""
    middle = (side - 1) / 2
    across = across - middle - motion.shift[0]
    down = down - middle - motion.shift[1]
    cos, sin = math.cos(motion.angle), math.sin(motion.angle)
    x = (cos * across + sin * down) / motion.zoom + middle
    y = (cos * down - sin * across) / motion.zoom + middle
    return x, y


def _sampled(image_ACC: Tensor, across: Tensor, down: Tensor, mode: str = "bilinear") -> Tensor:
    """Values of the canvas at places between its pixels."""
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
