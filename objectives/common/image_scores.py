"""How similar two images are: one value per image, never one of a pooled batch.

Shapes: images [B, C, H, W] in [0, 1]; scores [B]. SSIM and MS-SSIM of one pair differ widely (for example
0.57 and 0.91): never compare one with the other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_PSNR_DB = 100.0  # of equal images, so that a mean stays finite
MS_SSIM_MIN_SIDE = 161  # five scales of an 11-pixel window
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr_db(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image for a peak of 1, at most MAX_PSNR_DB."""
    mse = ((a - b) ** 2).flatten(1).mean(1)
    return -10 * torch.log10(mse.clamp(min=10 ** (-MAX_PSNR_DB / 10)))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each image: Gaussian window of 11 pixels and sigma 1.5, only where it fits; mean over
    the channels. Source: Wang et al. 2004, eqs. 13-17. Raises ValueError below 11 pixels a side."""
    return _ssim_and_contrast(a, b)[0].mean(1)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale SSIM of each image over five scales; mean over the channels.

    Source: Wang, Simoncelli, Bovik 2003, eq. 7. Raises ValueError below 161 pixels a side, which have no fifth scale.
    """
    if min(a.shape[-2:]) < MS_SSIM_MIN_SIDE:
        raise ValueError(f"MS-SSIM needs at least {MS_SSIM_MIN_SIDE} pixels a side; got {tuple(a.shape[-2:])}")
    product = torch.ones(a.shape[:2], dtype=a.dtype, device=a.device)
    for scale, weight in enumerate(_MS_WEIGHTS):
        similarity, contrast = _ssim_and_contrast(a, b)
        last = scale == len(_MS_WEIGHTS) - 1
        product = product * (similarity if last else contrast).clamp(min=0) ** weight
        a, b = (F.avg_pool2d(x, 2, ceil_mode=True) for x in (a, b))
    return product.mean(1)


def gaussian_band(side: int, like: Tensor) -> Tensor:
    """[side, side - 10]: a matrix that blurs a line of `side` values wherever the window fits."""
    distance = torch.arange(_WINDOW, dtype=like.dtype, device=like.device) - (_WINDOW - 1) / 2
    weights = torch.exp(-(distance**2) / (2 * _SIGMA**2))
    columns = torch.arange(side - _WINDOW + 1, device=like.device)
    rows = columns[:, None] + torch.arange(_WINDOW, device=like.device)
    band = like.new_zeros(side, len(columns))
    band[rows, columns[:, None]] = weights / weights.sum()
    return band


def _ssim_and_contrast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean of its contrast-structure term, each [B, C]."""
    if min(a.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs at least {_WINDOW} pixels a side; got {tuple(a.shape[-2:])}")
    a, b = a.float(), b.float()
    mean_a, square_a, product = _blur(torch.stack([a, a * a, a * b])).unbind()
    mean_b, square_b = _blur(torch.stack([b, b * b])).unbind()  # a call of its own: a target needs no gradient
    variance_a = square_a - mean_a**2
    variance_b = square_b - mean_b**2
    covariance = product - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (luminance * contrast).mean((-2, -1)), contrast.mean((-2, -1))


def _blur(maps: Tensor) -> Tensor:
    """Each map [..., H, W] blurred down and across, where the window fits.

    Two matrix products: the gradient of a convolution with one channel takes fifty times as long on a CPU.
    """
    with torch.autocast(maps.device.type, enabled=False):  # a variance is a difference of nearly equal numbers
        across = maps @ gaussian_band(maps.shape[-1], maps)
        return gaussian_band(maps.shape[-2], maps).T @ across
