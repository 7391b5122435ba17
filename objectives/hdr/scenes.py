"""Composed frames: layers of real light, at several depths, that move apart.

A scene is cut from one panorama, or from one photograph whose highlights are restored. Blobs and thin bars lie over a
background, each nearer than the one before. Each layer is zoomed, rotated and shifted by its own motion, a near one
further than a far one, and every pixel of the first frame is thrown forward to its new place, as in a renderer that
makes a frame from the one before. Pixels where nothing lands are holes: a lattice of cracks, because a picture that
grows has more pixels after than before, and disocclusions behind the edges of the layers.

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
from objectives.common import panoramas, photographs
from objectives.common.colour import linear_from_srgb
from objectives.common.crops import random_square
from objectives.hdr.draw import Draw
from objectives.hdr.warp import HOLES, Frame, warped_frame

MARGIN = 16  # canvas pixels beyond the frame on each side: they can move into the frame
SCALE = (0.35, 0.85)  # side of a layer over the side of the square of the photograph that it shows
FIELD_OF_VIEW = (35, 80)  # degrees of a panorama that a layer shows
LAYERS = (1, 4)  # before the background
THIN = 0.4  # share of these layers that are thin bars
BACKGROUND_NEARNESS = 0.1
PARALLAX = 5.0  # pixels: the largest shift of a layer of nearness 1
SAMPLING_NOISE = 0.02  # a warped pixel differs from the rendered one by up to this factor


class Motion(NamedTuple):
    """A zoom, rotation and shift about the middle of the canvas."""

    zoom: float
    angle: float  # rad
    shift: tuple[float, float]  # pixels, x and y


class Layer(NamedTuple):
    """Light, the region of the first frame that it may cover, how near it is (1 / depth), and its motion."""

    light_3CC: Tensor
    outline_CC: Tensor  # bool
    nearness: float
    motion: Motion


Scene = Sequence[Layer]  # from the farthest, which covers everything, to the nearest


def make(sources: Sequence[str], split: str, size: int, count: int) -> dict[str, np.ndarray]:
    """`count` frames of scenes cut from the named panoramas and photographs in turn, the same at every call.

    Arrays named as the fields of Frame, and "source", [N]: the place of each scene's panorama or photograph in
    `sources`.
    """
    rng = generator("hdr", split)
    frames: list[Frame] = []
    while len(frames) < count:
        scene = random_scene(sources[len(frames) % len(sources)], size, rng)
        frame = rendered(scene, rng)
        if HOLES[0] < float(frame.hole_1SS.float().mean()) < HOLES[1]:
            frames.append(frame)
    fields = zip(*frames, strict=True)
    arrays = {name: torch.stack(parts).numpy() for name, parts in zip(Frame._fields, fields, strict=True)}
    return arrays | {"source": np.arange(count) % len(sources)}


def random_scene(source: str, size: int, rng: torch.Generator) -> Scene:
    """A random scene of one panorama or photograph, for a frame of `size` pixels a side."""
    side = size + 2 * MARGIN
    draw = Draw(rng)
    texture = _panorama_layer if source in panoramas.PANORAMAS else _photograph_layer
    parallax = (draw(-PARALLAX, PARALLAX), draw(-PARALLAX, PARALLAX))
    everywhere = torch.ones(side, side, dtype=torch.bool)
    layers = [
        Layer(
            texture(source, side, draw), everywhere, BACKGROUND_NEARNESS, _motion(draw, BACKGROUND_NEARNESS, parallax)
        )
    ]
    for nearness in sorted(draw(0.2, 1.0) for _ in range(draw.whole(*LAYERS))):
        outline = bars if draw(0, 1) < THIN else blob
        layers.append(
            Layer(texture(source, side, draw), outline(side, size, draw), nearness, _motion(draw, nearness, parallax))
        )
    return layers


def expanded(light_3HW: Tensor, peak: float) -> Tensor:
    """A photograph with restored highlights: light above 0.6 of its range is multiplied by up to `peak`."""
    bright = ((light_3HW.mean(0, keepdim=True) - 0.6) / 0.4).clamp(0, 1)
    smooth = bright**2 * (3 - 2 * bright)
    return light_3HW * (1 + (peak - 1) * smooth**2)


def blob(side: int, size: int, draw: Draw) -> Tensor:
    """A star-shaped region, [side, side] bool, whose outline has four harmonics."""
    across, down = _pixels(side)
    across = across - side / 2 - draw(-0.35, 0.35) * size
    down = down - side / 2 - draw(-0.35, 0.35) * size
    angle = torch.atan2(down, across)
    waves = torch.zeros_like(angle)
    for harmonic in range(1, 5):
        waves = waves + draw(-0.18, 0.18) * torch.cos(harmonic * angle + draw(0, 2 * math.pi))
    return torch.hypot(across, down) < draw(0.12, 0.30) * size * (1 + waves)


def bars(side: int, size: int, draw: Draw) -> Tensor:
    """Thin parallel bars across the picture, [side, side] bool: a post, a fence."""
    across, down = _pixels(side)
    angle = draw(0, math.pi)
    middle = draw(-0.3, 0.3) * size
    position = (across - side / 2) * math.cos(angle) + (down - side / 2) * math.sin(angle) - middle
    width = draw(1.0, 4.0)
    spacing = draw(8.0, 20.0)
    half = spacing * (draw.whole(1, 4) / 2)
    return ((position % spacing) < width) & (position.abs() < half)


def rendered(scene: Scene, rng: torch.Generator) -> Frame:
    """The second frame, which samples the layers at the places its pixels came from.

    Its holes are the pixels where none of the first frame's pixels lands. A pixel that shows one layer through a crack
    in another is a hole too.
    """
    side = scene[0].outline_CC.shape[-1]
    window = slice(MARGIN, side - MARGIN)
    across, down = (line[window, window] for line in _pixels(side))
    size = side - 2 * MARGIN
    target = torch.zeros(3, size, size)
    seen = torch.zeros(size, size, dtype=torch.bool)
    nearness = torch.zeros(size, size)
    moved = torch.zeros(2, size, size)
    for number, layer in enumerate(scene):
        x, y = _source_places(layer.motion, across, down, side)
        here = _sampled(layer.outline_CC[None].float(), x, y, mode="nearest")[0] > 0.5
        covered = torch.stack([nearer.outline_CC for nearer in scene[number + 1 :]] or [~layer.outline_CC]).any(0)
        landed = _landed(layer.outline_CC & ~covered, layer.motion)[window, window]
        target = torch.where(here, _sampled(layer.light_3CC, x, y), target)
        seen = torch.where(here, landed, seen)
        nearness = torch.where(here, layer.nearness, nearness)
        moved = torch.where(here, torch.stack([across - x, down - y]), moved)
    noise = 1 + SAMPLING_NOISE * (2 * torch.rand(target.shape, generator=rng) - 1)
    return warped_frame(target * noise, target, seen, nearness, moved)


def _panorama_layer(name: str, side: int, draw: Draw) -> Tensor:
    """A random view of a panorama."""
    yaw, pitch, fov = draw(0, 360), draw(-40, 40), draw(*FIELD_OF_VIEW)
    light = panoramas.view(name, yaw=yaw, pitch=pitch, fov=fov, size=side)
    return light.flip(-1) if draw(0, 1) < 0.5 else light


def _photograph_layer(name: str, side: int, draw: Draw) -> Tensor:
    """A random square of a photograph, with restored highlights."""
    square = random_square(photographs.srgb(name), side, scale=SCALE, rng=draw.rng, flip=True)
    return expanded(linear_from_srgb(square), 10 ** draw(0.5, 2.2))


def _motion(draw: Draw, nearness: float, parallax: tuple[float, float]) -> Motion:
    x, y = (nearness * shift + draw(-2, 2) for shift in parallax)
    return Motion(draw(1.03, 1.12), draw(-0.05, 0.05), (x, y))


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
