"""Pairs of a dark picture and the bright picture of the same view.

By default they are cut from the views of scenes (scenes.py) and darkened by a model of a camera (camera.py); with a
user's own folder they are cut from the user's pairs of files (pairs.py). A scene belongs to one split only: the scenes
are split first, and cropped afterwards.

Shapes: N examples, B a batch, 3 RGB, S pixels a side. Pictures are sRGB-encoded, in [0, 1] or bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo import Split, generator, made_once
from objectives.common import files
from objectives.common.colour import as_float, as_uint8, srgb_from_linear
from objectives.common.crops import random_square
from objectives.common.scenes import origin
from objectives.lowlight.camera import darken
from objectives.lowlight.pairs import Pair, Pairing, scene_numbers, split_pairs
from objectives.lowlight.scenes import NUMBERS, scenes_of, views

SCALE = (0.35, 0.9)  # side of a crop over the side of the square of the view that it shows
MIN_SIZE = 32


class Batch(NamedTuple):
    """Examples, float32 in [0, 1]."""

    low_B3SS: Tensor  # the picture of the camera: 8 bits, dark and noisy
    high_B3SS: Tensor  # the same view in good light
    scene_B: Tensor  # int64: number of the scene that the example was cut from


class Crops(NamedTuple):
    """Examples as bytes: arrays on disk, which every worker maps into its memory."""

    low_N3SS: np.ndarray
    high_N3SS: np.ndarray
    scene_N: np.ndarray


@dataclass(frozen=True)
class Examples:
    """The examples of a split, `count` of them: those of a scene each, in turn, or all of a user's pairs."""

    sources: tuple[Crops, ...]
    count: int

    def batch(self, rows: Sequence[int]) -> Batch:
        """The examples with these numbers."""
        places = [(self.sources[row % len(self.sources)], row // len(self.sources)) for row in rows]
        low = torch.from_numpy(np.stack([crops.low_N3SS[place] for crops, place in places]))
        high = torch.from_numpy(np.stack([crops.high_N3SS[place] for crops, place in places]))
        scene = torch.tensor([int(crops.scene_N[place]) for crops, place in places])
        return Batch(as_float(low), as_float(high), scene)


def mirrored(batch: Batch, rng: torch.Generator) -> Batch:
    """The batch with about half of its pairs mirrored, both pictures of a pair alike."""
    chosen = (torch.rand(len(batch.low_B3SS), generator=rng) < 0.5).view(-1, 1, 1, 1)
    low, high = (torch.where(chosen, field.flip(-1), field) for field in (batch.low_B3SS, batch.high_B3SS))
    return batch._replace(low_B3SS=low, high_B3SS=high)


def examples(split: Split, size: int, count: int, *, fold: int, folder: str | None, pairing: Pairing) -> Examples:
    """`count` examples of `size` pixels a side, the same at every call.

    Raises ValueError if the size is too small, where a scene is not installed, and for whatever is wrong with a user's
    folder.
    """
    if size < MIN_SIZE:
        raise ValueError(f"lowlight: size must be at least {MIN_SIZE} pixels a side; got {size}")
    if folder is not None:
        pairs = split_pairs(folder, pairing).of(split)
        return Examples((_from_pairs(pairs, split, size, count),), count)
    names = scenes_of(split, fold)
    each = -(-count // len(names))
    return Examples(tuple(_from_scene(name, split, size, each) for name in names), count)


def origins(split: Split, *, fold: int, folder: str | None, pairing: Pairing) -> set[str]:
    """Content hashes of the scenes, or of the user's bright files, that the examples of a split come from."""
    if folder is None:
        return {origin(name) for name in scenes_of(split, fold)}
    return {pair.high_sha256 for pair in split_pairs(folder, pairing).of(split)}


def make_from_scene(name: str, split: Split, size: int, count: int) -> dict[str, np.ndarray]:
    """Crops of the views of a scene in turn, bright and darkened: bytes [N, 3, S, S] twice."""
    rng = generator("lowlight", split, name)
    shown = views(name)
    light_N3SS = torch.stack(
        [random_square(shown[index % len(shown)], size, scale=SCALE, rng=rng) for index in range(count)]
    )
    return {
        "low": as_uint8(darken(light_N3SS, rng)).numpy(),
        "high": as_uint8(srgb_from_linear(light_N3SS.clamp(0, 1))).numpy(),
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
        both_6HW = read_pair(pairs[index])
        scene[place :: len(pairs)] = scenes[index]
        for row in range(place, count, len(pairs)):
            crop = as_uint8(random_square(both_6HW, size, scale=SCALE, rng=rng)).numpy()
            low[row] = crop[:3]
            high[row] = crop[3:]
    return {"low": low, "high": high, "scene": scene}


def read_pair(pair: Pair) -> Tensor:
    """Both pictures of a pair, one behind the other, [6, H, W]. Raises ValueError where their sizes differ."""
    low_3HW = files.read_image(pair.low)
    high_3HW = files.read_image(pair.high)
    if low_3HW.shape != high_3HW.shape:
        raise ValueError(
            f"{pair.low} and {pair.high} must have the same size; got "
            f"{tuple(low_3HW.shape[1:])} and {tuple(high_3HW.shape[1:])}"
        )
    return torch.cat([low_3HW, high_3HW])


@lru_cache(maxsize=64)
def _from_scene(name: str, split: Split, size: int, count: int) -> Crops:
    arrays = made_once(make_from_scene, name, split, size, count)
    return Crops(arrays["low"], arrays["high"], np.full(count, NUMBERS[name]))


@lru_cache(maxsize=6)
def _from_pairs(pairs: Sequence[Pair], split: Split, size: int, count: int) -> Crops:
    arrays = made_once(make_from_pairs, pairs, split, size, count)
    return Crops(arrays["low"], arrays["high"], arrays["scene"])
