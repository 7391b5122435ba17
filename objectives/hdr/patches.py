"""Square patches of a user's own frames, cut where there are holes.

Shapes: N examples, H, W pixels of a frame, S pixels a side of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hpo import Split, generator
from objectives.hdr.frames import FrameFiles
from objectives.hdr.reading import read_frame
from objectives.hdr.warp import Frame

HOLE_SHARE = 0.005  # a patch of a user's frame is taken at once if it has this share of holes
TRIES = 8  # patches that are drawn before the best of them is taken


def make_from_frames(user_frames: Sequence[FrameFiles], split: Split, size: int, count: int) -> dict[str, np.ndarray]:
    """`count` patches of the user's frames in turn.

    Arrays named as the fields of Frame, and "source", [N]: the number of each frame's sequence, because neighbouring
    frames of a sequence are nearly the same. Layers and motion are 0 where the user's frames do not have them.
    """
    rng = generator("hdr", split)
    order = torch.randperm(len(user_frames), generator=rng).tolist()
    arrays = {
        name: np.zeros((count, channels, size, size), np.float32 if channels > 1 else bool)
        for name, channels in zip(Frame._fields, (3, 1, 1, 2, 3), strict=True)
    }
    sources = np.zeros(count, np.int64)
    for place, index in enumerate(order[:count]):  # each frame is decoded once
        paths = user_frames[index]
        frame = read_frame(paths.warp, paths.hole, paths.ref, paths.layers)
        assert frame.target_3HW is not None  # `ref` was given
        for row in range(place, count, len(user_frames)):
            rows, columns = _random_window(frame.hole_1HW, size, rng, paths.hole)
            arrays["warped_3SS"][row] = frame.warped_3HW[:, rows, columns].numpy()
            arrays["hole_1SS"][row] = frame.hole_1HW[:, rows, columns].numpy()
            arrays["occluder_1SS"][row] = frame.occluder_1HW[:, rows, columns].numpy()
            arrays["motion_2SS"][row] = frame.motion_2HW[:, rows, columns].numpy()
            sources[row] = paths.sequence
            arrays["target_3SS"][row] = frame.target_3HW[:, rows, columns].numpy()
    return arrays | {"source": sources}


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
