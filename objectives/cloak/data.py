"""Photographs to change, and the faces that `tinyface` learns from.

By default they are the 100 small grey faces that ship inside scikit-image, enlarged and tinted, and the portrait of an
astronaut. `tinyface` learns from faces 0 to 59, validation uses faces 60 to 79, and test uses faces 80 to 99 and the
astronaut. With a user's folder they are the user's own photographs; see own.py.

Shapes: N photographs, B of a batch, 3 RGB, S pixels a side of a frame.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpo import generator
from objectives.cloak.faces import Framed, framed, region_around, the_face
from objectives.common import photographs
from objectives.common.colour import as_float, as_uint8
from objectives.common.crops import resized
from objectives.common.packaged import PackagedFile

Part = Literal["val", "test"]  # train has no photographs of its own: it uses these, with the other encoder
FACES_FILE = PackagedFile(
    "skimage",
    "data/lfw_subset.npy",
    "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c",
    "no licence stated: read it where it is installed, do not redistribute",
)
CRITICS_LEARN_FROM = range(60)
FACES: dict[Part, range] = {"val": range(60, 80), "test": range(80, 100)}
ASTRONAUT = (slice(20, 220), slice(120, 320))  # rows and columns of the face
MIN_SIZE = 32
ENLARGED = 160  # pixels a side of a shipped face, from 25, where a detector is to find it


class Batch(NamedTuple):
    """Photographs side by side."""

    photo_B3SS: Tensor  # float32 in [0, 1]: the frame to change
    reference_B3SS: Tensor  # the same frame, which the changed one must look like and no longer match
    points_B52: Tensor  # the face's five points in the frame, x and y in pixels; 0 where no faces are looked for
    number_B: Tensor  # int64: the photograph's number in the model
    person_B: Tensor  # int64: equal where photographs stand for one independent example


@dataclass(frozen=True, eq=False)
class Photographs:
    """Photographs in memory. The loaders give the same object for the same request, which caches can use as a key."""

    rgb_N3SS: Tensor  # uint8
    points_N52: Tensor
    names: tuple[str, ...]
    origins: tuple[str, ...]  # sha256 of what each was made from
    persons: tuple[str, ...]  # who is on each; a site that knows one photograph of a person may know the others
    independent: tuple[str, ...]  # equal for photographs that intervals count as one: those of a person, or copies


def make_batch(photographs: Photographs, rows: Tensor, first: int) -> Batch:
    """Some of the photographs; `first` is the number of row 0 in the model."""
    photo = as_float(photographs.rgb_N3SS[rows])
    first_places = torch.tensor([photographs.independent.index(label) for label in photographs.independent])
    return Batch(photo, photo.clone(), photographs.points_N52[rows], rows + first, first_places[rows])


@lru_cache(maxsize=4)
def joined(*parts: Photographs) -> Photographs:
    """The photographs of several parts, one after another."""
    return Photographs(
        torch.cat([part.rgb_N3SS for part in parts]),
        torch.cat([part.points_N52 for part in parts]),
        tuple(name for part in parts for name in part.names),
        tuple(origin for part in parts for origin in part.origins),
        tuple(person for part in parts for person in part.persons),
        tuple(label for part in parts for label in part.independent),
    )


def load_shipped(part: Part, size: int, count: int, *, with_faces: bool = False) -> Photographs:
    """`count` photographs of a part, each of another person: whole, or framed around the face.

    Raises ValueError for more than there are.
    """
    return _shipped(part, checked_size(size), count, with_faces)


def faces() -> Tensor:
    """The faces that ship inside scikit-image, grey_N1SS of 25 pixels a side in [0, 1]. Shared: do not change it.

    Raises ValueError where the file is missing or has another content.
    """
    return _faces()


@lru_cache(maxsize=1)
def _faces() -> Tensor:
    path = FACES_FILE.checked("the faces of scikit-image")
    return torch.from_numpy(np.load(path, allow_pickle=False)).float()[:100, None]


@lru_cache(maxsize=8)
def _shipped(part: Part, size: int, count: int, with_faces: bool) -> Photographs:
    available = len(FACES[part]) + (part == "test")
    if count > available:
        raise ValueError(f"cloak: at most {available} photographs ship for {part}; asked for {count}")
    side = ENLARGED if with_faces else size
    squares: dict[str, Tensor] = {}
    if part == "test":
        astronaut = photographs.srgb("astronaut")
        squares["astronaut"] = astronaut if with_faces else resized(astronaut[:, *ASTRONAUT], size)
    for index in FACES[part][: count - len(squares)]:
        squares[f"face {index}"] = _tinted(faces()[index], side, index)
    points_N52 = torch.zeros(len(squares), 5, 2)
    if with_faces:
        frames = [frame_of(the_face(photo, name).points_52, photo, size) for name, photo in squares.items()]
        squares = dict(zip(squares, (frame.rgb_3SS for frame in frames), strict=True))
        points_N52 = torch.stack([frame.points_52 for frame in frames])
    rgb_N3SS = as_uint8(torch.stack(list(squares.values())))
    origins = tuple(hashlib.sha256(rgb.numpy().tobytes()).hexdigest() for rgb in rgb_N3SS)
    return Photographs(rgb_N3SS, points_N52, tuple(squares), origins, persons=origins, independent=origins)


def frame_of(points_52: Tensor, photo_3HW: Tensor, size: int) -> Framed:
    """The frame around the face with these points, at `size` pixels a side."""
    region = region_around(points_52, *photo_3HW.shape[-2:])
    return framed(photo_3HW, region, points_52, size)


def _tinted(grey_1SS: Tensor, size: int, index: int) -> Tensor:
    """A face enlarged, with more red than green and more green than blue."""
    green, blue = torch.rand(2, generator=generator("cloak", "tint", index)).tolist()
    tint = torch.tensor([1.0, 0.75 + 0.15 * green, 0.6 + 0.2 * blue])
    large = F.interpolate(grey_1SS[None], (size, size), mode="bicubic", align_corners=False)[0]
    return (large * tint.view(3, 1, 1)).clamp(0, 1)


def checked_size(size: int) -> int:
    """The size itself. Raises ValueError where it is too small."""
    if size < MIN_SIZE:
        raise ValueError(f"cloak: size must be at least {MIN_SIZE} pixels a side; got {size}")
    return size
