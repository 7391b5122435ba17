"""Linear light: how it is shrunk, and a sensor's gains. Shapes: rgb [..., 3, H, W]; gains [..., 3]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import srgb_from_linear

RAW = (0.5, 1.0, 0.6)  # a sensor's response to white in daylight, before any white balance
BALANCED = (1.0, 1.0, 1.0)


def area_mean(rgb_3HW: Tensor, factor: int) -> Tensor:
    """Each block of factor x factor pixels becomes its mean; rows and columns that fill no block are cut off.

    Give it linear light: the mean of encoded values is darker than what a larger pixel would have measured.
    """
    height, width = (side // factor * factor for side in rgb_3HW.shape[-2:])
    return F.avg_pool2d(rgb_3HW[None, :, :height, :width], factor)[0]


def per_channel(gain: Tensor) -> Tensor:
    """Gains [..., 3] as factors of pictures [..., 3, 1, 1]."""
    return gain[..., None, None]


def to_display(rgb: Tensor, gain: Tensor) -> Tensor:
    """Sensor light as a screen shows it: white-balanced, clipped to [0, 1], sRGB-encoded."""
    return srgb_from_linear((rgb / per_channel(gain)).clamp(0, 1))


def other_gain(gain: Tensor) -> Tensor:
    """The gains of a sensor that was not trained for: BALANCED becomes RAW, and every other gain BALANCED."""
    raw, balanced = gain.new_tensor(RAW), gain.new_tensor(BALANCED)
    return torch.where(((gain - balanced).abs() < 1e-3).all(-1, keepdim=True), raw, balanced)
