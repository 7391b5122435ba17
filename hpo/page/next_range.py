"""The range of a next study, from where the best values lie in the old one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from optuna.distributions import FloatDistribution, IntDistribution

OUTER = 0.15  # of a range is its edge ...
CROWD = 1 / 2  # ... which is crowded where so much of the best lies in it
WIDER = 1 / 2  # of its width is added to a range at a crowded edge, on its own scale ...
MOST = math.log(10)  # ... and on a logarithmic one at most a factor of ten
MARGIN = 0.1  # of its width is left beside the best
DIGITS = 2  # of a new end

Numeric = FloatDistribution | IntDistribution
Edge = Literal["low", "high"]


class Ends(NamedTuple):
    """The ends of a range, or limits of them."""

    low: float
    high: float


@dataclass(frozen=True)
class Range:
    """A range as the sweep searches it: a place in it is 0 at its low end and 1 at its high one, on its own scale."""

    distribution: Numeric

    @property
    def ends(self) -> Ends:
        return Ends(self.distribution.low, self.distribution.high)

    def place(self, value: float) -> float:
        """Where a value lies."""
        low, high, position = (self._on_scale(number) for number in (*self.ends, value))
        return (position - low) / (high - low)

    def crowded(self, best: Sequence[float]) -> tuple[Edge, ...]:
        """The edges at which at least half of the best values lie."""
        places = [self.place(value) for value in best]
        at_edge: dict[Edge, int] = {
            "low": sum(place <= OUTER for place in places),
            "high": sum(place >= 1 - OUTER for place in places),
        }
        return tuple(edge for edge, number in at_edge.items() if number >= CROWD * len(best))

    def around(self, best: Sequence[float], widened: Sequence[Edge]) -> Ends:
        """The ends around the best values, with a margin; or beyond an edge that is to be widened, as far as it is not
        natural."""
        places = [self.place(value) for value in best]
        low = -self._more if "low" in widened else max(0.0, min(places) - MARGIN)
        high = 1 + self._more if "high" in widened else min(1.0, max(places) + MARGIN)
        ends = self._limited(self._rounded(Ends(self._value(low), self._value(high))))
        return Ends(
            ends.low if "low" in widened else max(ends.low, self.ends.low),
            ends.high if "high" in widened else min(ends.high, self.ends.high),
        )

    def is_narrower(self, ends: Ends, share: float) -> bool:
        """Whether the ends hold less than this share of the range."""
        return self.place(ends.high) - self.place(ends.low) < share

    @property
    def _more(self) -> float:
        """How far beyond an edge, in widths."""
        low, high = (self._on_scale(end) for end in self.ends)
        return min(WIDER, MOST / (high - low)) if self.distribution.log else WIDER

    def _on_scale(self, value: float) -> float:
        return math.log(value) if self.distribution.log else float(value)

    def _value(self, place: float) -> float:
        low, high = (self._on_scale(end) for end in self.ends)
        position = low + place * (high - low)
        return math.exp(position) if self.distribution.log else position

    def _rounded(self, ends: Ends) -> Ends:
        """Outwards, to few digits or onto the grid of an integer."""
        if isinstance(self.distribution, IntDistribution):
            start, step = self.distribution.low, self.distribution.step
            steps = Ends(_floor((ends.low - start) / step), -_floor((start - ends.high) / step))
            return Ends(start + step * steps.low, start + step * steps.high)
        if self.distribution.log:
            return Ends(_down(ends.low, of=ends.low), -_down(-ends.high, of=ends.high))
        width = ends.high - ends.low
        return Ends(_down(ends.low, of=width), -_down(-ends.high, of=width))

    def _limited(self, ends: Ends) -> Ends:
        """Not beyond what a range like this one ends at by its nature.

        What was never negative stays so, a count of at least 1 stays one, and a range within [0, 1] is taken for a
        share.
        """
        limits = self._limits
        low = ends.low if ends.low >= limits.low else self._least(limits.low)
        return Ends(low, min(ends.high, limits.high))

    def _least(self, limit: float) -> float:
        """The limit, or the point of an integer's grid that comes next."""
        if isinstance(self.distribution, FloatDistribution):
            return limit
        start, step = self.distribution.low, self.distribution.step
        return start - step * _floor((start - limit) / step)

    @property
    def _limits(self) -> Ends:
        low, high = self.ends
        if isinstance(self.distribution, IntDistribution):
            return Ends(min(low, 1) if low >= 0 else -math.inf, math.inf)
        is_share = low >= 0 and (high == 1 or (high < 1 and not self.distribution.log))
        return Ends(0.0 if low >= 0 else -math.inf, 1.0 if is_share else math.inf)


def _floor(number: float) -> int:
    """Rounded down, but for the error of a calculation."""
    return math.floor(number + 1e-9)


def _down(value: float, of: float) -> float:
    """Rounded down to two digits of a size."""
    places = DIGITS - 1 - math.floor(math.log10(of))
    step = 10.0**-places
    return round(_floor(value / step) * step, places)
