"""Whether a smaller or a larger score is better. Nothing else derives this."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


class Direction(StrEnum):
    """Which way a score improves."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    @property
    def sign(self) -> int:
        """-1 where smaller is better, 1 where larger is: `sign * score` is then larger for the better score."""
        return -1 if self is Direction.MINIMIZE else 1

    @property
    def worst(self) -> float:
        """A value that every finite score is better than."""
        return -self.sign * math.inf

    def worst_if_none(self, value: float | None) -> float:
        """The value, or the worst one where there is none: what was not measured is ranked last."""
        return self.worst if value is None else value

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`. Nothing is better than, or worse than, NaN."""
        return self.sign * a > self.sign * b

    def best(self, values: Iterable[T], key: Callable[[T], Any] = lambda value: value) -> T:
        """The best of the values, by `key`; the first of equal ones. Raises ValueError where there are none."""
        return max(values, key=lambda value: self.sign * key(value))

    def ranked(self, values: Iterable[T], key: Callable[[T], Any] = lambda value: value) -> list[T]:
        """The values, best first; equal ones in the order in which they came."""
        return sorted(values, key=lambda value: -self.sign * key(value))

    def lead(self, a: Any, b: Any) -> Any:
        """How far `a`, a number or an array, is ahead of `b`: positive where it is better."""
        return self.sign * (a - b)


def front(items: Iterable[T], key: Callable[[T], Sequence[float]]) -> list[T]:
    """The items that no other one dominates, in their order. `key` gives their values, the larger the better.

    One item dominates another that it is nowhere worse than, and better than somewhere; of equal ones all stay.
    """
    points = [(item, tuple(key(item))) for item in items]
    return [item for item, point in points if not any(_dominates(rival, point) for _, rival in points)]


def _dominates(rival: Sequence[float], point: Sequence[float]) -> bool:
    pairs = list(zip(rival, point, strict=True))
    return all(theirs >= own for theirs, own in pairs) and any(theirs > own for theirs, own in pairs)
