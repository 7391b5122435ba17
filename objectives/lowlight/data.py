"""Pairs of a dark picture and the bright picture of the same view.

By default they are cut from photographs that ship inside installed packages, and darkened by a model of a camera; with
a user's own folder they are cut from the user's pairs of files (pairs.py). A photograph, or a user's scene, belongs to
one split only: the photographs are split first, and cropped afterwards.

Shapes: N examples, B a batch, 3 RGB, S pixels a side. Values are sRGB-encoded, in [0, 1] or bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo import Split, generator, made_once
from objectives.common import files, photographs
from objectives.common.colour import as_float, as_uint8, linear_from_srgb, srgb_from_linear
from objectives.common.crops import random_square
from objectives.lowlight.pairs import Pair, Pairing, scene_numbers, split_pairs

EVERYDAY = ("coffee", "chelsea", "china", "rocket", "astronaut", "flower")  # held out two by two
ALWAYS_TRAIN = ("ihc", "retina", "hubble")  # no everyday scenes: they add colours and textures to training only
FOLDS = 15  # every pair of the six
SCALE = (0.35, 0.9)  # side of a crop over the side of the square of the photograph that it shows
MIN_SIZE = 32


class Batch(NamedTuple):
    """Examples, float32 in [0, 1]."""

    low_B3SS: Tensor  # the picture of the camera: 8 bits, dark and noisy
    high_B3SS: Tensor  # the same view in good light
    photograph_B: Tensor  # int64: number of the photograph, or of the user's scene, that the example was cut from


class Camera(NamedTuple):
    """The range of each parameter, drawn for each darkened picture; both ends may be equal."""

    stops: tuple[float, float] = (2.0, 4.5)  # the light is multiplied by 2^-stops
    gain: tuple[float, float] = (0.9, 1.1)  # of red and blue relative to green: a wrong white balance
    electrons: tuple[float, float] = (300.0, 3000.0)  # at full scale, log-uniform: shot noise
    read_noise: tuple[float, float] = (5e-4, 3e-3)  # standard deviation at full scale, log-uniform
    row_noise: float = 0.0  # standard deviation of a constant added to each row


CAMERA = Camera()


class Examples(NamedTuple):
    """All examples of a split, in memory, as bytes."""

    low_N3SS: Tensor
    high_N3SS: Tensor
    photograph_N: Tensor


def darken(high_N3SS: Tensor, rng: torch.Generator, camera: Camera = CAMERA) -> Tensor:
    """The pictures as a camera would take them in poor light, rounded to 8 bit.

    In linear light: lower exposure and unequal gains, then shot noise (Poisson) and read noise (Gaussian).
    """
    count = len(high_N3SS)
    stops = _uniform(camera.stops, count, rng)
    red_gain = _uniform(camera.gain, count, rng)
    blue_gain = _uniform(camera.gain, count, rng)
    gain = torch.stack([red_gain, torch.ones(count), blue_gain], 1)
    electrons = _log_uniform(camera.electrons, count, rng).view(-1, 1, 1, 1)
    sigma = _log_uniform(camera.read_noise, count, rng).view(-1, 1, 1, 1)
    light = linear_from_srgb(high_N3SS) * (2.0**-stops).view(-1, 1, 1, 1) * gain.view(-1, 3, 1, 1)
    light = torch.poisson(light * electrons, generator=rng) / electrons
    light = light + sigma * torch.randn(light.shape, generator=rng)
    if camera.row_noise:
        light = light + camera.row_noise * torch.randn((count, 1, light.shape[2], 1), generator=rng)
    return as_float(as_uint8(srgb_from_linear(light.clamp(0, 1))))


def mirrored(batch: Batch, rng: torch.Generator) -> Batch:
    """The batch with about half of its pairs mirrored, both pictures of a pair alike."""
    chosen = (torch.rand(len(batch.low_B3SS), generator=rng) < 0.5).view(-1, 1, 1, 1)
    low, high = (torch.where(chosen, field.flip(-1), field) for field in (batch.low_B3SS, batch.high_B3SS))
    return batch._replace(low_B3SS=low, high_B3SS=high)


def photographs_of(split: Split, fold: int) -> tuple[str, ...]:
    """Names of the photographs of a split: two for validation, two others for test, the rest for training.

    Fold 0 validates on coffee and chelsea and tests on china and rocket. Raises ValueError for an unknown fold.
    """
    if not 0 <= fold < FOLDS:
        raise ValueError(f"task.fold must be 0 to {FOLDS - 1}; got {fold!r}")
    pairs = list(combinations(EVERYDAY, 2))
    val = pairs[fold]
    test = next(pair for pair in pairs[fold + 1 :] + pairs if not set(pair) & set(val))
    if split == "train":
        return tuple(name for name in EVERYDAY if name not in val + test) + ALWAYS_TRAIN
    return val if split == "val" else test


def examples(split: Split, size: int, count: int, *, fold: int, folder: str | None, pairing: Pairing) -> Examples:
    """`count` examples of `size` pixels a side, the same at every call.

    Raises ValueError if the size is too small, and for whatever is wrong with a user's folder.
    """
    if size < MIN_SIZE:
        raise ValueError(f"lowlight: size must be at least {MIN_SIZE} pixels a side; got {size}")
    if folder is None:
        return _cached_examples(make_from_photographs, photographs_of(split, fold), split, size, count)
    return _cached_examples(make_from_pairs, split_pairs(folder, pairing).of(split), split, size, count)


def origins(split: Split, *, fold: int, folder: str | None, pairing: Pairing) -> set[str]:
    """Content hashes of the photographs, or of the user's bright files, that the examples of a split come from."""
    if folder is None:
        return {photographs.origin(name) for name in photographs_of(split, fold)}
    return {pair.high_sha256 for pair in split_pairs(folder, pairing).of(split)}


