"""Changes to a photograph that use no encoder, within the same bounds.

`noise, as visible` is uniform noise as strong as the limit on the visible change allows, beyond the bound on noise if
need be. Shapes: photo_3SS in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hpo import generator
from objectives.cloak.loss import blur
from objectives.cloak.model import apply_change, upsample

Method = Callable[[Tensor], Tensor]
COARSE = 12  # grid points a side of smooth noise and of the random warp
_BISECTIONS = 12


def methods(
    noise_limit: float, warp_limit: float, visible: Callable[[Tensor, Tensor], float], visible_limit: float
) -> dict[str, Method]:
    """Every method by name. `visible` measures the visible change of an image from a photograph, both [3, S, S]."""
    return {
        "identity": lambda x: x,
        "uniform noise": lambda x: x + noise_limit * uniform(x),
        "sign noise": lambda x: x + noise_limit * uniform(x).sign(),
        "smooth sign noise": lambda x: x + noise_limit * smooth_signs(x),
        "random warp": lambda x: warp(x, warp_limit),
        "blur 3 x 3": lambda x: blur(x[None])[0],
        "noise, as visible": lambda x: x + noise_height(x, visible, visible_limit) * uniform(x),
    }


def uniform(photo_3SS: Tensor) -> Tensor:
    """Noise uniform on [-1, 1], the same at every call."""
    noise = torch.rand(photo_3SS.shape, generator=generator("cloak", "uniform")) * 2 - 1
    return noise.to(photo_3SS.device)


def smooth_signs(photo_3SS: Tensor) -> Tensor:
    """Signs on a coarse grid, stretched bilinearly: within [-1, 1]."""
    signs = torch.rand((1, 3, COARSE, COARSE), generator=generator("cloak", "signs")).sub(0.5).sign()
    return upsample(signs.to(photo_3SS.device), photo_3SS.shape[-2:])[0]


def warp(photo_3SS: Tensor, limit: float) -> Tensor:
    """A random warp in which every grid point moves by the limit."""
    signs = torch.rand((1, 2, COARSE, COARSE), generator=generator("cloak", "warp")).sub(0.5).sign()
    return apply_change(photo_3SS[None], torch.zeros_like(photo_3SS)[None], limit * signs.to(photo_3SS.device))[0]


def noise_height(photo_3SS: Tensor, visible: Callable[[Tensor, Tensor], float], limit: float) -> float:
    """The height in [0, 1] at which the visible change of uniform noise reaches the limit, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        changed = (photo_3SS + middle * uniform(photo_3SS)).clamp(0, 1)
        if visible(changed, photo_3SS) <= limit:
            low = middle
        else:
            high = middle
    return low
