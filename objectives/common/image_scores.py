"""How near two images are: one value an image, never one of a pooled batch.

Shapes: images [B, C, H, W] in [0, 1]; scores [B]. SSIM and MS-SSIM of one pair differ widely (0.57 and 0.91, say):
never compare one with the other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_PSNR_DB = 100.0  # what equal images score, so that a mean stays finite
MS_SSIM_MIN_SIDE = 161  # five scales of an 11-pixel window
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr_db(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image for a peak of 1, at most MAX_PSNR_DB."""
    mse = ((a - b) ** 2).flatten(1).mean(1)
    return -10 * torch.log10(mse.clamp(min=10 ** (-MAX_PSNR_DB / 10)))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each image: Gaussian window of 11 pixels and sigma 1.5, only where it fits, mean over
    channels. Source: Wang et al. 2004, eqs. 13-17. Raises ValueError below 11 pixels a side."""
    return _ssim_and_contrast(a, b)[0].mean(1)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale SSIM of each image over five scales, mean over channels. Source: Wang, Simoncelli, Bovik 2003, eq. 7.

    Raises ValueError for images of 160 pixels a side or less, which have no fifth scale.
    """
    if min(a.shape[-2:]) < MS_SSIM_MIN_SIDE:
        raise ValueError(f"MS-SSIM needs at least {MS_SSIM_MIN_SIDE} pixels a side; got {tuple(a.shape[-2:])}")
    product = torch.ones(a.shape[:2], dtype=a.dtype, device=a.device)
    for scale, weight in enumerate(_MS_WEIGHTS):
        similarity, contrast = _ssim_and_contrast(a, b)
        last = scale == len(_MS_WEIGHTS) - 1
        product = product * (similarity if last else contrast).clamp(min=0) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return product.mean(1)


def gaussian_window(side: int, sigma: float, like: Tensor) -> Tensor:
    """A Gaussian of `side` taps that sums to 1."""
    at = torch.arange(side, dtype=like.dtype, device=like.device) - (side - 1) / 2
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    return weights / weights.sum()


def _ssim_and_contrast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean contrast-structure term, each [B, C]."""
    if min(a.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs at least {_WINDOW} pixels a side; got {tuple(a.shape[-2:])}")
    moments = _blur(torch.stack([a, b, a * a, b * b, a * b]))
    mean_a, mean_b = moments[0], moments[1]
    variance_a = moments[2] - mean_a**2
    variance_b = moments[3] - mean_b**2
    covariance = moments[4] - mean_a * mean_b
    contrast = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (luminance * contrast).mean((-2, -1)), contrast.mean((-2, -1))


def _blur(maps: Tensor) -> Tensor:
    """Each map [..., H, W] blurred where the window fits: one Gaussian down, one across."""
    window = gaussian_window(_WINDOW, _SIGMA, maps)
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    down = F.conv2d(flat, window.view(1, 1, -1, 1))
    across = F.conv2d(down, window.view(1, 1, 1, -1))
    return across.reshape(*maps.shape[:-2], *across.shape[-2:])
