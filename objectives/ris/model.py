"""A small convolutional network that scores the cells of a (u, v, 1/r) grid and moves each of them a little.

A cell stands for the sources near its own place, so outputs need not be matched to sources.
Shapes: B scenes, G = planes * nv * nu cells, K = k_max.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

GROUPS = 4
COUNT_WIDTH = 64


class Cells(NamedTuple):
    """The network's output."""

    logits: Tensor  # [B, G]: their softmax over all cells is the share of the power in each
    offset: Tensor  # [B, G, 3]: from the cell's centre in (u, v, rho), in cells, within (-1, 1)
    count_logits: Tensor  # [B, K]: for 1..K sources


class GridNet(nn.Module):
    """(maps [B, 2 planes, nv, nu], eigenvalues [B, n]) -> Cells."""

    position: Tensor  # [2, nv, nu]: u and v of each pixel, scaled to [-1, 1]

    def __init__(
        self, *, planes: int, nv: int, nu: int, eigenvalues: int, k_max: int, width: int, blocks: int, dropout: float
    ) -> None:
        super().__init__()
        if width % GROUPS:
            raise ValueError(f"width must be a multiple of {GROUPS}; got {width}")
        self.planes = planes
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, nv), torch.linspace(-1, 1, nu), indexing="ij")
        self.register_buffer("position", torch.stack((columns, rows)), persistent=False)
        self.stem = nn.Conv2d(2 * planes + 2, width, 3, padding=1)
        self.spectrum = nn.Linear(eigenvalues, width)
        self.blocks = nn.Sequential(*(Block(width, dropout) for _ in range(blocks)))
        self.last = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.GELU())
        self.cells = nn.Conv2d(width, 4 * planes, 1)
        self.count = nn.Sequential(nn.Linear(3 * width, COUNT_WIDTH), nn.GELU(), nn.Linear(COUNT_WIDTH, k_max))

    def forward(self, maps: Tensor, eigenvalues: Tensor) -> Cells:
        spectrum = self.spectrum(eigenvalues)
        position = self.position.expand(len(maps), -1, -1, -1)
        x = self.stem(torch.cat((maps, position), 1)) + spectrum[..., None, None]
        x = self.last(self.blocks(x))
        cells = self.cells(x).unflatten(1, (4, self.planes)).flatten(2).float()  # [B, 4, G]
        pooled = torch.cat((x.mean((2, 3)), x.amax((2, 3)), spectrum), 1)
        return Cells(cells[:, 0], torch.tanh(cells[:, 1:]).mT, self.count(pooled).float())


class Block(nn.Module):
    """Two normalised convolutions and a residual connection."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
