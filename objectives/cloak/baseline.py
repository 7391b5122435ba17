"""Changes to a photograph that use no encoder. They change the region that the model may change, and nothing else.

Some have a fixed strength; those named "as visible" are as strong as the limit on the visible change allows, for each
photograph. Shapes: region_3QQ in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hpo import generator
from objectives.cloak.handling import as_jpeg, gaussian_blur, resized_and_back
from objectives.cloak.model import apply_change, upsample

Method = Callable[[Tensor], Tensor]
Strength = Callable[[Tensor, float], Tensor]  # a region, and how strongly to change it, in (0, 1]
Visible = Callable[[Tensor, Tensor], float]  # the visible change of a region from another one
COARSE = 12  # grid points a side of smooth noise and of the random warp
_BISECTIONS = 10
_LARGEST_BLUR, _LARGEST_WARP, _LOWEST_QUALITY = 8.0, 0.1, 5


def methods(noise_limit: float, warp_limit: float, visible: Visible, visible_limit: float) -> dict[str, Method]:
    """Every method by name. `visible` measures the visible change of a region."""
    strongest: dict[str, Strength] = {
        "noise, as visible": noisy,
        "blur, as visible": lambda x, strength: gaussian_blur(x[None], _LARGEST_BLUR * strength)[0],
        "JPEG, as visible": lambda x, strength: as_jpeg(x[None], round(100 - (100 - _LOWEST_QUALITY) * strength))[0],
        "warp, as visible": lambda x, strength: warp(x, _LARGEST_WARP * strength),
    }
    fixed: dict[str, Method] = {
        "identity": lambda x: x,
        "uniform noise": lambda x: x + noise_limit * uniform(x),
        "smooth sign noise": lambda x: x + noise_limit * smooth_signs(x),
        "random warp": lambda x: warp(x, warp_limit),
        "JPEG 10": lambda x: as_jpeg(x[None], 10)[0],
        "blur of 2 pixels": lambda x: gaussian_blur(x[None], 2.0)[0],
        "quarter size": lambda x: resized_and_back(x[None], 0.25)[0],
    }
    return fixed | {name: _as_visible(change, visible, visible_limit) for name, change in strongest.items()}


def uniform(region_3QQ: Tensor) -> Tensor:
    """Noise uniform on [-1, 1], the same at every call."""
    noise = torch.rand(region_3QQ.shape, generator=generator("cloak", "uniform")) * 2 - 1
    return noise.to(region_3QQ.device)


def noisy(region_3QQ: Tensor, height: float) -> Tensor:
    """Uniform noise of that height added."""
    return (region_3QQ + height * uniform(region_3QQ)).clamp(0, 1)


def smooth_signs(region_3QQ: Tensor) -> Tensor:
    """Signs on a coarse grid, stretched bilinearly: within [-1, 1]."""
    signs = torch.rand((1, 3, COARSE, COARSE), generator=generator("cloak", "signs")).sub(0.5).sign()
    return upsample(signs.to(region_3QQ.device), region_3QQ.shape[-2:])[0]


def warp(region_3QQ: Tensor, limit: float) -> Tensor:
    """A random warp in which every grid point moves by the limit."""
    signs = torch.rand((1, 2, COARSE, COARSE), generator=generator("cloak", "warp")).sub(0.5).sign()
    return apply_change(region_3QQ[None], torch.zeros_like(region_3QQ)[None], limit * signs.to(region_3QQ.device))[0]


def _as_visible(change: Strength, visible: Visible, limit: float) -> Method:
    return lambda region_3QQ: change(region_3QQ, strength(change, region_3QQ, visible, limit))


def strength(change: Strength, region_3QQ: Tensor, visible: Visible, limit: float) -> float:
    """The strength in (0, 1] at which a change is as visible as the limit, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if visible(change(region_3QQ, middle), region_3QQ) <= limit:
            low = middle
        else:
            high = middle
    return max(low, 1e-3)
