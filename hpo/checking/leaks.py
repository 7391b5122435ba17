"""Examples of one split that lie in another one, though never bit for bit: augmented, rescaled or noisy copies.

What is compared is the distance from an example to its nearest neighbour in the training split. In honest splits the
examples of validation are as far from the training split as its own examples are from each other. Copies are nearer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import scipy  # which imports its parts at their first use
import torch
from torch import Tensor

from hpo.seeds import generator

DIMENSIONS = 64  # that examples are projected to: distances survive a random projection
ROWS = 50_000  # of a split that are kept
QUERIES = 512  # examples whose nearest neighbours are looked for
CHUNK = 64  # of them at a time
NEAR = (0.1, 0.25, 0.5)  # shares of the usual distance between neighbours below which two examples are copies
RECOGNISED = 0.2  # share of the training split whose augmented copies must be near, or copies cannot be told
CHANCE = 1e-4  # largest probability that honest splits have as many near neighbours


class Projection:
    """Maps examples to points. Scales and directions come from the first batch that it is made with."""

    def __init__(self, first: list[Tensor]) -> None:
        rows = _flat(first)
        deviations = rows.std(0, correction=0)
        positive = deviations[deviations > 0]
        least = 0.1 * float(positive.median()) if len(positive) else 1.0
        self.mean, self.scale = rows.mean(0), deviations.clamp(min=least)
        width = rows.shape[1]
        self.directions = None
        if width > DIMENSIONS:
            draws = torch.randn(width, DIMENSIONS, generator=generator("projection"), dtype=rows.dtype)
            self.directions = draws / math.sqrt(DIMENSIONS)

    def __call__(self, fields: list[Tensor]) -> Tensor:
        """The points of a batch, [B, DIMENSIONS or fewer]. Examples of another length are cut, or filled with zeros."""
        rows, width = _flat(fields), len(self.mean)
        rows = torch.nn.functional.pad(rows, (0, width - rows.shape[1]))  # a negative width cuts
        scaled = (rows - self.mean) / self.scale
        return scaled if self.directions is None else scaled @ self.directions


def is_plain(tensor: Tensor) -> bool:
    """Whether the tensor's examples can be made points: it is neither sparse nor nested."""
    return tensor.dim() > 0 and not tensor.is_nested and tensor.layout == torch.strided


def _flat(fields: Iterable[Tensor]) -> Tensor:
    """The numbers of each example as one row, [B, numbers]."""
    real = [torch.view_as_real(field) if field.is_complex() else field for field in fields]
    return torch.cat([field.reshape(len(field), -1).float() for field in real], dim=1)


@dataclass(frozen=True)
class Neighbours:
    """A split, and how near its examples are to each other."""

    points: Tensor  # [N, dimensions], double; all differ
    own: Tensor  # [queries]: from an example to the nearest other one of the split

    @classmethod
    def among(cls, points: Tensor) -> Neighbours:
        """The neighbours of a split."""
        points = points.double()
        return cls(points, _distances(_spread(points), points, rank=2))

    @property
    def usual(self) -> float:
        """The usual distance between neighbours."""
        return float(self.own.median()) if len(self.points) > 1 else 0.0

    def nearness(self, again: Tensor | None) -> float | None:
        """The share of the usual distance below which two examples are copies; None where copies cannot be told.

        `again` are the same examples in another epoch, where augmentation makes them differ. They can be told where
        they lie nearer to what they were before than to anything else.
        """
        if again is None:
            return NEAR[0]
        back = _distances(_spread(again), self.points, rank=1)
        for nearness in NEAR:
            bound = nearness * self.usual
            if _share(back < bound) >= RECOGNISED + _share(self.own < bound):
                return nearness
        return None

    def copies(self, others: Tensor, nearness: float | None) -> int:
        """How many of (at most QUERIES of) the other examples are copies; 0 where chance explains them."""
        if nearness is None or not len(others) or not self.usual:
            return 0
        bound = nearness * self.usual
        are_near = _distances(_spread(others), self.points, rank=1) < bound
        near, by_chance = int(are_near.sum()), int((self.own < bound).sum())
        table = [[near, len(are_near) - near], [by_chance, len(self.own) - by_chance]]
        return near if scipy.stats.fisher_exact(table, alternative="greater").pvalue < CHANCE else 0


def _share(holds: Tensor) -> float:
    return float(holds.double().mean())


def _spread(points: Tensor) -> Tensor:
    """At most QUERIES rows, from all over."""
    return points[:: math.ceil(len(points) / QUERIES)] if len(points) else points


def _distances(queries: Tensor, points: Tensor, rank: int) -> Tensor:
    """From each query to its nearest point (rank 1), or to the nearest but itself (rank 2)."""
    if len(points) < rank:
        return torch.full((len(queries),), torch.inf, dtype=torch.double)
    parts = torch.split(queries.double(), CHUNK)
    return torch.cat([torch.cdist(part, points).kthvalue(rank, dim=1).values for part in parts])
