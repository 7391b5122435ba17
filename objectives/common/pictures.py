"""What the pictures of several tasks are made of: pixels, and the examples to show."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from objectives.common.colour import as_uint8


def pixels(rgb_3HW: Tensor) -> np.ndarray:
    """The picture as a panel shows it, [H, W, 3] uint8, of values in [0, 1]."""
    array: np.ndarray = as_uint8(rgb_3HW.float().cpu()).permute(1, 2, 0).numpy()
    return array


def evenly_spaced(count: int, most: int) -> list[int]:
    """Up to `most` of the rows 0 to `count` - 1, evenly spaced, with the first and the last."""
    return torch.linspace(0, count - 1, min(most, count)).round().long().unique().tolist()
