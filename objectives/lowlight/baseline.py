"""Classical ways to brighten a picture, that a network must beat. Each gets the same bytes as the network.

Sources: gamma correction; histogram equalisation; CLAHE (Zuiderveld 1994) as scikit-image has it. Shapes: rgb [3, H, W]
in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from skimage import color, exposure
from torch import Tensor

from hpo.task import REFERENCE
from objectives.common.colour import linear_from_srgb, luma, srgb_from_linear

Method = Callable[[Tensor, Tensor], Tensor]


def methods(train_mean: float, train_light: float) -> dict[str, Method]:
    """Every method by name: a function of the dark picture and the target, which only a reference looks at.

    `train_mean` is the mean of the training targets, `train_light` their mean luminance.
    """
    return {
        "identity": lambda x, _: x,
        "gamma 0.4": lambda x, _: x**0.4,
        "gamma to train mean": lambda x, _: gamma_to_mean(x, train_mean),
        "exposure gain": lambda x, _: gain_to_light(x, train_light),
        "histogram equalisation": lambda x, _: _equalised(x),
        "CLAHE 0.003": lambda x, _: _clahe(x, clip=0.003, tiles=16),
        "CLAHE 0.03": lambda x, _: _clahe(x, clip=0.03, tiles=16),
        "root + CLAHE 0.01": lambda x, _: _clahe(x**0.5, clip=0.01, tiles=32),
        "oracle exposure" + REFERENCE: lambda x, t: gain_to_light(x, float(luma(linear_from_srgb(t)).mean())),
    }


def gamma_to_mean(x: Tensor, mean: float) -> Tensor:
    """x^g with the g in [0.05, 1] that brings its mean nearest to `mean`, by bisection."""
    low, high = 0.05, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if float((x**middle).mean()) > mean else (low, middle)
    return x ** ((low + high) / 2)


def gain_to_light(x: Tensor, light: float) -> Tensor:
    """One factor on the linear picture that brings its mean luminance, before clipping, to `light`."""
    linear = linear_from_srgb(x)
    return srgb_from_linear((linear * (light / max(1e-6, float(luma(linear).mean())))).clamp(0, 1))


def _clahe(x: Tensor, *, clip: float, tiles: int) -> Tensor:
    """On HSV's value, as scikit-image does for a colour picture."""
    rgb_HW3 = x.permute(1, 2, 0).double().numpy()
    made = exposure.equalize_adapthist(rgb_HW3, kernel_size=tiles, clip_limit=clip)
    return torch.from_numpy(made).permute(2, 0, 1).float().clamp(0, 1)


def _equalised(x: Tensor) -> Tensor:
    """Histogram equalisation of the luma; the two colour differences stay."""
    ycbcr = color.rgb2ycbcr(x.permute(1, 2, 0).double().numpy())  # Y runs from 16 to 235
    ycbcr[..., 0] = 16 + 219 * exposure.equalize_hist((ycbcr[..., 0] - 16) / 219, nbins=256)
    return torch.from_numpy(color.ycbcr2rgb(ycbcr)).permute(2, 0, 1).float().clamp(0, 1)
