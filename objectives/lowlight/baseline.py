"""Classical methods that brighten a picture, which a network must beat. Each gets the same 8-bit input as the network.

Sources: gamma correction; histogram equalisation; CLAHE (Zuiderveld 1994) in scikit-image's implementation.
Shapes: rgb_3HW in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from skimage import color, exposure
from torch import Tensor

from hpo import REFERENCE
from objectives.common.colour import linear_from_srgb, luma, srgb_from_linear
from objectives.common.columns import columns_over
from objectives.common.perceptual import Backend
from objectives.lowlight import loss
from objectives.lowlight.data import Batch

Method = Callable[[Tensor, Tensor], Tensor]  # the brightened picture, from the dark picture and the target


def methods(train_mean: float, train_light: float) -> dict[str, Method]:
    """Every method by name. Only a reference uses the target.

    `train_mean` is the mean of the training targets, `train_light` their mean luminance.
    """
    return {
        "identity": lambda low, _: low,
        "gamma 0.4": lambda low, _: low**0.4,
        "gamma to train mean": lambda low, _: gamma_to_mean(low, train_mean),
        "exposure gain": lambda low, _: gain_to_light(low, train_light),
        "histogram equalisation": lambda low, _: _equalised(low),
        "CLAHE 0.003": lambda low, _: _clahe(low, clip=0.003, tiles=16),
        "CLAHE 0.03": lambda low, _: _clahe(low, clip=0.03, tiles=16),
        "root + CLAHE 0.01": lambda low, _: _clahe(low**0.5, clip=0.01, tiles=32),
        "oracle exposure" + REFERENCE: lambda low, high: gain_to_light(low, mean_light(high)),
    }


def method_scores(method: Method, backend: Backend, batch: Batch) -> dict[str, Tensor]:
    """The scores of a method for each picture, [B]."""
    low = batch.low_B3SS.cpu()
    high = batch.high_B3SS.cpu()
    brightened = torch.stack([method(*pair) for pair in zip(low, high, strict=True)])
    return loss.image_scores(brightened, high, backend)


def best_rival(methods: Mapping[str, Method], backend: Backend, batches: Sequence[Batch]) -> str:
    """The name of the method with the best score on the batches; references do not count."""

    def score(name: str) -> float:
        columns = columns_over(partial(method_scores, methods[name], backend), batches)
        return loss.finite_means(columns)["score"]

    return max((name for name in methods if not name.endswith(REFERENCE)), key=score)


def mean_light(srgb: Tensor) -> float:
    """The mean luminance of pictures, in linear light."""
    return float(luma(linear_from_srgb(srgb)).mean())


def gamma_to_mean(rgb_3HW: Tensor, mean: float) -> Tensor:
    """The picture to the power g in [0.05, 1] that brings its mean closest to `mean`, by bisection."""
    low, high = 0.05, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        if float((rgb_3HW**middle).mean()) > mean:
            low = middle
        else:
            high = middle
    return rgb_3HW ** ((low + high) / 2)


def gain_to_light(rgb_3HW: Tensor, light: float) -> Tensor:
    """The picture times the factor, in linear light, that brings its mean luminance before clipping to `light`."""
    linear = linear_from_srgb(rgb_3HW)
    gain = light / max(1e-6, float(luma(linear).mean()))
    return srgb_from_linear((linear * gain).clamp(0, 1))


def _clahe(rgb_3HW: Tensor, *, clip: float, tiles: int) -> Tensor:
    """Contrast-limited equalisation of HSV's value, as scikit-image does for a colour picture."""
    rgb_HW3 = rgb_3HW.permute(1, 2, 0).double().numpy()
    equalised_HW3 = exposure.equalize_adapthist(rgb_HW3, kernel_size=tiles, clip_limit=clip)
    return torch.from_numpy(equalised_HW3).permute(2, 0, 1).float().clamp(0, 1)


def _equalised(rgb_3HW: Tensor) -> Tensor:
    """Histogram equalisation of the luma; the two colour differences stay."""
    ycbcr = color.rgb2ycbcr(rgb_3HW.permute(1, 2, 0).double().numpy())  # Y is 16 to 235
    ycbcr[..., 0] = 16 + 219 * exposure.equalize_hist((ycbcr[..., 0] - 16) / 219, nbins=256)
    return torch.from_numpy(color.ycbcr2rgb(ycbcr)).permute(2, 0, 1).float().clamp(0, 1)
