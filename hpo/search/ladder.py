"""The ladder: trials pause at rungs and the better half of each rung goes on, beside arms that run straight to the end.

Early rankings may mislead. The arms show it: they run to their end whatever they look like, and unless most of those
that the ladder has brought to the end are better, new trials run straight too.

Once a few trials are completed, every second trial of the ladder begins near the best of them.

What comes next follows from the trials' curves alone. So a sweep that was killed, or a replay of recorded curves, asks
the same as an unbroken one. Values are costs here: lower is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Way = Literal["given", "straight", "ladder"]  # given: chosen by somebody; it runs straight, and is no arm
Draw = Literal["sobol", "near", "tpe"]  # near: close to the best completed trial

ARMS = 2  # drawn trials that run straight to the end once the ladder has brought one there
MODELLED = 8  # completed trials that TPE needs to propose anything
PAIRS = 2  # of an arm's end and a ladder's end, before the early rankings are judged
TRUSTED = 2 / 3  # share of these pairs in which the ladder's end is better, where the early rankings are believed
LOCAL = 5  # completed trials before others begin near the best of them


@dataclass(frozen=True)
class Curve:
    """A trial of the sweep, as far as its value is known."""

    number: int
    way: Way
    costs: tuple[float, ...]  # best so far after each epoch up to its last pause, or of all epochs where it has ended
    spent: int  # epochs that it has taken, or takes until its next pause
    is_paused: bool = False
    is_complete: bool = False


@dataclass(frozen=True)
class Begin:
    """A new trial that runs until it has ended so many epochs."""

    epochs: int
    way: Way
    draw: Draw


@dataclass(frozen=True)
class GoOn:
    """A paused trial that runs until it has ended so many epochs."""

    number: int
    epochs: int


@dataclass(frozen=True)
class Ladder:
    """The rule for trials of so many epochs, of which all together take `budget` epochs at most.

    No trial pauses before `first` epochs.
    """

    epochs: int
    budget: int
    first: int = 1

    @property
    def rungs(self) -> tuple[int, ...]:
        """The numbers of epochs at which trials pause, ascending; the last one is the end."""
        halves = {round(self.epochs / 2**power) for power in range(self.epochs.bit_length() + 1)}
        return tuple(sorted(rung for rung in halves if rung >= self.first))

    def next(self, curves: Sequence[Curve], *, is_given: bool = False) -> Begin | GoOn | None:
        """What comes next; None where nothing can come before a running trial pauses or ends, or nothing at all.

        `is_given` says that a configuration waits that is not to be drawn.
        """
        left = self.budget - sum(curve.spent for curve in curves)
        if not self._may_complete(curves, left):
            return None
        if is_given and self.epochs <= left:
            return Begin(self.epochs, "given", "sobol")
        if self.epochs <= left and (_lacks_arms(curves) or is_misled(curves)):
            return Begin(self.epochs, "straight", _draw_of_arm(curves))
        best = next((step for step in self._promotions(curves) if self._cost(step, curves) <= left), None)
        if best is None and self.rungs[0] <= left:
            return Begin(self.rungs[0], _way_to(self), _draw_of_climber(curves))
        return best

    def _may_complete(self, curves: Sequence[Curve], left: int) -> bool:
        """Whether what is left of the budget brings any trial to its end."""
        unfinished = [curve.spent for curve in curves if curve.is_paused]
        return left >= self.epochs - max(unfinished, default=0)

    def _promotions(self, curves: Sequence[Curve]) -> Iterator[GoOn]:
        """The trials that may go on, from the highest rung down, the best of each rung first."""
        for rung, higher in reversed(list(zip(self.rungs, self.rungs[1:], strict=False))):
            ended = sorted((curve.costs[rung - 1], curve.number, curve) for curve in curves if len(curve.costs) >= rung)
            for _, number, curve in ended[: len(ended) // 2]:
                if curve.is_paused and curve.spent == rung:
                    yield GoOn(number, higher)

    def _cost(self, step: GoOn, curves: Sequence[Curve]) -> int:
        return step.epochs - next(curve.spent for curve in curves if curve.number == step.number)


def _lacks_arms(curves: Sequence[Curve]) -> bool:
    """Whether an arm is due: before the ladder has brought a trial to the end, there is nothing to compare it with."""
    has_climbed = any(curve.way == "ladder" and curve.is_complete for curve in curves)
    return has_climbed and sum(curve.way == "straight" for curve in curves) < ARMS


def is_misled(curves: Sequence[Curve]) -> bool:
    """Whether too few of the trials that the ladder has brought to the end are better than the arms for early rankings
    to be believed. Where these say nothing, half of the pairs are, by chance."""
    ends: dict[Way, list[float]] = {"given": [], "straight": [], "ladder": []}
    for curve in curves:
        if curve.is_complete:
            ends[curve.way].append(curve.costs[-1])
    arms, climbed = np.array(ends["straight"]), np.array(ends["ladder"])
    if arms.size * climbed.size < PAIRS:
        return False
    better = (climbed[:, None] < arms).mean() + (climbed[:, None] == arms).mean() / 2
    return bool(better < TRUSTED)


def _draw_of_arm(curves: Sequence[Curve]) -> Draw:
    return "tpe" if sum(curve.is_complete for curve in curves) >= MODELLED else "sobol"


def _draw_of_climber(curves: Sequence[Curve]) -> Draw:
    """Half of the new trials search near the best one; the others still cover the whole space."""
    is_local = sum(curve.is_complete for curve in curves) >= LOCAL and len(curves) % 2 == 0
    return "near" if is_local else "sobol"


def _way_to(ladder: Ladder) -> Way:
    """A trial of one epoch has nothing to climb."""
    return "ladder" if len(ladder.rungs) > 1 else "straight"
