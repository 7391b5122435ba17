"""Linear light: shrinking it, and how a sensor's channels weigh it. Shapes: rgb [..., 3, H, W]; gains [..., 3]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import srgb_from_linear

RAW = (0.5, 1.0, 0.6)  # how strongly a sensor sees red, green and blue in daylight before any white balance
BALANCED = (1.0, 1.0, 1.0)


def area_mean(rgb_3HW: Tensor, factor: int) -> Tensor:
    """Each block of factor x factor pixels becomes its mean; rows and columns that fill no block are cut off. Takes
    linear light: the mean of encoded values is darker than what a larger pixel would have seen."""
    height, width = (side // factor * factor for side in rgb_3HW.shape[-2:])
    return F.avg_pool2d(rgb_3HW[None, :, :height, :width], factor)[0]


def spread(gain: Tensor) -> Tensor:
    """Gains [..., 3] as factors of pictures [..., 3, 1, 1]."""
    return gain[..., None, None]


def seen(rgb: Tensor, gain: Tensor) -> Tensor:
    """What a screen shows of sensor values: the white balanced, clipped to [0, 1], sRGB-encoded."""
    return srgb_from_linear((rgb / spread(gain)).clamp(0, 1))


def other_gain(gain: Tensor) -> Tensor:
    """The sensor that was not trained for: balanced where this one is raw, raw where it is balanced."""
    raw, balanced = gain.new_tensor(RAW), gain.new_tensor(BALANCED)
    return torch.where(((gain - balanced).abs() < 1e-3).all(-1, keepdim=True), raw, balanced)
