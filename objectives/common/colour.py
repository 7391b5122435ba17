"""Colour arithmetic on images whose channel dimension is the third from last, red first.

Shapes: any leading dimensions, then 3HW. `srgb` values are encoded for a screen, `linear` ones are proportional to
light; both lie in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. ITU-R BT.709-6, item 3.2


def linear_from_srgb(srgb: Tensor) -> Tensor:
    """Light of encoded values. Source: IEC 61966-2-1, eqs. 5 and 6."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Tensor) -> Tensor:
    """Encoded values of light. Source: IEC 61966-2-1, eqs. 9 and 10. The gradient is finite at 0."""
    curved = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curved)


def luma(rgb: Tensor) -> Tensor:
    """Weighted sum of the channels, [..., 1, H, W]; of linear values it is the luminance."""
    weights = torch.tensor(LUMA, dtype=rgb.dtype, device=rgb.device).view(3, 1, 1)
    return (rgb * weights).sum(-3, keepdim=True)


def chroma(rgb: Tensor) -> Tensor:
    """Largest channel minus smallest, [..., 1, H, W]: 0 for grey, 1 for a pure primary."""
    return rgb.amax(-3, keepdim=True) - rgb.amin(-3, keepdim=True)


def saturation(rgb: Tensor, *, offset: float = 0.0) -> Tensor:
    """Chroma divided by (largest channel + `offset`), [..., 1, H, W]; 0 for black. At offset 0 it is the S of HSV."""
    largest = rgb.amax(-3, keepdim=True) + offset
    return chroma(rgb) / largest.clamp(min=1e-6)


def round8(image: Tensor) -> Tensor:
    """The image as in an 8-bit file: clamped to [0, 1] and rounded, not truncated, to n/255."""
    return torch.round(image.clamp(0, 1) * 255) / 255


def as_uint8(image: Tensor) -> Tensor:
    """Values in [0, 1] to bytes, rounded; truncation would darken by half a level on average."""
    return torch.round(image.clamp(0, 1) * 255).to(torch.uint8)


def as_float(bytes_: Tensor) -> Tensor:
    """Bytes to float32 in [0, 1]."""
    return bytes_.to(torch.float32) / 255
