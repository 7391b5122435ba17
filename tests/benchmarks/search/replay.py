"""A search that is played on a table: workers in virtual time, in which each epoch takes the same."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Protocol

CAP = 20  # full trainings
MISS = 30  # of a search that does not come that far in CAP


class Search(Protocol):
    def start(self) -> tuple[int, int] | None:
        """What a free worker does now: a trial's number, and how many epochs it takes; None: nothing yet."""

    def end(self, number: int) -> float | None:
        """The trial has taken them: its value where it is complete."""


@dataclass(frozen=True)
class Played:
    """The regrets of the trials that were completed, and how many full trainings had been spent by then."""

    completed: tuple[tuple[float, float], ...]  # (full trainings, regret)

    def time_to(self, regret: float) -> float:
        """Full trainings until a completed trial has this regret."""
        return min((spent for spent, reached in self.completed if reached <= regret), default=MISS)

    @property
    def regret(self) -> float:
        """Of the best completed trial at the end."""
        return min(regret for _, regret in self.completed)


def play(search: Search, epochs: int, regret, workers: int) -> Played:
    """Let the workers spend CAP full trainings of so many epochs each."""
    cap = CAP * epochs / workers  # of each worker
    running: list[tuple[float, int]] = []
    completed = []
    now = 0.0
    while now <= cap:
        while len(running) < workers and (job := search.start()) is not None:
            heapq.heappush(running, (now + job[1], job[0]))
        if not running:
            break
        now, number = heapq.heappop(running)
        if now > cap:
            break
        value = search.end(number)
        if value is not None:
            completed.append((workers * now / epochs, regret(value)))
    return Played(tuple(completed))
