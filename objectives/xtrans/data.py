"""What is learned from: linear photographs, seen through the colour filter.

A photograph is made linear and shrunk by area mean, which removes the traces that its own camera's demosaicing and JPEG
left: at full size and at the same phase a network would only learn that demosaicer. By default photographs that ship
inside installed packages; with a user's own folder its raw files, which a classical demosaicer opens, or pictures.

Training crops begin anywhere, are flipped and turned, and only then mosaiced, always at phase (0, 0). Validation and
test are fixed tiles that do not overlap where they are judged. A photograph belongs to one split only.

Shapes: B batch, 3 RGB, S pixels a side, H, W pixels. Light is linear, 1 is the sensor's white; more than 1 is kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo.cache import made_once
from hpo.seeds import generator
from hpo.task import Split
from objectives.common import files, photographs
from objectives.common.colour import linear_from_srgb
from objectives.xtrans import cfa, raf
from objectives.xtrans.light import area_mean, spread
from objectives.xtrans.model import interpolated

PHOTOGRAPHS: dict[Split, tuple[str, ...]] = {
    "train": ("china", "chelsea", "astronaut", "rocket", "ihc", "hubble", "retina"),
    "val": ("coffee", "flower"),
    "test": ("motorcycle",),  # the left view alone: the right one shows the same scene
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
JUDGED, BORDER = 48, 12  # pixels: a tile is judged in its middle; no method sees past the border
TILE = JUDGED + 2 * BORDER
FLAT_DB = 45.0  # a tile where plain interpolation of balanced light is better than this is not judged
MIN_SIZE = 24
HELD_OUT = 0.2  # of a user's files, about, for val and again for test


class Batch(NamedTuple):
    """Examples side by side."""

    mosaic_B1SS: Tensor  # what the sensor saw; noise, if any, is in it alone
    cfa_B3SS: Tensor  # 1 where a colour was seen, else 0
    target_B3SS: Tensor  # in the sensor's own scale
    gain_B3: Tensor  # divides the target into white-balanced light


class Photograph(NamedTuple):
    """One picture in white-balanced light."""

    name: str
    rgb_3HW: Tensor
    gain_3: Tensor | None  # how its own sensor saw it; None: unknown, and the task's is taken
    weight: float  # how often a crop is taken from it


@dataclass(frozen=True)
class Augment:
    """What is drawn for each training crop before it is mosaiced, and its noise after that."""

    gain: float = 0.0  # exp(U(-gain, gain)) on each channel
    stops: float = 0.0  # 2^U(-stops, stops) of exposure
    read_noise: float = 0.0  # standard deviation
    shot_noise: float = 0.0  # variance at light 1


def photos(split: Split, *, down: int, folder: str | None) -> tuple[Photograph, ...]:
    """The photographs of a split, resident. Raises ValueError naming what is wrong with a user's folder."""
    if folder is None:
        return _resident(make_bundled, PHOTOGRAPHS[split], down)
    return _resident(make_own, own_files(folder)[split], down)


def origins(split: Split, *, folder: str | None) -> set[str]:
    """Content hashes of the photographs of a split."""
    if folder is None:
        return {photographs.origin(name) for name in PHOTOGRAPHS[split]}
    return {sha256 for _, sha256 in own_files(folder)[split]}


# -- training --------------------------------------------------------------------------------------------------------
def crops(
    of: Sequence[Photograph], count: int, size: int, rng: torch.Generator, *, gain: Sequence[float], augment: Augment
) -> Batch:
    """`count` random crops, moved, exposed and mosaiced: the samples of the mosaic are the target's, but for noise."""
    made = [balanced_crop(of, size, rng) for _ in range(count)]
    gain_B3 = torch.stack([torch.tensor(gain) if own is None else own for _, own in made])
    return seen_through(torch.stack([rgb for rgb, _ in made]), gain_B3, rng, augment)


