"""Axes that can be read: logarithmic where numbers span decades, few ticks with full labels, outliers kept outside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.direction import Direction
from hpo.formatting import number, setting

DECADES = 30  # a range whose ends are this far apart is drawn on a logarithmic axis
OFF = -0.14  # where a parallel axis puts the trials that did not search its parameter


@dataclass(frozen=True)
class Axis:
    """A numeric axis: its range in the data's own numbers, and whether it is logarithmic."""

    low: float
    high: float
    log: bool = False
    outside: int = 0  # values that do not fit

    def plotly(self, **more: Any) -> dict[str, Any]:
        """As the layout of a plotly axis."""
        if not self.log:
            return {"type": "linear", "range": [self.low, self.high], **more}
        ticks = log_ticks(self.low, self.high)
        return {
            "type": "log",
            "range": [math.log10(self.low), math.log10(self.high)],
            "tickvals": ticks,
            "ticktext": [number(tick, 3) for tick in ticks],
            **more,
        }

    def coordinate(self, value: float) -> float:
        """The value as plotly's annotations want it: its logarithm on a logarithmic axis."""
        return math.log10(value) if self.log else value

    def share(self, value: float) -> float:
        """Where the value lies, from 0 at the low end to 1 at the high one; what is off the axis lies at its end."""
        low, high, value = (math.log(part) if self.log else part for part in (self.low, self.high, value))
        return min(1.0, max(0.0, (value - low) / (high - low)))


def axis_of(values: Iterable[float | None], *, direction: Direction | None = None, whole: bool = False) -> Axis:
    """An axis for these values.

    With a direction, the good side has room for a label, and up to a tenth of the values may fall outside on the bad
    side, where they would squeeze the others; `whole` keeps them in.
    """
    known = np.array([value for value in values if value is not None], dtype=float)
    if not known.size:
        return Axis(0.0, 1.0)
    below = 2.2 if direction is Direction.MINIMIZE else 1.0
    above = 2.2 if direction is Direction.MAXIMIZE else 1.0
    low, high = float(known.min()), float(known.max())
    if low > 0 and high / low >= DECADES:
        room = (high / low) ** 0.06
        return Axis(low / room**below, high * room**above, log=True)
    if direction and not whole:
        low, high = _without_outliers(known, direction)
    room = 0.07 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - below * room, high + above * room, outside=int(((known < low) | (known > high)).sum()))


def _without_outliers(known: np.ndarray, direction: Direction) -> tuple[float, float]:
    """The range of the values without at most a tenth of them that are far worse than the others."""
    first, third = np.quantile(known, [0.25, 0.75])
    reach = 3 * (third - first) or math.inf
    worst_kept = direction.ranked((first - reach, third + reach))[-1]
    kept = known[direction.lead(known, worst_kept) >= 0]
    if known.size < 8 or kept.size < 0.9 * known.size:
        kept = known
    return float(kept.min()), float(kept.max())


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers in [low, high], at most `most` where that can be: 1-2-5, 1-3, whole decades, every n-th decade."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks: list[float] = []
    for digits in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
        round_numbers = [digit * 10.0**decade for decade in range(first, last + 1) for digit in digits]
        ticks = [tick for tick in round_numbers if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


@dataclass(frozen=True)
class Scale:
    """A hyperparameter's range laid on [0, 1]: logarithms, whole numbers and choices alike."""

    name: str
    distribution: FloatDistribution | IntDistribution | CategoricalDistribution

    @property
    def choices(self) -> list[Any] | None:
        return list(self.distribution.choices) if isinstance(self.distribution, CategoricalDistribution) else None

    @property
    def log(self) -> bool:
        return self.choices is None and bool(getattr(self.distribution, "log", False))

    def position(self, value: Any) -> float:
        """Where the value lies, from 0 to 1."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices.index(value) / max(1, len(self.distribution.choices) - 1)
        low, high, at = float(self.distribution.low), float(self.distribution.high), float(value)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low)

    def ticks(self, most: int = 5) -> dict[float, str]:
        """Position -> label; the ends of a numeric range always among them."""
        if isinstance(self.distribution, CategoricalDistribution):
            return {self.position(choice): setting(choice) for choice in self.distribution.choices}
        low, high = self.distribution.low, self.distribution.high
        whole = self.distribution if isinstance(self.distribution, IntDistribution) else None
        steps = range(whole.low, whole.high + 1, whole.step) if whole else []
        if 0 < len(steps) <= most + 1:
            return {self.position(step): number(step) for step in steps}
        between = log_ticks(low, high, most) if self.log else round_ticks(low, high, most)
        kept = {self.position(end): number(end, 3) for end in (low, high)}
        for tick in between:
            at = self.position(tick)
            if all(abs(at - neighbour) >= 0.8 / most for neighbour in kept):  # labels of neighbours must not touch
                kept[at] = number(tick, 3)
        return kept


def round_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in [low, high], at most `most`; whole for a whole range."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power * most >= high - low)
    if isinstance(low, int) and isinstance(high, int):
        step = max(1, round(step))
    first = math.ceil(low / step - 1e-9)
    return [round(step * index, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def near_edge(scale: Scale, values: Iterable[Any], share: float = 0.05) -> str:
    """ "lower" or "upper" where all the values crowd at that end of a numeric range."""
    places = [scale.position(value) for value in values]
    if not places or scale.choices is not None:
        return ""
    if max(places) <= share:
        return "lower"
    return "upper" if min(places) >= 1 - share else ""


def scales(space: Mapping[str, BaseDistribution]) -> list[Scale]:
    """A scale for each parameter of a plain space."""
    return [Scale(name, cast(Any, distribution)) for name, distribution in space.items()]
