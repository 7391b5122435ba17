"""Frames with holes, and the light that belongs there.

By default the frames are made from photographs that ship inside installed packages (scenes.py); with a user's own
folder they are patches of the user's frames (frames.py). A photograph, or a block of a user's frames, belongs to one
split only.

Shapes: N examples, B a batch, 3 RGB, A channels, S pixels a side. Light is linear and at least 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo import Split, generator, made_once
from objectives.common import photographs
from objectives.hdr import frames, scenes
from objectives.hdr.fill import filled

PHOTOGRAPHS: dict[Split, tuple[str, ...]] = {
    "train": ("astronaut", "flower", "hubble", "ihc", "retina"),
    "val": ("coffee", "china"),
    "test": ("chelsea", "rocket"),
}
EPS = 1e-3  # added to light before its logarithm: it is part of the score, so it is never searched
MIN_SIZE = 32
HOLE_SHARE = 0.005  # a patch of a user's frame is taken at once if it has this share of holes
TRIES = 8  # patches that are drawn before the best of them is taken
FILL_BATCH = 64  # examples that are filled at a time


class Batch(NamedTuple):
    """Examples, float32."""

    warped_B3SS: Tensor  # light thrown forward from the frame before; 0 in holes
    hole_B1SS: Tensor  # 1 in holes, else 0
    occluder_B1SS: Tensor  # 1 where the foreground landed; 0 everywhere if no layers are known
    motion_B2SS: Tensor  # of each pixel, minus the mean, in units of 8 pixels; 0 in holes and where it is unknown
    base_log_B3SS: Tensor  # log(warped + EPS) with filled holes
    target_B3SS: Tensor  # the rendered light
    source_B: Tensor  # int64: number of the photograph behind the scene; 0 for all of a user's sequence


class Examples(NamedTuple):
    """All examples of a split, in memory. The fields are those of a batch."""

    warped: Tensor
    hole: Tensor  # bool
    occluder: Tensor  # bool
    motion: Tensor
    base_log: Tensor
    target: Tensor
    source: Tensor

    def batch(self, rows: Tensor | slice = slice(None)) -> Batch:
        """The examples of these rows."""
        warped, hole, occluder, motion, base_log, target = (field[rows].float() for field in self[:-1])
        return Batch(warped, hole, occluder, motion, base_log, target, self.source[rows])


def examples(split: Split, size: int, count: int, *, base: str, folder: str | None) -> Examples:
    """`count` examples of `size` pixels a side, the same at every call.

    Raises ValueError if the size is too small, and for whatever is wrong with a user's folder.
    """
    if size < MIN_SIZE:
        raise ValueError(f"hdr: size must be at least {MIN_SIZE} pixels a side; got {size}")
    if folder is None:
        return _cached_examples(scenes.make, PHOTOGRAPHS[split], split, size, count, base)
    user_frames = frames.read_sequence(folder).of(split)
    return _cached_examples(make_from_frames, user_frames, split, size, count, base)


def origins(split: Split, *, folder: str | None) -> set[str]:
    """Content hashes of the photographs, or of the user's rendered frames, that the examples of a split come from."""
    if folder is None:
        return {photographs.origin(name) for name in PHOTOGRAPHS[split]}
    return {frame.ref_sha256 for frame in frames.read_sequence(folder).of(split)}


def mirrored(batch: Batch, axis: int, rng: torch.Generator) -> Batch:
    """The batch with about half of its examples mirrored, across (axis 0) or down (axis 1); the motion along that axis
    changes its sign with them."""
    chosen = (torch.rand(len(batch.hole_B1SS), generator=rng) < 0.5).view(-1, 1, 1, 1)
    pictures = {name: field for name, field in batch._asdict().items() if field.dim() == 4}
    flipped = batch._replace(
        **{name: torch.where(chosen, field.flip(-1 - axis), field) for name, field in pictures.items()}
    )
    sign = torch.ones(len(chosen), 2, 1, 1)
    sign[:, axis] = torch.where(chosen[:, 0], -1.0, 1.0)
    return flipped._replace(motion_B2SS=flipped.motion_B2SS * sign)