def balanced_crop(of: Sequence[Photograph], size: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """A random crop in balanced light, and the gains of its own sensor, if they are known."""
    weights = torch.tensor([photo.weight for photo in of])
    photo = of[int(torch.multinomial(weights, 1, generator=rng))]
    return crop(photo.rgb_3HW, size, rng), photo.gain_3


def crop(rgb_3HW: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """A square that begins anywhere, in one of the eight positions of a square."""
    down, across, move = torch.rand(3, generator=rng, dtype=torch.float64).tolist()
    top, left = (int(share * (side - size + 1)) for share, side in zip((down, across), rgb_3HW.shape[1:], strict=True))
    square = rgb_3HW[:, top : top + size, left : left + size]
    return list(cfa.MOVES.values())[int(move * len(cfa.MOVES))](square)


def seen_through(
    rgb_B3SS: Tensor, gain_B3: Tensor, rng: torch.Generator | None = None, augment: Augment | None = None
) -> Batch:
    """Balanced light as a sensor of these gains sees it. The augmentation changes the light before it is mosaiced."""
    augment = augment or Augment()
    count = len(rgb_B3SS)
    if augment.gain:
        gain_B3 = gain_B3 * torch.exp(_symmetric((count, 3), augment.gain, rng))
    if augment.stops:
        rgb_B3SS = rgb_B3SS * 2 ** _symmetric((count, 1, 1, 1), augment.stops, rng)
    target = rgb_B3SS * spread(gain_B3)
    samples = cfa.mosaic(target)
    if augment.read_noise or augment.shot_noise:
        variance = augment.shot_noise * samples.clamp(min=0) + augment.read_noise**2
        samples = samples + variance.sqrt() * torch.randn(samples.shape, generator=rng)
    colours = cfa.masks(*target.shape[-2:]).expand(count, -1, -1, -1)
    return Batch(samples, colours, target, gain_B3)


# -- judgement -------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=8)
def tiles(split: Split, count: int, down: int, folder: str | None, gain: tuple[float, float, float]) -> Batch:
    """`count` tiles of the split's photographs, the same at every call, without noise. Raises ValueError where the
    photographs hold fewer that do not overlap."""
    places = _places(split, down, folder)
    if len(places) < count:
        raise ValueError(
            f"xtrans: the {split} split holds {len(places)} tiles of {JUDGED} pixels that do not overlap "
            f"and are not flat; {count} were asked for: more or larger photographs, or a smaller "
            "task.down"
        )
    order = torch.randperm(len(places), generator=generator("xtrans", split))[:count].tolist()
    chosen = [places[index] for index in order]
    rgb = torch.stack([photo.rgb_3HW[:, top : top + TILE, left : left + TILE] for photo, top, left in chosen])
    return seen_through(rgb, torch.stack([_gain(photo, gain) for photo, _, _ in chosen]))


def room(split: Split, down: int, folder: str | None) -> int:
    """How many tiles a split holds."""
    return len(_places(split, down, folder))


@lru_cache(maxsize=4)
def _places(split: Split, down: int, folder: str | None) -> tuple[tuple[Photograph, int, int], ...]:
    return tuple(
        (photo, top, left) for photo in photos(split, down=down, folder=folder) for top, left in busy(photo.rgb_3HW)
    )


def busy(rgb_3HW: Tensor) -> Iterator[tuple[int, int]]:
    """Where tiles begin that say something: in flat light plain interpolation is right to FLAT_DB and more already,
    and a mean of decibels would be made of the noise there."""
    whole = rgb_3HW[None]
    plain = interpolated(cfa.mosaic(whole), cfa.masks(*rgb_3HW.shape[1:])[None], "nc")
    error_HW = (plain - whole)[0].square().mean(0)
    for top in range(0, rgb_3HW.shape[1] - TILE + 1, JUDGED):
        for left in range(0, rgb_3HW.shape[2] - TILE + 1, JUDGED):
            middle = error_HW[top + BORDER : top + BORDER + JUDGED, left + BORDER : left + BORDER + JUDGED]
            if -10 * math.log10(max(1e-12, float(middle.mean()))) < FLAT_DB:
                yield top, left


# -- photographs -----------------------------------------------------------------------------------------------------
def make_bundled(names: Sequence[str], down: int, source: str) -> dict[str, np.ndarray]:
    """The named photographs in linear light, shrunk."""
    del source  # part of the cache's key: other code, other data
    return {name: area_mean(linear_from_srgb(photographs.srgb(name).double()), down).float().numpy() for name in names}


def make_own(of: Sequence[tuple[Path, str]], down: int, source: str) -> dict[str, np.ndarray]:
    """A user's files in linear light, shrunk, and the gains of raw files, as "gain of NAME"."""
    del source
    made: dict[str, np.ndarray] = {}
    for path, _ in of:
        if path.suffix.lower() in raf.SUFFIXES:
            rgb_3HW, gain_3 = raf.developed(path, max(down, raf.DOWN))
            made[path.name], made[f"gain of {path.name}"] = rgb_3HW.numpy(), gain_3.numpy()
        else:
            made[path.name] = area_mean(linear_from_srgb(files.read_image(path).double()), down).float().numpy()
    return made


@lru_cache(maxsize=4)
def own_files(folder: str) -> dict[Split, tuple[tuple[Path, str], ...]]:
    """A user's raw files and pictures by split, with the hashes of their content, which decide: a new file moves no
    other, unless there are so few that a split would be empty. Raises ValueError where fewer than three differ."""
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"--data {folder} must be a folder; it is not")
    suffixes = raf.SUFFIXES | files.SUFFIXES
    found = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for path in sorted(root.iterdir())
        if path.suffix.lower() in suffixes and path.is_file()
    }
    if len(found) < 3:
        raise ValueError(
            f"--data {folder} must hold at least 3 different files, for train, val and test, that end in "
            f"{', '.join(sorted(suffixes))}; got {len(found)}"
        )
    order = [(found[sha256], sha256) for sha256 in sorted(found)]
    val, test = (sum(int(sha256[:8], 16) < share * 16**8 for sha256 in found) for share in (HELD_OUT, 2 * HELD_OUT))
    if not 0 < val < test < len(order):
        val = max(1, round(HELD_OUT * len(order)))
        test = 2 * val
    return {"val": tuple(order[:val]), "test": tuple(order[val:test]), "train": tuple(order[test:])}


