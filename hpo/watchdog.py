"""A trial that makes no progress is ended instead of waited for: its process shows its stacks and exits."""

from __future__ import annotations

import faulthandler
import os
import statistics
from collections.abc import Iterator
from typing import Protocol, TypeVar

HANG_S = float(os.environ.get("HPO_HANG_S", 600))  # the shortest time without an epoch that counts as hanging
FIRST_EPOCH = 6  # times that before the first epoch, which also makes or reads the data
SLOWER = 5  # times the median epoch
STDERR = 2  # the descriptor: sys.stderr may have been replaced

_limit_s: float | None = None  # of the alarm that is set


class Timed(Protocol):
    """An epoch's progress, as far as the watchdog looks at it."""

    @property
    def seconds(self) -> float: ...


P = TypeVar("P", bound=Timed)


def watched(epochs: Iterator[P]) -> Iterator[P]:
    """Yield the same epochs. If the next one does not come in time, this process shows its stacks and exits.

    The alarm is a thread of the C library, which a deadlock in Python or native code does not stop.
    """
    seconds: list[float] = []
    try:
        expect_progress(FIRST_EPOCH * HANG_S)
        for progress in epochs:
            seconds.append(progress.seconds)
            expect_progress(max(HANG_S, SLOWER * statistics.median(seconds)))
            yield progress
    finally:
        expect_progress(None)


def expect_progress(limit_s: float | None) -> None:
    """End this process after `limit_s` seconds, unless this is called again; None: no longer."""
    global _limit_s
    _limit_s = limit_s
    if limit_s is None:
        faulthandler.cancel_dump_traceback_later()
    else:
        faulthandler.dump_traceback_later(limit_s, exit=True, file=STDERR)


def extend() -> None:
    """Start the time of the alarm that is set anew."""
    expect_progress(_limit_s)
