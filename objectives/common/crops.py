"""Random squares of a photograph at a random scale. Shapes: rgb_3HW in, rgb_3SS out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def random_square(
    rgb_3HW: Tensor, size: int, *, scale: tuple[float, float], rng: torch.Generator, flip: bool = False
) -> Tensor:
    """A square of side size / s, shrunk to `size` pixels, with s uniform on `scale`; with `flip`, half of the squares
    are mirrored. A square that does not fit the photograph is cut smaller."""
    scale_draw, top_draw, left_draw, flip_draw = torch.rand(4, generator=rng, dtype=torch.float64).tolist()
    height, width = rgb_3HW.shape[-2:]
    low, high = scale
    side = min(round(size / (low + (high - low) * scale_draw)), height, width)
    top = int(top_draw * (height - side + 1))
    left = int(left_draw * (width - side + 1))
    square = resized(rgb_3HW[:, top : top + side, left : left + side], size)
    return square.flip(-1) if flip and flip_draw < 0.5 else square


def resized(rgb_3HW: Tensor, size: int) -> Tensor:
    """The image at `size` x `size` pixels: antialiased bilinear, within the range of the image's values."""
    if rgb_3HW.shape[-2:] == (size, size):
        return rgb_3HW.clone()
    shrunk_3SS = F.interpolate(rgb_3HW[None], (size, size), mode="bilinear", antialias=True)[0]
    return shrunk_3SS.clamp(rgb_3HW.min(), rgb_3HW.max())  # rounding alone could leave it
