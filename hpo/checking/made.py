"""The checks that a preflight has made so far, and the step that it is at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hpo.task import Check, Status


@dataclass(frozen=True)
class Step:
    """A step of a preflight: at work, or with one of the checks that it has made."""

    name: str
    check: Check | None = None  # None: the step begins, or goes on
    seconds: float = 0.0  # since it began; 0 where it begins


@dataclass
class Made:
    """The checks made so far. `watch` is called when a step begins, and with each check as soon as it is made."""

    watch: Callable[[Step], None]
    made: list[Check] = field(default_factory=list)
    step: str = ""
    began: float = field(default_factory=time.perf_counter)

    def begin(self, step: str) -> None:
        """Say what is at work from now on."""
        self.step, self.began = step, time.perf_counter()
        self.watch(Step(step))

    def add(self, *new: Check) -> None:
        """Keep checks that the step has made."""
        for check in new:
            self.made.append(check)
            self.watch(Step(self.step, check, time.perf_counter() - self.began))

    def have_failed(self) -> bool:
        return worst_status(self.made) == "no-go"


def worst_status(made: Iterable[Check]) -> Status:
    """The worst status among the checks: "no-go", then "caution", then "go"."""
    statuses = {check.status for check in made}
    if "no-go" in statuses:
        return "no-go"
    return "caution" if "caution" in statuses else "go"
