"""Data: linear photographs, mosaiced by the colour filter.

A photograph is converted to linear light and shrunk by area mean. This removes the traces of its own camera's
demosaicing and of JPEG: at full size and at the same phase a network would only learn that demosaicer. The default
photographs ship inside installed packages. A user's own folder holds raw files, which a classical demosaicer converts,
or pictures.

Training crops begin anywhere, are flipped and turned, and only then mosaiced, always at phase (0, 0). Validation and
test tiles are fixed, and do not overlap where they are scored. A photograph belongs to one split only.

Shapes: B batch, 3 RGB, S pixels a side, H, W pixels. Light is linear; 1 is the sensor's white, and larger values are
kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo import Split, generator, made_once
from objectives.common import files, photographs
from objectives.common.colour import linear_from_srgb
from objectives.xtrans import cfa, raf, torture
from objectives.xtrans.light import area_mean, per_channel
from objectives.xtrans.model import interpolate
from objectives.xtrans.own_files import OwnFile, is_raw, split_own_files

PHOTOGRAPHS: dict[Split, tuple[str, ...]] = {
    "train": ("china", "chelsea", "astronaut", "rocket", "ihc", "hubble", "retina"),
    "val": ("coffee", "flower"),
    "test": ("motorcycle",),  # the left view alone: the right view shows the same scene
}
WEIGHTS = {
    "china": 0.22,
    "chelsea": 0.18,
    "astronaut": 0.25,
    "rocket": 0.20,
    "ihc": 0.05,
    "hubble": 0.05,
    "retina": 0.05,
}  # how often a crop is taken from each
JUDGED, BORDER = 48, 12  # pixels: only the middle of a tile is scored; no method sees beyond the border
TILE = JUDGED + 2 * BORDER
FLAT_DB = 45.0  # tiles on which plain interpolation of balanced light is better than this are left out
MIN_SIZE = 24


class Batch(NamedTuple):
    """Examples side by side."""

    mosaic_B1SS: Tensor  # what the sensor measured; only this field has noise, if any
    cfa_B3SS: Tensor  # 1 where a colour was measured, else 0
    target_B3SS: Tensor  # in the sensor's own scale
    gain_B3: Tensor  # target / gain is white-balanced light
    photograph_B: Tensor  # int64: number of the photograph in its split; -1 for a pattern
    pattern_B: Tensor  # int64: number of the scored pattern that a tile carries


def model_inputs(batch: Batch) -> tuple[Tensor, Tensor]:
    """The fields that a model may see: mosaic and colour filter."""
    return batch.mosaic_B1SS, batch.cfa_B3SS


class LinearPhotograph(NamedTuple):
    """One picture in white-balanced linear light."""

    name: str
    rgb_3HW: Tensor
    gain_3: Tensor | None  # of its own sensor; None where unknown: the task's gain is used
    weight: float  # how often a crop is taken from it


class Crop(NamedTuple):
    """A crop in balanced light, and what it was cut from."""

    rgb_3SS: Tensor
    gain_3: Tensor | None  # of its own sensor; None where unknown
    photograph: int  # number of the photograph in its split; -1: none


@dataclass(frozen=True)
class Augment:
    """How widely gains and exposure are drawn for a training crop before it is mosaiced, and the noise added after."""

    gain: float = 0.0  # exp(U(-gain, gain)) on each channel
    stops: float = 0.0  # 2^U(-stops, stops) of exposure
    read_noise: float = 0.0  # standard deviation
    shot_noise: float = 0.0  # variance at light 1


def load_photographs(split: Split, *, down: int, folder: str | None) -> tuple[LinearPhotograph, ...]:
    """The photographs of a split, in memory. Raises ValueError with what is wrong with a user's folder."""
    if folder is None:
        return _load_bundled(PHOTOGRAPHS[split], down)
    return _load_own(split_own_files(folder)[split], down)


def origins(split: Split, *, folder: str | None) -> set[str]:
    """Content hashes of the photographs of a split."""
    if folder is None:
        return {photographs.origin(name) for name in PHOTOGRAPHS[split]}
    return {sha256 for _, sha256 in split_own_files(folder)[split]}


# -- training --------------------------------------------------------------------------------------------------------
def random_crops(
    photographs: Sequence[LinearPhotograph],
    count: int,
    size: int,
    rng: torch.Generator,
    *,
    gain: Sequence[float],
    augment: Augment,
) -> Batch:
    """`count` random crops, flipped or turned, exposed and mosaiced. Without noise the mosaic's samples are exactly the
    target's. `gain` is for photographs whose own gain is unknown."""
    crops = [random_balanced_crop(photographs, size, rng) for _ in range(count)]
    return measured(crops, gain, rng, augment)


def measured(crops: Sequence[Crop], gain: Sequence[float], rng: torch.Generator, augment: Augment) -> Batch:
    """Crops as their sensors measure them; `gain` is for those whose own gain is unknown."""
    gain_B3 = torch.stack([torch.tensor(gain) if crop.gain_3 is None else crop.gain_3 for crop in crops])
    batch = simulate_sensor(torch.stack([crop.rgb_3SS for crop in crops]), gain_B3, rng, augment)
    return batch._replace(photograph_B=torch.tensor([crop.photograph for crop in crops]))


