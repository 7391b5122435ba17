"""Methods that fill holes from the pixels around them, in the logarithm of light: the network's start, and its rivals.

Shapes: log_B3HW any values, of which those in holes are never read; valid_B1HW and other masks are bool. The result
equals the input wherever the input is valid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Fill = Literal["layered", "harmonic", "pushpull"]
FILLS: tuple[Fill, ...] = ("layered", "harmonic", "pushpull")
SWEEPS = 20  # of the harmonic fill


def filled(kind: str, log_B3HW: Tensor, valid_B1HW: Tensor, occluder_B1HW: Tensor) -> Tensor:
    """Fill with the method of that name. Raises ValueError for a name that is not in FILLS."""
    if kind not in FILLS:
        raise ValueError(f"task.base must be one of {', '.join(FILLS)}; got {kind!r}")
    if kind == "layered":
        return layered(log_B3HW, valid_B1HW, occluder_B1HW)
    return harmonic(log_B3HW, valid_B1HW) if kind == "harmonic" else pushpull(log_B3HW, valid_B1HW)


def pushpull(log_B3HW: Tensor, valid_B1HW: Tensor) -> Tensor:
    """Means of larger and larger blocks of valid pixels, interpolated bilinearly into the holes.

    A picture without any valid pixel becomes 0. Source: Gortler et al. 1996 (the Lumigraph), section 3.4, with box
    weights.
    """
    weight = valid_B1HW.to(log_B3HW.dtype)
    values = torch.where(valid_B1HW, log_B3HW, 0.0)
    height, width = values.shape[-2:]
    if height == width == 1:
        return values
    pad = (0, width % 2, 0, height % 2)
    weighted = F.avg_pool2d(F.pad(values * weight, pad), 2)
    share = F.avg_pool2d(F.pad(weight, pad), 2)
    coarse = pushpull(weighted / share.clamp(min=1e-6), share > 0)
    fine = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(valid_B1HW, values, fine[..., :height, :width])


def harmonic(log_B3HW: Tensor, valid_B1HW: Tensor, *, sweeps: int = SWEEPS) -> Tensor:
    """Each hole pixel becomes the mean of its four neighbours: Jacobi sweeps that start from push-pull. The border is
    repeated."""
    values = pushpull(log_B3HW, valid_B1HW)
    for _ in range(sweeps):
        padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
        left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
        above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
        values = torch.where(valid_B1HW, values, (left + right + above + below) / 4)
    return values


def layered(
    log_B3HW: Tensor,
    valid_B1HW: Tensor,
    occluder_B1HW: Tensor,
    fill: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Fill holes inside the foreground from the foreground alone, and all others from the background. `fill` does it;
    by default the harmonic one.

    A picture that lacks one of the two is filled from all valid pixels: without known layers this is the plain fill.
    """
    front = occluder_B1HW & valid_B1HW
    back = valid_B1HW & ~front
    inside = eroded(dilated(front, 3), 3)
    fill = fill or harmonic
    from_all = fill(log_B3HW, valid_B1HW)
    from_front = torch.where(_has_any(front), fill(log_B3HW, front), from_all)
    from_back = torch.where(_has_any(back), fill(log_B3HW, back), from_all)
    return torch.where(valid_B1HW, log_B3HW, torch.where(inside, from_front, from_back))


def dilated(mask_B1HW: Tensor, kernel: int) -> Tensor:
    """The mask grown by a square of `kernel` pixels, an odd number."""
    return F.max_pool2d(mask_B1HW.float(), kernel, stride=1, padding=kernel // 2) > 0.5


def eroded(mask_B1HW: Tensor, kernel: int) -> Tensor:
    """The mask shrunk by a square of `kernel` pixels, an odd number. Everything beyond the border counts as inside."""
    return ~dilated(~mask_B1HW, kernel)


def _has_any(mask_B1HW: Tensor) -> Tensor:
    """[B, 1, 1, 1]: whether any pixel of each picture is in the mask."""
    return mask_B1HW.flatten(1).any(1).view(-1, 1, 1, 1)
