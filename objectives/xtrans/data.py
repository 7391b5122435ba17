"""Data: crops and tiles of scenes, mosaiced by the colour filter.

Training crops begin anywhere, are flipped and turned, and only then mosaiced, always at phase (0, 0); some of them are
patterns that demosaicers get wrong. Validation and test tiles are fixed, and do not overlap where they are scored.

Shapes: B batch, 3 RGB, S pixels a side, H, W pixels. Light is linear; 1 is the sensor's white, and larger values are
kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from hpo import Split, generator
from objectives.xtrans import cfa, torture
from objectives.xtrans.light import per_channel
from objectives.xtrans.model import interpolate
from objectives.xtrans.scenes import Scene, Source, load_scenes

JUDGED, BORDER = 48, 12  # pixels: only the middle of a tile is scored; no method sees beyond the border
TILE = JUDGED + 2 * BORDER
FLAT_DB = 45.0  # tiles on which plain interpolation of balanced light is better than this are left out
MIN_SIZE = 24


class Batch(NamedTuple):
    """Examples side by side."""

    mosaic_B1SS: Tensor  # what the sensor measured; only this field has noise, if any
    cfa_B3SS: Tensor  # 1 where a colour was measured, else 0
    gain_B3: Tensor  # the sensor's response to white, as the camera records it: target / gain is white-balanced light
    target_B3SS: Tensor  # in the sensor's own scale
    scene_B: Tensor  # int64: number of the scene; -1 for a pattern
    pattern_B: Tensor  # int64: number of the scored pattern that a tile carries


def model_inputs(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The fields that a model may see: mosaic, colour filter and white balance."""
    return batch.mosaic_B1SS, batch.cfa_B3SS, batch.gain_B3


class Crop(NamedTuple):
    """A crop in balanced light, and what it was cut from."""

    rgb_3SS: Tensor
    gain_3: Tensor | None  # of its own sensor; None where unknown
    scene: int  # its number; -1: none


@dataclass(frozen=True)
class Augment:
    """How widely gains and exposure are drawn for a training crop before it is mosaiced, and the noise added after."""

    gain: float = 0.0  # exp(U(-gain, gain)) on each channel, which the recorded white balance does not know
    stops: float = 0.0  # 2^U(-stops, stops) of exposure
    read_noise: float = 0.0  # standard deviation
    shot_noise: float = 0.0  # variance at light 1


# -- training --------------------------------------------------------------------------------------------------------
def random_crops(
    scenes: Sequence[Scene],
    count: int,
    size: int,
    rng: torch.Generator,
    *,
    gain: Sequence[float],
    augment: Augment,
    patterns: float = 0.0,
) -> Batch:
    """`count` random crops, flipped or turned, exposed and mosaiced; a share of about `patterns` are patterns instead.

    Without noise the mosaic's samples are exactly the target's. `gain` is for scenes whose own gain is unknown.
    """
    is_pattern = (torch.rand(count, generator=rng) < patterns).tolist()
    crops = [pattern_crop(size, rng) if drawn else random_balanced_crop(scenes, size, rng) for drawn in is_pattern]
    return measured(crops, gain, rng, augment)


def measured(crops: Sequence[Crop], gain: Sequence[float], rng: torch.Generator, augment: Augment) -> Batch:
    """Crops as their sensors measure them; `gain` is for those whose own gain is unknown."""
    gain_B3 = torch.stack([torch.tensor(gain) if crop.gain_3 is None else crop.gain_3 for crop in crops])
    batch = simulate_sensor(torch.stack([crop.rgb_3SS for crop in crops]), gain_B3, rng, augment)
    return batch._replace(scene_B=torch.tensor([crop.scene for crop in crops]))


def pattern_crop(size: int, rng: torch.Generator) -> Crop:
    """A random pattern of those to learn from."""
    return Crop(torture.draw_pattern(size, rng), None, -1)


def random_balanced_crop(scenes: Sequence[Scene], size: int, rng: torch.Generator) -> Crop:
    """A random crop of a random view of a random scene."""
    weights = torch.tensor([scene.weight for scene in scenes])
    scene = scenes[int(torch.multinomial(weights, 1, generator=rng))]
    view = int(torch.randint(len(scene.views_3HW), (1,), generator=rng))
    return Crop(random_square(scene.views_3HW[view], size, rng), scene.gain_3, scene.number)