def make_from_photographs(names: Sequence[str], split: Split, size: int, count: int) -> dict[str, np.ndarray]:
    """Crops of the named photographs in turn, their darkened versions, and the numbers of their photographs.

    Bytes [N, 3, S, S] twice, and int64 [N].
    """
    rng = generator("lowlight", split)
    flip = split == "train"
    crops = [
        random_square(photographs.srgb(names[index % len(names)]), size, scale=SCALE, rng=rng, flip=flip)
        for index in range(count)
    ]
    high_N3SS = as_float(as_uint8(torch.stack(crops)))
    return {
        "low": as_uint8(darken(high_N3SS, rng)).numpy(),
        "high": as_uint8(high_N3SS).numpy(),
        "photograph": np.arange(count) % len(names),
    }


def make_from_pairs(pairs: Sequence[Pair], split: Split, size: int, count: int) -> dict[str, np.ndarray]:
    """Crops of the user's pairs in turn, at the same place in both files, and the numbers of their scenes.

    Bytes [N, 3, S, S] twice, and int64 [N].
    """
    rng = generator("lowlight", split)
    order = torch.randperm(len(pairs), generator=rng).tolist()
    low = np.empty((count, 3, size, size), np.uint8)
    high = np.empty((count, 3, size, size), np.uint8)
    scene = np.empty(count, np.int64)
    scenes = scene_numbers(pairs)
    for place, index in enumerate(order[:count]):  # each pair of files is decoded once
        both_6HW = _read_pair(pairs[index])
        scene[place :: len(pairs)] = scenes[index]
        for row in range(place, count, len(pairs)):
            crop = as_uint8(random_square(both_6HW, size, scale=SCALE, rng=rng)).numpy()
            low[row] = crop[:3]
            high[row] = crop[3:]
    return {"low": low, "high": high, "photograph": scene}


def _read_pair(pair: Pair) -> Tensor:
    """Both pictures of a pair, one behind the other, [6, H, W]."""
    low_3HW = files.read_image(pair.low)
    high_3HW = files.read_image(pair.high)
    if low_3HW.shape != high_3HW.shape:
        raise ValueError(
            f"{pair.low} and {pair.high} must have the same size; got "
            f"{tuple(low_3HW.shape[1:])} and {tuple(high_3HW.shape[1:])}"
        )
    return torch.cat([low_3HW, high_3HW])


@lru_cache(maxsize=6)
def _cached_examples(
    make: Callable[..., dict[str, np.ndarray]],
    sources: Sequence[Any],  # names of photographs, or the user's pairs
    split: Split,
    size: int,
    count: int,
) -> Examples:
    arrays = made_once(make, sources, split, size, count)
    return Examples(*(torch.from_numpy(np.array(arrays[name])) for name in ("low", "high", "photograph")))


def _uniform(bounds: tuple[float, float], count: int, rng: torch.Generator) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, generator=rng)


def _log_uniform(bounds: tuple[float, float], count: int, rng: torch.Generator) -> Tensor:
    low, high = (float(np.log(bound)) for bound in bounds)
    return torch.exp(_uniform((low, high), count, rng))
