"""The best linear filter: for each of the 36 places of the tile, ridge regression from the 7 x 7 samples around it.

A window's mean is subtracted before and added after, so that the filter keeps the light of flat areas. It runs as one
convolution of stride 6 with 108 outputs. Source: the linear minimum mean-square-error estimator, with ridge.
Shapes: B batch, 3 RGB, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.xtrans import cfa

WINDOW = 7
RIDGE = 1e-4  # times the mean variance of a sample


def fit_to_pictures(pictures: Sequence[Tensor]) -> Tensor:
    """The best filter for these rgb_3HW, each mosaiced at phase (0, 0): a kernel [108, 1, 12, 12]."""
    return fit_to_pairs([(cfa.mosaic(rgb), rgb) for rgb in pictures])


def fit_to_pairs(pairs: Sequence[tuple[Tensor, Tensor]], *, ridge: float = RIDGE) -> Tensor:
    """The best filter from mosaics_1HW to rgb_3HW: a kernel [108, 1, 12, 12]."""
    inputs, targets = (np.concatenate(parts) for parts in zip(*(_samples(*pair) for pair in pairs), strict=True))
    weights = torch.zeros(cfa.SIDE, cfa.SIDE, 3, WINDOW, WINDOW, dtype=torch.float64)
    for place in range(cfa.SIDE**2):
        x, y = inputs[:, place], targets[:, place]
        mean = x.mean(1, keepdims=True)
        gram = (x - mean).T @ (x - mean)
        gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
        solved = np.linalg.solve(gram, (x - mean).T @ (y - mean))  # [49, 3]
        whole = solved + (1 - solved.sum(0)) / len(solved)
        weights[place // cfa.SIDE, place % cfa.SIDE] = torch.from_numpy(whole.T.copy()).view(3, WINDOW, WINDOW)
    kernel = torch.zeros(3, cfa.SIDE, cfa.SIDE, 12, 12)
    for down in range(cfa.SIDE):
        for across in range(cfa.SIDE):
            kernel[:, down, across, down : down + WINDOW, across : across + WINDOW] = weights[down, across]
    return kernel.view(108, 1, 12, 12)


def apply_filter(mosaic_B1HW: Tensor, kernel: Tensor) -> Tensor:
    """rgb_B3HW of mosaics at phase (0, 0); measured samples are kept."""
    height, width = mosaic_B1HW.shape[-2:]
    reach = WINDOW // 2
    padded = cfa.extend(mosaic_B1HW, reach, reach, reach - height % -6, reach - width % -6)
    rgb = F.pixel_shuffle(F.conv2d(padded, kernel.to(mosaic_B1HW), stride=cfa.SIDE), cfa.SIDE)[..., :height, :width]
    return torch.where(cfa.masks(height, width).to(rgb) > 0.5, mosaic_B1HW, rgb)


def _samples(mosaic_1HW: Tensor, rgb_3HW: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Windows [N, 36, 49] and their middles [N, 36, 3], by place in the tile, where whole windows fit."""
    reach = WINDOW // 2
    height, width = ((side - cfa.SIDE - reach) // cfa.SIDE * cfa.SIDE for side in mosaic_1HW.shape[-2:])
    inside = [slice(cfa.SIDE, cfa.SIDE + side) for side in (height, width)]  # starts at phase (0, 0) again
    around = [slice(cfa.SIDE - reach, cfa.SIDE + side + reach) for side in (height, width)]
    windows = F.unfold(mosaic_1HW[None][..., around[0], around[1]].double(), WINDOW)[0]
    by_place = [_by_place(x.view(-1, height, width)) for x in (windows, rgb_3HW[:, inside[0], inside[1]].double())]
    return by_place[0].numpy(), by_place[1].numpy()


def _by_place(x_AHW: Tensor) -> Tensor:
    """[A, H, W] to [cells, 36, A]."""
    cells = x_AHW.unflatten(2, (-1, cfa.SIDE)).unflatten(1, (-1, cfa.SIDE))  # A, down, place, across, place
    return cells.permute(1, 3, 2, 4, 0).flatten(2, 3).flatten(0, 1)
