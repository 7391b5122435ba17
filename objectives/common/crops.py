"""Random squares of a photograph at a random scale, and smaller copies. Shapes: rgb_3HW in; squares are rgb_3SS."""

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


def shrunk(rgb_3HW: Tensor, longest: int) -> Tensor:
    """The image with its longer side of at most `longest` pixels: antialiased bilinear, or itself where it is small."""
    longer = max(rgb_3HW.shape[-2:])
    if longer <= longest:
        return rgb_3HW
    size = [round(side * longest / longer) for side in rgb_3HW.shape[-2:]]
    return F.interpolate(rgb_3HW[None], size, mode="bilinear", antialias=True)[0]
