"""Photographs to protect, and the faces that the critics learn from.

By default they are the 100 small grey faces that ship inside scikit-image, enlarged and tinted, and the portrait of an
astronaut. With a user's folder they are the user's own photographs. Every photograph is used for one purpose: critics
learn from faces 0 to 59, validation uses faces 60 to 79, and test uses faces 80 to 99 and the astronaut.

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

from hpo import generator
from objectives.common import files, photographs
from objectives.common.colour import as_float, as_uint8
from objectives.common.crops import resized

Part = Literal["val", "test"]  # train has no photographs of its own: it uses these, with the other encoder
FACES_SHA256 = "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"
CRITICS_LEARN_FROM = range(60)
FACES: dict[Part, range] = {"val": range(60, 80), "test": range(80, 100)}
ASTRONAUT = (slice(20, 220), slice(120, 320))  # rows and columns of the face
MIN_SIZE = 32
TEST_SHARE = 0.5  # of a user's photographs


class Batch(NamedTuple):
    """Photographs side by side."""

    photo_B3SS: Tensor  # float32 in [0, 1]: the photograph to change
    reference_B3SS: Tensor  # the same photograph, which the changed one must look like and no longer match
    number_B: Tensor  # int64: the photograph's number in the model
    photograph_B: Tensor  # int64: equal where a photograph is repeated, which then has several numbers in the model


class Photographs(NamedTuple):
    """Photographs in memory."""

    rgb_N3SS: Tensor  # uint8
    names: tuple[str, ...]
    origins: tuple[str, ...]  # sha256 of what each was made from


def make_batch(photographs: Photographs, rows: Tensor, first: int) -> Batch:
    """Some of the photographs; `first` is the number of row 0 in the model."""
    photo = as_float(photographs.rgb_N3SS[rows])
    first_places = torch.tensor([photographs.origins.index(origin) for origin in photographs.origins])
    return Batch(photo, photo.clone(), rows + first, first_places[rows])


def load_shipped(part: Part, size: int, count: int) -> Photographs:
    """`count` photographs of a part. Raises ValueError for more than there are."""
    return _shipped(part, _checked_size(size), count)


def load_own(folder: str, part: Part, size: int, count: int) -> Photographs:
    """`count` of the user's photographs of a part. Where there are fewer, they repeat, each with its own start.

    Raises ValueError with what is wrong with the folder or a file in it.
    """
    paths = split_folder(folder)[part]
    return read_photographs(tuple(str(paths[index % len(paths)]) for index in range(count)), size)


def read_photographs(paths: tuple[str, ...], size: int) -> Photographs:
    """The photographs in files, each squeezed to a square as encoders do."""
    return _read(paths, _checked_size(size))


def split_folder(folder: str) -> dict[Part, list[Path]]:
    """A user's photographs by part.

    A hash of the content decides, so a new file moves no other file, and copies of a file are in one part.

    Raises ValueError where there are fewer than two different photographs.
    """
    by_hash: dict[str, Path] = {}
    for path in files.image_files(folder):
        by_hash.setdefault(files.content_hash([path]), path)
    if len(by_hash) < 2:
        raise ValueError(
            f"--data {folder} must hold at least 2 different photographs, one for validation and one for test; "
            f"got {len(by_hash)}"
        )
    ordered = sorted(by_hash)
    test_count = sum(int(sha256[:8], 16) < TEST_SHARE * 2**32 for sha256 in ordered)
    test_count = min(max(1, test_count), len(ordered) - 1)
    paths = [by_hash[sha256] for sha256 in ordered]
    return {"test": paths[:test_count], "val": paths[test_count:]}


def faces() -> Tensor:
    """The faces that ship inside scikit-image, grey_N1SS of 25 pixels a side in [0, 1]. Shared: do not change it.

    Raises ValueError where the file is missing or has another content.
    """
    return _faces()


@lru_cache(maxsize=1)
def _faces() -> Tensor:
    path = photographs.path_of("astronaut").parent / "lfw_subset.npy"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if sha256 != FACES_SHA256:
        raise ValueError(f"{path} must be scikit-image's, with sha256 {FACES_SHA256}; got {sha256}")
    return torch.from_numpy(np.load(path, allow_pickle=False)).float()[:100, None]


@lru_cache(maxsize=8)
def _shipped(part: Part, size: int, count: int) -> Photographs:
    available = len(FACES[part]) + (part == "test")
    if count > available:
        raise ValueError(f"cloak: at most {available} photographs ship for {part}; asked for {count}")
    squares: dict[str, Tensor] = {}
    if part == "test":
        squares["astronaut"] = resized(photographs.srgb("astronaut")[:, *ASTRONAUT], size)
    for index in FACES[part][: count - len(squares)]:
        squares[f"face {index}"] = _tinted(faces()[index], size, index)
    rgb_N3SS = as_uint8(torch.stack(list(squares.values())))
    origins = tuple(hashlib.sha256(rgb.numpy().tobytes()).hexdigest() for rgb in rgb_N3SS)
    return Photographs(rgb_N3SS, tuple(squares), origins)


def _tinted(grey_1SS: Tensor, size: int, index: int) -> Tensor:
    """A face enlarged, with more red than green and more green than blue."""
    green, blue = torch.rand(2, generator=generator("cloak", "tint", index)).tolist()
    tint = torch.tensor([1.0, 0.75 + 0.15 * green, 0.6 + 0.2 * blue])
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