def _gain(photo: Photograph, gain: Sequence[float]) -> Tensor:
    return torch.tensor(gain) if photo.gain_3 is None else photo.gain_3


@lru_cache(maxsize=6)
def _resident(make, of: Sequence, down: int) -> tuple[Photograph, ...]:
    code = content_hash_of("data", "light", "raf", "dng")
    made = {name: torch.from_numpy(np.array(value)) for name, value in made_once(make, of, down, code).items()}
    if make is make_bundled:
        return tuple(Photograph(name, made[name], None, WEIGHTS.get(name, 1.0)) for name in of)
    return tuple(
        Photograph(path.name, _large_enough(path, made[path.name]), made.get(f"gain of {path.name}"), 1.0)
        for path, _ in of
    )


def _large_enough(path: Path, rgb_3HW: Tensor) -> Tensor:
    if min(rgb_3HW.shape[1:]) < TILE:
        raise ValueError(
            f"{path}: after shrinking the picture must have at least {TILE} pixels a side; got "
            f"{rgb_3HW.shape[2]} x {rgb_3HW.shape[1]}"
        )
    return rgb_3HW


def _symmetric(shape: tuple[int, ...], reach: float, rng: torch.Generator | None) -> Tensor:
    return reach * (2 * torch.rand(shape, generator=rng) - 1)


@lru_cache(maxsize=4)
def content_hash_of(*names: str) -> str:
    """Hash of code that makes data: changing it makes the data anew."""
    here = Path(__file__).parent
    common = (here.parent / "common" / f"{name}.py" for name in ("colour", "files"))
    return files.content_hash([*(here / f"{name}.py" for name in names), *common])