def random_balanced_crop(photographs: Sequence[LinearPhotograph], size: int, rng: torch.Generator) -> Crop:
    """A random crop of a random photograph."""
    weights = torch.tensor([photo.weight for photo in photographs])
    number = int(torch.multinomial(weights, 1, generator=rng))
    photo = photographs[number]
    return Crop(random_square(photo.rgb_3HW, size, rng), photo.gain_3, number)


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
        gain_B3 = gain_B3 * torch.exp(_symmetric((count, 3), augment.gain, rng))
    if augment.stops:
        rgb_B3SS = rgb_B3SS * 2 ** _symmetric((count, 1, 1, 1), augment.stops, rng)
    target = rgb_B3SS * per_channel(gain_B3)
    samples = cfa.mosaic(target)
    if augment.read_noise or augment.shot_noise:
        variance = augment.shot_noise * samples.clamp(min=0) + augment.read_noise**2
        samples = samples + variance.sqrt() * torch.randn(samples.shape, generator=rng)
    colours = cfa.masks(*target.shape[-2:]).expand(count, -1, -1, -1)
    unknown_B = torch.full((count,), -1)
    return Batch(samples, colours, target, gain_B3, unknown_B, torch.zeros_like(unknown_B))


# -- judgement -------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=8)
def tiles(split: Split, count: int, down: int, folder: str | None, gain: tuple[float, float, float]) -> Batch:
    """`count` tiles of the split's photographs, the same at every call, without noise.

    Raises ValueError where the photographs hold fewer tiles that do not overlap.
    """
    places = _places(split, down, folder)
    if len(places) < count:
        raise ValueError(
            f"xtrans: the {split} split holds {len(places)} tiles of {JUDGED} pixels that do not overlap "
            f"and are not flat; {count} were asked for: use more or larger photographs, or a smaller task.down"
        )
    order = torch.randperm(len(places), generator=generator("xtrans", split))[:count].tolist()
    chosen = [places[index] for index in order]
    rgb = torch.stack([photo.rgb_3HW[:, top : top + TILE, left : left + TILE] for photo, top, left in chosen])
    batch = simulate_sensor(rgb, torch.stack([_gain(photo, gain) for photo, _, _ in chosen]))
    names = [photo.name for photo in load_photographs(split, down=down, folder=folder)]
    photograph_B = torch.tensor([names.index(photo.name) for photo, _, _ in chosen])
    return batch._replace(photograph_B=photograph_B, pattern_B=torture.dealt(count))


def count_tiles(split: Split, down: int, folder: str | None) -> int:
    """How many tiles a split holds."""
    return len(_places(split, down, folder))


@lru_cache(maxsize=4)
def _places(split: Split, down: int, folder: str | None) -> tuple[tuple[LinearPhotograph, int, int], ...]:
    return tuple(
        (photo, top, left)
        for photo in load_photographs(split, down=down, folder=folder)
        for top, left in textured_tiles(photo.rgb_3HW)
    )


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


# -- photographs -----------------------------------------------------------------------------------------------------
def make_bundled(names: Sequence[str], down: int) -> dict[str, np.ndarray]:
    """The named photographs in linear light, shrunk."""
    return {name: area_mean(linear_from_srgb(photographs.srgb(name).double()), down).float().numpy() for name in names}


def make_own(own_files: Sequence[OwnFile], down: int) -> dict[str, np.ndarray]:
    """A user's files in linear light, shrunk, by their hashes, and the gains of raw files, as "gain of HASH".

    The hashes are there for the cache too: a file that was changed is read again.
    """
    arrays: dict[str, np.ndarray] = {}
    for path, sha256 in own_files:
        if is_raw(path):
            rgb_3HW, gain_3 = raf.develop(path, max(down, raf.DOWN))
            arrays[sha256] = rgb_3HW.numpy()
            arrays[f"gain of {sha256}"] = gain_3.numpy()
        else:
            light_3HW = linear_from_srgb(files.read_image(path).double())
            arrays[sha256] = area_mean(light_3HW, down).float().numpy()
    return arrays


def _gain(photo: LinearPhotograph, gain: Sequence[float]) -> Tensor:
    return torch.tensor(gain) if photo.gain_3 is None else photo.gain_3


@lru_cache(maxsize=6)
def _load_bundled(names: tuple[str, ...], down: int) -> tuple[LinearPhotograph, ...]:
    tensors = _load_once(make_bundled, names, down)
    return tuple(LinearPhotograph(name, tensors[name], None, WEIGHTS.get(name, 1.0)) for name in names)


@lru_cache(maxsize=6)
def _load_own(own_files: tuple[OwnFile, ...], down: int) -> tuple[LinearPhotograph, ...]:
    tensors = _load_once(make_own, own_files, down)
    return tuple(
        LinearPhotograph(path.name, _large_enough(path, tensors[sha256]), tensors.get(f"gain of {sha256}"), 1.0)
        for path, sha256 in own_files
    )


def _load_once(make: Callable[..., dict[str, np.ndarray]], *arguments: object) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(values)) for name, values in made_once(make, *arguments).items()}


def _large_enough(path: Path, rgb_3HW: Tensor) -> Tensor:
    if min(rgb_3HW.shape[1:]) < TILE:
        raise ValueError(
            f"{path}: after shrinking the picture must have at least {TILE} pixels a side; got "
            f"{rgb_3HW.shape[2]} x {rgb_3HW.shape[1]}"
        )
    return rgb_3HW


def _symmetric(shape: tuple[int, ...], reach: float, rng: torch.Generator | None) -> Tensor:
    """Uniform on [-reach, reach]."""
    return reach * (2 * torch.rand(shape, generator=rng) - 1)
