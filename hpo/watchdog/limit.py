"""What one trial may take, and what is said of one that has taken more."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from hpo.errors import HpoError
from hpo.formatting import duration, number

GB = 2**30
RECORD = "limit.json"  # in a trial's folder: which limit its worker was ended over
STACKS = "stacks.txt"  # beside it: where the worker was when no epoch ended

LimitName = Literal["minutes", "memory_gb", "hang_minutes"]


@dataclass(frozen=True)
class Limit:
    """What one trial may take. One that takes more is ended as failed, with a reason that names the limit, and is not
    tried again; its epochs stay in its record, and the search keeps away from the like.

    `minutes` are those of a trial of the sweep, from its start; the epochs of attempts that were interrupted count.
    `memory_gb` (of 2**30 bytes) is the real memory of the worker and of all processes that it has started, with what
    they share counted once; memory of a GPU, and files that are mapped but can be read again, do not count.
    `hang_minutes` is how long a trial may train without the end of an epoch. Left out, it is ten times the slowest
    epoch that preflight has timed, at least 10 minutes, and never below five times the trial's own median epoch; the
    first epoch, which also makes or reads the data, has 50 minutes more.

    A limit is no part of the question: adding or changing one does not make the study another study. Runs of the
    promotion have no limit of minutes; their `hang_minutes` grow with the size of the fidelity. Raises ValueError
    naming the key, what was given and what is allowed.
    """

    minutes: float | None = None  # of a trial of the sweep; None: no limit
    memory_gb: float | None = None  # None: no limit
    hang_minutes: float | None = None  # without an epoch; None: from preflight, as said above

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (is_number and value > 0):
                raise ValueError(f"limit.{key}: must be a number above 0, or None; got {value!r}")


@dataclass(frozen=True)
class Bounds:
    """The limits of one job, in seconds and bytes."""

    hang_s: float = 600.0  # without an epoch
    start_s: float = 3000.0  # that the first epoch may take beside that: it also makes or reads the data
    seconds: float | None = None  # of the whole trial
    memory: float | None = None  # in bytes
    epoch_s: float | None = None  # of preflight's slowest epoch, where the hang limit derives from it
    is_hang_given: bool = False  # hang_s is what the study's `limit` says


@dataclass(frozen=True)
class Reached:
    """The limit that ended a trial, as it was then."""

    name: LimitName  # the field of `Limit`
    limit: float  # in seconds, or bytes
    used: float
    epoch_s: float | None = None  # as in the bounds
    is_hang_given: bool = False

    @property
    def sentence(self) -> str:
        """The reason of a trial that it has ended."""
        if self.name == "minutes":
            setting = f"limit=Limit(minutes={number(self.limit / 60)})"
            return f"over its time limit: it took {duration(self.used)} of {duration(self.limit)} ({setting})"
        if self.name == "memory_gb":
            used, limit = number(self.used / GB, 3), number(self.limit / GB)
            return f"over its memory limit: it took {used} GB of {limit} GB (limit=Limit(memory_gb={limit}))"
        within = f"no epoch ended within {duration(self.limit)}"
        if self.is_hang_given:
            return f"{within} (limit.hang_minutes of the study)"
        measured = "no preflight has timed an epoch"
        if self.epoch_s is not None:
            measured = f"limit from preflight's {duration(self.epoch_s)} an epoch"
        return f"{within} ({measured}); set limit=Limit(hang_minutes=...)"


class OverLimit(HpoError, RuntimeError):
    """A trial has taken more than it may, in a process that cannot be ended for it."""

    def __init__(self, reached: Reached) -> None:
        super().__init__(reached.sentence)
        self.reached = reached


def read_reached(folder: Path) -> Reached | None:
    """The limit that the worker of a trial was ended over; None where it was not."""
    try:
        record = cast("dict[str, Any]", json.loads((folder / RECORD).read_bytes()))
        reached = Reached(**record)
        return reached if math.isfinite(reached.used) and reached.sentence else None
    except (OSError, ValueError, TypeError):  # not there, or damaged: then it is a death like any other
        return None


def read_stacks(folder: Path) -> str:
    """Where the worker was when no epoch ended; "" where that is not known."""
    try:
        return (folder / STACKS).read_text(errors="replace")
    except OSError:
        return ""