def log_light(light: Tensor) -> Tensor:
    """The natural logarithm of light + EPS; negative light counts as 0."""
    return torch.log(light.clamp(min=0) + EPS)


def assembled(arrays: dict[str, np.ndarray], base: str) -> Examples:
    """Examples from arrays named as scenes.Frame's fields and "source", with holes filled by the method `base`."""
    warped, hole, occluder, motion, target = (torch.from_numpy(np.array(arrays[name])) for name in scenes.Frame._fields)
    base_log = torch.cat(
        [
            filled(base, log_light(light), ~holes)
            for light, holes in zip(warped.split(FILL_BATCH), hole.split(FILL_BATCH), strict=True)
        ]
    )
    return Examples(warped, hole, occluder, motion, base_log, target, torch.from_numpy(np.array(arrays["source"])))


def make_from_frames(
    user_frames: Sequence[frames.FrameFiles], split: Split, size: int, count: int
) -> dict[str, np.ndarray]:
    """`count` patches of the user's frames in turn. Layers and motion are unknown, so those fields are 0.

    They are all of one source: neighbouring frames of a sequence are nearly the same.
    """
    rng = generator("hdr", split)
    order = torch.randperm(len(user_frames), generator=rng).tolist()
    arrays = {
        name: np.zeros((count, channels, size, size), np.float32 if channels > 1 else bool)
        for name, channels in zip(scenes.Frame._fields, (3, 1, 1, 2, 3), strict=True)
    }
    for place, index in enumerate(order[:count]):  # each frame is decoded once
        paths = user_frames[index]
        frame = frames.read_frame(paths.warp, paths.hole, paths.ref)
        assert frame.target_3HW is not None  # `ref` was given
        for row in range(place, count, len(user_frames)):
            rows, columns = _random_window(frame.hole_1HW, size, rng, paths.hole)
            arrays["warped_3SS"][row] = frame.warped_3HW[:, rows, columns].numpy()
            arrays["hole_1SS"][row] = frame.hole_1HW[:, rows, columns].numpy()
            arrays["target_3SS"][row] = frame.target_3HW[:, rows, columns].numpy()
    return arrays | {"source": np.zeros(count, np.int64)}


Window = tuple[slice, slice]  # rows and columns


def _random_window(hole_1HW: Tensor, size: int, rng: torch.Generator, path: Path) -> Window:
    """A random square with holes in it: the first of TRIES with enough of them, else the one with the most.

    If none of them has a hole, the square is around a random pixel of a hole.
    """
    height, width = hole_1HW.shape[1:]
    if min(height, width) < size:
        raise ValueError(f"{path}: the frame must have at least {size} pixels a side; got {width} x {height}")
    best_share = -1.0
    for _ in range(TRIES):
        top = int(torch.randint(height - size + 1, (), generator=rng))
        left = int(torch.randint(width - size + 1, (), generator=rng))
        window = _square(top, left, size)
        share = float(hole_1HW[0][window].float().mean())
        if share >= HOLE_SHARE:
            return window
        if share > best_share:
            best_share, best_window = share, window
    return best_window if best_share > 0 else _window_around_hole(hole_1HW, size, rng)


def _window_around_hole(hole_1HW: Tensor, size: int, rng: torch.Generator) -> Window:
    height, width = hole_1HW.shape[1:]
    pixels = torch.nonzero(hole_1HW[0])
    row, column = pixels[int(torch.randint(len(pixels), (), generator=rng))].tolist()
    top = min(max(0, row - size // 2), height - size)
    left = min(max(0, column - size // 2), width - size)
    return _square(top, left, size)


def _square(top: int, left: int, size: int) -> Window:
    return slice(top, top + size), slice(left, left + size)


@lru_cache(maxsize=6)
def _cached_examples(
    make: Callable[..., dict[str, np.ndarray]],
    sources: Sequence[Any],  # names of photographs, or the user's frames
    split: Split,
    size: int,
    count: int,
    base: str,
) -> Examples:
    return assembled(made_once(make, sources, split, size, count), base)
