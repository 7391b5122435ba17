"""What happens to a photograph on its way to a matcher: JPEG, shrinking and noise; and a blur.

Shapes: B photographs, 3 RGB, H, W pixels. Photographs are in [0, 1].
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import as_uint8

JPEG_QUALITY = 75  # that scores are taken after
SHRUNK_TO, QUALITIES, NOISE = (0.4, 1.0), (50, 95), 0.02  # ranges that the loss draws from


def handled(image_B3HW: Tensor) -> Tensor:
    """The photographs after one random treatment: resized and back by 0.4 to 1, JPEG of quality 50 to 95, or noise of
    0.02. The gradient ignores the JPEG. Draws from torch's global generator."""
    treatment = int(torch.randint(3, ()))
    if treatment == 0:
        return resized_and_back(image_B3HW, float(torch.empty(()).uniform_(*SHRUNK_TO)))
    if treatment == 1:
        quality = int(torch.randint(QUALITIES[0], QUALITIES[1] + 1, ()))
        return image_B3HW + (as_jpeg(image_B3HW.detach(), quality) - image_B3HW).detach()
    return image_B3HW + NOISE * torch.randn(image_B3HW.shape).to(image_B3HW)


def as_jpeg(image_B3HW: Tensor, quality: int = JPEG_QUALITY) -> Tensor:
    """The photographs written as JPEG and read again."""
    pixels = as_uint8(image_B3HW).cpu().permute(0, 2, 3, 1).numpy()
    return torch.stack([_as_jpeg(pixels_HW3, quality) for pixels_HW3 in pixels]).to(image_B3HW)


def resized_and_back(image_B3HW: Tensor, factor: float) -> Tensor:
    """The photographs at a factor of their size, antialiased, and back."""
    size = image_B3HW.shape[-2:]
    small = F.interpolate(
        image_B3HW, [max(1, round(factor * length)) for length in size], mode="bilinear", antialias=True
    )
    return F.interpolate(small, size, mode="bilinear", align_corners=False)


def gaussian_blur(image_B3HW: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels, cut off at 3 sigma; the border is repeated."""
    radius = max(1, round(3 * sigma))
    at = torch.arange(-radius, radius + 1, dtype=image_B3HW.dtype, device=image_B3HW.device)
    taps = torch.exp(-0.5 * (at / sigma) ** 2)
    taps = taps / taps.sum()
    padded = F.pad(image_B3HW, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, taps.view(1, 1, 1, -1).expand(3, 1, 1, -1), groups=3)
    return F.conv2d(across, taps.view(1, 1, -1, 1).expand(3, 1, -1, 1), groups=3)


def _as_jpeg(pixels_HW3: np.ndarray, quality: int) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HW3).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float() / 255
