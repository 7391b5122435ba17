"""Ways to fill holes from what is around them, in the logarithm of light: the network's starting point, and its rivals.

Shapes: log_B3HW any values, of which those in holes are never looked at; valid_B1HW and other masks are bool. What
comes back equals the input wherever that is valid.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Fill = Literal["harmonic", "pushpull"]
FILLS: tuple[Fill, ...] = ("harmonic", "pushpull")
SWEEPS = 20


def filled(kind: str, log_B3HW: Tensor, valid_B1HW: Tensor) -> Tensor:
    """One of FILLS by name. Raises ValueError for another."""
    if kind not in FILLS:
        raise ValueError(f"task.base must be one of {', '.join(FILLS)}; got {kind!r}")
    return harmonic(log_B3HW, valid_B1HW) if kind == "harmonic" else pushpull(log_B3HW, valid_B1HW)


def pushpull(log_B3HW: Tensor, valid_B1HW: Tensor) -> Tensor:
    """Means of ever larger blocks of valid pixels, brought back by bilinear interpolation. Where a picture has no valid
    pixel at all it is 0. Source: Gortler et al. 1996 (the Lumigraph), section 3.4, with boxes for weights."""
    weight = valid_B1HW.to(log_B3HW.dtype)
    values = torch.where(valid_B1HW, log_B3HW, 0.0)
    if min(values.shape[-2:]) == max(values.shape[-2:]) == 1:
        return values
    pad = (0, values.shape[-1] % 2, 0, values.shape[-2] % 2)
    weighed, share = (F.avg_pool2d(F.pad(x, pad), 2) for x in (values * weight, weight))
    coarse = pushpull(weighed / share.clamp(min=1e-6), share > 0)
    fine = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(valid_B1HW, values, fine[..., : values.shape[-2], : values.shape[-1]])


def harmonic(log_B3HW: Tensor, valid_B1HW: Tensor, *, sweeps: int = SWEEPS) -> Tensor:
    """Each hole pixel the mean of its four neighbours: Jacobi sweeps from push-pull. The border is repeated."""
    values = pushpull(log_B3HW, valid_B1HW)
    for _ in range(sweeps):
        padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
        around = (padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:] + padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]) / 4
        values = torch.where(valid_B1HW, values, around)
    return values


def layered(log_B3HW: Tensor, valid_B1HW: Tensor, occluder_B1HW: Tensor) -> Tensor:
    """Holes inside the foreground from the foreground alone, all others from the background alone: harmonic. It trusts
    the layers that a renderer knows. A picture that lacks one of them is filled from all that is valid."""
    front = occluder_B1HW & valid_B1HW
    back = valid_B1HW & ~front
    inside = eroded(dilated(front, 3), 3)
    whole, from_front, from_back = (harmonic(log_B3HW, mask) for mask in (valid_B1HW, front, back))
    from_front, from_back = (
        torch.where(mask.flatten(1).any(1).view(-1, 1, 1, 1), fill, whole)
        for mask, fill in ((front, from_front), (back, from_back))
    )
    return torch.where(valid_B1HW, log_B3HW, torch.where(inside, from_front, from_back))


def dilated(mask_B1HW: Tensor, kernel: int) -> Tensor:
    """The mask grown by a square of `kernel` pixels, an odd number."""
    return F.max_pool2d(mask_B1HW.float(), kernel, stride=1, padding=kernel // 2) > 0.5


def eroded(mask_B1HW: Tensor, kernel: int) -> Tensor:
    """The mask shrunk likewise; beyond the border everything counts as inside."""
    return ~dilated(~mask_B1HW, kernel)
