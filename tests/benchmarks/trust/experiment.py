"""An experiment on a planted truth: one repeat of it is a function of a seed, and gives each of its rows a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Row:
    """What is claimed, as a bound on the mean of a figure. A share is the mean of ones and zeros."""

    name: str
    least: float = -math.inf
    most: float = math.inf
    is_share: bool = True

    @property
    def goal(self) -> str:
        """The bound as a reader writes it."""
        return f">={self.least:g}" if math.isfinite(self.least) else f"<={self.most:g}"


@dataclass(frozen=True)
class Experiment:
    """`once(seed)` gives a figure for each row by its name; NaN where this repeat says nothing about a row."""

    once: Callable[[int], Mapping[str, float]]
    rows: tuple[Row, ...]
    repeats: int = 200


@dataclass(frozen=True)
class Measured:
    """A row after all repeats."""

    row: Row
    mean: float
    low: float
    high: float
    repeats: int  # that said something about the row

    @property
    def misses(self) -> bool:
        """Whether the whole interval lies beyond the goal."""
        return self.high < self.row.least or self.low > self.row.most or not self.repeats

    def __str__(self) -> str:
        figures = f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.row.name:42} {figures:24} {self.row.goal:8} {self.repeats}"


def measured(row: Row, figures: list[float]) -> Measured:
    """The mean of the figures that say something, with its interval: Wilson's for a share, else Student's."""
    values = np.array([figure for figure in figures if not math.isnan(figure)])
    if not len(values):
        return Measured(row, math.nan, math.nan, math.nan, 0)
    low, high = _wilson(values) if row.is_share else _student(values)
    return Measured(row, float(values.mean()), low, high, len(values))


def _wilson(values: np.ndarray) -> tuple[float, float]:
    """Source: Wilson 1927."""
    count, share, z = len(values), float(values.mean()), float(special.ndtri(0.5 + CONFIDENCE / 2))
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def _student(values: np.ndarray) -> tuple[float, float]:
    count, mean = len(values), float(values.mean())
    half = float(special.stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * float(values.std(ddof=1)) / math.sqrt(count)
    return mean - half, mean + half
