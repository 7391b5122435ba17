"""Frames with holes, and what is to be seen there.

By default they are made of photographs that ship inside installed packages (scenes.py); with a user's own folder they
are patches of its frames (frames.py). A photograph, or a block of a user's frames, belongs to one split only.

Shapes: N examples, B a batch, 3 RGB, S pixels a side. Light is linear and at least 0.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from objectives.hdr import frames, scenes
from objectives.hdr.fill import filled

PHOTOGRAPHS: dict[Split, tuple[str, ...]] = {
    "train": ("astronaut", "flower", "hubble", "ihc", "retina"),
    "val": ("coffee", "china"),
    "test": ("chelsea", "rocket"),
}
EPS = 1e-3  # added to light before its logarithm: part of what is measured, never searched
MIN_SIZE = 32
HOLE_SHARE = 0.005  # a patch of a user's frame is kept at once if it has this share of holes
TRIES = 8


class Batch(NamedTuple):
    """Examples side by side."""

    warped_B3SS: Tensor  # light thrown forward from the frame before; 0 in holes
    hole_B1SS: Tensor  # 1 in holes, else 0
    occluder_B1SS: Tensor  # 1 where the foreground landed; all 0 where no layers are known
    motion_B2SS: Tensor  # of each pixel, less the mean, in 8 pixels; 0 in holes and where none is known
    base_log_B3SS: Tensor  # log(warped + EPS) with its holes filled
    target_B3SS: Tensor  # light that was rendered


class Examples(NamedTuple):
    """A split's examples, resident; the fields are those of a batch."""

    warped: Tensor
    hole: Tensor  # bool
    occluder: Tensor  # bool
    motion: Tensor
    base_log: Tensor
    target: Tensor


def examples(split: Split, size: int, count: int, *, base: str, folder: str | None) -> Examples:
    """`count` examples of `size` pixels a side, the same at every call. Raises ValueError naming what is wrong with
    the size or with a user's folder."""
    if size < MIN_SIZE:
        raise ValueError(f"hdr: size must be at least {MIN_SIZE} pixels a side; got {size}")
    if folder is None:
        return _resident(scenes.make, PHOTOGRAPHS[split], split, size, count, base)
    return _resident(make_from_frames, frames.sequence(folder).of(split), split, size, count, base)


def origins(split: Split, *, folder: str | None) -> set[str]:
    """Content hashes of the photographs, or of the user's rendered frames, that a split is cut from."""
    if folder is None:
        return {photographs.origin(name) for name in PHOTOGRAPHS[split]}
    return {frame.ref_sha256 for frame in frames.sequence(folder).of(split)}


def log_light(light: Tensor) -> Tensor:
    return torch.log(light.clamp(min=0) + EPS)


def assembled(made: dict[str, np.ndarray], base: str) -> Examples:
    """Frames with their holes filled by the named method."""
    warped, hole, occluder, motion, target = (torch.from_numpy(np.array(made[name])) for name in scenes.Frame._fields)
    base_log = torch.cat(
        [filled(base, log_light(light), ~holes) for light, holes in zip(warped.split(64), hole.split(64), strict=True)]
    )
    return Examples(warped, hole, occluder, motion, base_log, target)


def make_from_frames(
    of: Sequence[frames.Files], split: Split, size: int, count: int, source: str
) -> dict[str, np.ndarray]:
    """`count` patches of the user's frames in turn. No layers and no motion are known: those fields are 0."""
    del source
    rng = generator("hdr", split)
    order = torch.randperm(len(of), generator=rng).tolist()
    made = {
        name: np.zeros((count, channels, size, size), np.float32 if channels > 1 else bool)
        for name, channels in zip(scenes.Frame._fields, (3, 1, 1, 2, 3), strict=True)
    }
    for place, index in enumerate(order[:count]):  # each frame is decoded once
        frame = of[index]
        sight = frames.look(frame.warp, frame.hole, frame.ref)
        for row in range(place, count, len(of)):
            window = _window(sight.hole_1HW, size, rng, frame.hole)
            for name, image in zip(("warped_3SS", "hole_1SS", "target_3SS"), sight[:3], strict=True):
                made[name][row] = image[(slice(None), *window)].numpy()
    return made


def _window(hole_1HW: Tensor, size: int, rng: torch.Generator, path: Path) -> tuple[slice, slice]:
    """A random square that shows holes: the first of a few tries with enough of them, else the one with most."""
    height, width = hole_1HW.shape[1:]
    if min(height, width) < size:
        raise ValueError(f"{path}: the frame must have at least {size} pixels a side; got {width} x {height}")
    tried = []
    for _ in range(TRIES):
        top, left = (int(torch.randint(side - size + 1, (), generator=rng)) for side in (height, width))
        window = (slice(top, top + size), slice(left, left + size))
        tried.append((float(hole_1HW[0][window].float().mean()), window))
        if tried[-1][0] >= HOLE_SHARE:
            return window
    share, window = max(tried, key=lambda one: one[0])
    if not hole_1HW.any():
        raise ValueError(f"{path}: the frame has no hole; there is nothing to learn from it")
    if share > 0:
        return window
    row, column = torch.nonzero(hole_1HW[0])[int(torch.randint(int(hole_1HW.sum()), (), generator=rng))].tolist()
    top, left = (min(max(0, middle - size // 2), side - size) for middle, side in ((row, height), (column, width)))
    return slice(top, top + size), slice(left, left + size)


@lru_cache(maxsize=6)
def _resident(make, of: Sequence, split: Split, size: int, count: int, base: str) -> Examples:
    return assembled(made_once(make, of, split, size, count, _source()), base)


@lru_cache(maxsize=1)
def _source() -> str:
    """Hash of the code that makes examples: changing it makes them anew."""
    here = Path(__file__).parent
    own = (here / f"{name}.py" for name in ("scenes", "data", "frames", "files"))
    common = (here.parent / "common" / f"{name}.py" for name in ("colour", "crops", "files"))
    return files.content_hash([*own, *common])