def random_square(rgb_3HW: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """A square that begins anywhere, flipped or turned by one of the eight symmetries of a square."""
    down, across, move = torch.rand(3, generator=rng, dtype=torch.float64).tolist()
    top, left = (int(share * (side - size + 1)) for share, side in zip((down, across), rgb_3HW.shape[1:], strict=True))
    square = rgb_3HW[:, top : top + size, left : left + size]
    return list(cfa.MOVES.values())[int(move * len(cfa.MOVES))](square)


def simulate_sensor(
    rgb_B3SS: Tensor, gain_B3: Tensor, rng: torch.Generator | None = None, augment: Augment | None = None
) -> Batch:
    """Balanced light as a sensor with these gains measures it. The augmentation changes the light before the mosaic.

    What the light was cut from is unknown here; each example carries the first pattern.
    """
    augment = augment or Augment()
    count = len(rgb_B3SS)
    if augment.gain:
        rgb_B3SS = rgb_B3SS * torch.exp(_symmetric((count, 3, 1, 1), augment.gain, rng))
    if augment.stops:
        rgb_B3SS = rgb_B3SS * 2 ** _symmetric((count, 1, 1, 1), augment.stops, rng)
    target = rgb_B3SS * per_channel(gain_B3)
    samples = cfa.mosaic(target)
    if augment.read_noise or augment.shot_noise:
        variance = augment.shot_noise * samples.clamp(min=0) + augment.read_noise**2
        samples = samples + variance.sqrt() * torch.randn(samples.shape, generator=rng)
    colours = cfa.masks(*target.shape[-2:]).expand(count, -1, -1, -1)
    unknown_B = torch.full((count,), -1)
    return Batch(samples, colours, gain_B3, target, unknown_B, torch.zeros_like(unknown_B))


# -- judgement -------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=8)
def tiles(split: Split, count: int, source: Source, gain: tuple[float, float, float]) -> Batch:
    """`count` tiles of the split, of its scenes in turn, the same at every call, without noise.

    Raises ValueError where the scenes hold fewer tiles that do not overlap.
    """
    places = _places(split, source)
    if len(places) < count:
        raise ValueError(
            f"xtrans: the {split} split holds {len(places)} tiles of {JUDGED} pixels that do not overlap "
            f"and are not flat; {count} were asked for: use more or larger photographs, or a smaller task.down"
        )
    scenes = load_scenes(split, source)
    chosen = places[:count]
    rgb = torch.stack([_tile(scenes, place) for place in chosen])
    gain_B3 = torch.stack([_gain(scenes[place.scene], gain) for place in chosen])
    scene_B = torch.tensor([scenes[place.scene].number for place in chosen])
    return simulate_sensor(rgb, gain_B3)._replace(scene_B=scene_B, pattern_B=torture.dealt(count))


def count_tiles(split: Split, source: Source) -> int:
    """How many tiles a split holds."""
    return len(_places(split, source))


class Place(NamedTuple):
    """Where a tile lies."""

    scene: int  # its place among the scenes of the split
    view: int
    top: int
    left: int


@lru_cache(maxsize=8)
def _places(split: Split, source: Source) -> tuple[Place, ...]:
    """All places, of the scenes in turn, in a random order within each scene."""
    rng = generator("xtrans", split)
    ordered = []
    for number, scene in enumerate(load_scenes(split, source)):
        views = enumerate(scene.views_3HW)
        inside = [Place(number, view, *corner) for view, rgb_3HW in views for corner in textured_tiles(rgb_3HW)]
        order = torch.randperm(len(inside), generator=rng).tolist()
        ordered += [(turn, inside[index]) for turn, index in enumerate(order)]
    return tuple(place for _, place in sorted(ordered))


def _tile(scenes: Sequence[Scene], place: Place) -> Tensor:
    view_3HW = scenes[place.scene].views_3HW[place.view]
    return view_3HW[:, place.top : place.top + TILE, place.left : place.left + TILE]


def textured_tiles(rgb_3HW: Tensor) -> Iterator[tuple[int, int]]:
    """Top and left of the tiles that are not flat.

    In flat light plain interpolation reaches FLAT_DB and more, and a mean of decibels would measure noise.
    """
    whole = rgb_3HW[None]
    plain = interpolate(cfa.mosaic(whole), cfa.masks(*rgb_3HW.shape[1:])[None], "nc")
    error_HW = (plain - whole)[0].square().mean(0)
    for top in range(0, rgb_3HW.shape[1] - TILE + 1, JUDGED):
        for left in range(0, rgb_3HW.shape[2] - TILE + 1, JUDGED):
            middle = error_HW[top + BORDER : top + BORDER + JUDGED, left + BORDER : left + BORDER + JUDGED]
            if -10 * math.log10(max(1e-12, float(middle.mean()))) < FLAT_DB:
                yield top, left


def _gain(scene: Scene, gain: Sequence[float]) -> Tensor:
    return torch.tensor(gain) if scene.gain_3 is None else scene.gain_3


def _symmetric(shape: tuple[int, ...], reach: float, rng: torch.Generator | None) -> Tensor:
    """Uniform on [-reach, reach]."""
    return reach * (2 * torch.rand(shape, generator=rng) - 1)
