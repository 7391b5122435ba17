"""Photographs to protect, and the faces that the critics learn from.

By default they are the 100 small grey faces that ship inside scikit-image, enlarged and tinted, and the portrait of an
astronaut; with a user's folder they are the user's own photographs. Every photograph belongs to one part only:
the critics learn from faces 0 to 59, settings are chosen on faces 60 to 79, the verdict is given on faces 80 to 99 and
the astronaut.

Shapes: N photographs, B of a batch, 3 RGB, S pixels a side.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpo.seeds import generator
from objectives.common import files, photographs
from objectives.common.colour import as_float, as_uint8
from objectives.common.crops import resized

Part = Literal["val", "test"]  # train is no part of its own: it is these photographs, seen by the other critic
FACES_SHA256 = "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"
CRITICS_LEARN_FROM = range(60)
FACES: dict[Part, range] = {"val": range(60, 80), "test": range(80, 100)}
ASTRONAUT = (slice(20, 220), slice(120, 320))  # rows and columns of the face
MIN_SIZE = 32
TEST_SHARE = 0.5  # of a user's photographs


class Batch(NamedTuple):
    """Photographs side by side."""

    photo_B3SS: Tensor  # float32 in [0, 1]: what is changed
    reference_B3SS: Tensor  # the same photograph: whom it must no longer match, and what it must go on looking like
    number_B: Tensor  # int64: which of the model's parameters are this photograph's


class Photographs(NamedTuple):
    """A part's photographs, resident: bytes, with what each is called and the sha256 of what it was made of."""

    rgb_N3SS: Tensor
    names: tuple[str, ...]
    origins: tuple[str, ...]


def batch_of(found: Photographs, rows: Tensor, first: int) -> Batch:
    """Rows of a part; `first` is the number of its row 0 in the model."""
    photo = as_float(found.rgb_N3SS[rows])
    return Batch(photo, photo.clone(), rows + first)


def shipped(part: Part, size: int, count: int) -> Photographs:
    """`count` photographs of a part. Raises ValueError for more than there are."""
    return _shipped(part, _checked_size(size), count)


def own(folder: str, part: Part, size: int, count: int) -> Photographs:
    """`count` of the user's photographs of a part, in turn: one that comes again gets other starting values.

    Raises ValueError with what is wrong with the folder or a file in it.
    """
    paths = split_folder(folder)[part]
    return read(tuple(str(paths[index % len(paths)]) for index in range(count)), size)


def read(paths: tuple[str, ...], size: int) -> Photographs:
    """Files of photographs, each squeezed to a square as an encoder squeezes it."""
    return _read(paths, _checked_size(size))


def split_folder(folder: str) -> dict[Part, list[Path]]:
    """A user's photographs by part, by a hash of their content: a new file moves no other, and copies stay together.

    Raises ValueError where there are fewer than two different photographs.
    """
    by_hash: dict[str, Path] = {}
    for path in files.image_files(folder):
        by_hash.setdefault(files.content_hash([path]), path)
    if len(by_hash) < 2:
        raise ValueError(
            f"--data {folder} must hold at least 2 different photographs, one to choose settings by and "
            f"one to judge them on; found {len(by_hash)}"
        )
    ordered = sorted(by_hash)
    low = sum(int(key[:8], 16) < TEST_SHARE * 2**32 for key in ordered)
    low = min(max(1, low), len(ordered) - 1)
    return {"test": [by_hash[key] for key in ordered[:low]], "val": [by_hash[key] for key in ordered[low:]]}


def faces() -> Tensor:
    """The faces that ship inside scikit-image, grey_N1SS of 25 pixels a side in [0, 1]. Shared: do not change it.

    Raises ValueError where the file is not the one that is pinned.
    """
    return _faces()


@lru_cache(maxsize=1)
def _faces() -> Tensor:
    path = photographs.path_of("astronaut").parent / "lfw_subset.npy"
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != FACES_SHA256:
        raise ValueError(f"{path} must be scikit-image's, with sha256 {FACES_SHA256}; got {found}")
    return torch.from_numpy(np.load(path, allow_pickle=False)).float()[:100, None]


@lru_cache(maxsize=8)
def _shipped(part: Part, size: int, count: int) -> Photographs:
    most = len(FACES[part]) + (part == "test")
    if count > most:
        raise ValueError(f"cloak: at most {most} photographs ship for {part}; asked for {count}")
    made = {"astronaut": resized(photographs.srgb("astronaut")[:, *ASTRONAUT], size)} if part == "test" else {}
    for index in FACES[part][: count - len(made)]:
        made[f"face {index}"] = _tinted(faces()[index], size, index)
    rgb_N3SS = as_uint8(torch.stack(list(made.values())))
    origins = tuple(hashlib.sha256(rgb.numpy().tobytes()).hexdigest() for rgb in rgb_N3SS)
    return Photographs(rgb_N3SS, tuple(made), origins)


def _tinted(grey_1SS: Tensor, size: int, index: int) -> Tensor:
    """A face enlarged, with more red than green and more green than blue."""
    less = torch.rand(2, generator=generator("cloak", "tint", index))
    tint = torch.tensor([1.0, 0.75 + 0.15 * float(less[0]), 0.6 + 0.2 * float(less[1])])
    large = F.interpolate(grey_1SS[None], (size, size), mode="bicubic", align_corners=False)[0]
    return (large * tint.view(3, 1, 1)).clamp(0, 1)


@lru_cache(maxsize=4)
def _read(paths: tuple[str, ...], size: int) -> Photographs:
    squares = {path: as_uint8(resized(files.read_image(path), size)) for path in dict.fromkeys(paths)}
    hashes = {path: files.content_hash([Path(path)]) for path in squares}
    return Photographs(
        torch.stack([squares[path] for path in paths]),
        tuple(Path(path).name for path in paths),
        tuple(hashes[path] for path in paths),
    )


def _checked_size(size: int) -> int:
    if size < MIN_SIZE:
        raise ValueError(f"cloak: size must be at least {MIN_SIZE} pixels a side; got {size}")
    return size
