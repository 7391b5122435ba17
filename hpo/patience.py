"""How long to wait, and for what.

A full disk, a locked database or a server that restarts is nobody's result: the trial waits, and if that does not
help the command stops where it can go on. A trial that makes no progress is ended instead of waited for.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from hpo import events


class Timed(Protocol):
    """An epoch's progress, as far as patience looks at it."""

    @property
    def seconds(self) -> float: ...


T = TypeVar("T")
Epoch = TypeVar("Epoch", bound=Timed)

PATIENCE_S = float(os.environ.get("HPO_PATIENCE_S", 600))  # for a disk or a database
HANG_S = float(os.environ.get("HPO_HANG_S", 600))  # without an epoch, at least; before the first one FIRST times that
FIRST = 6  # the first epoch also makes or reads the data
SLOWER = 5  # times the median epoch

_limit: float | None = None  # of the alarm that is set


class Halted(OSError):
    """The surroundings failed, not the trial. Nothing that was recorded is lost, and the same command goes on."""


def patiently(call: Callable[[], T], passing: Callable[[Exception], bool]) -> T:
    """`call()`, again and again for PATIENCE_S while what it raises is `passing`. Raises Halted after that."""
    began, pause = time.monotonic(), 0.1
    while True:
        try:
            return call()
        except Exception as error:
            if not passing(error):
                raise
            waited = time.monotonic() - began
            if waited > PATIENCE_S:
                raise Halted(f"{cause(error)}; waited {waited:.0f} s for that to pass") from error
            if pause > 1:
                print(f"hpo: {cause(error)}; waiting", file=sys.stderr)
                events.record("waiting", cause=cause(error), seconds=round(waited, 1))
        expect_progress(_limit)
        time.sleep(min(pause, PATIENCE_S))
        pause = min(2 * pause, 30.0)


def disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def cause(error: BaseException) -> str:
    """The innermost reason, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def watched(epochs: Iterator[Epoch]) -> Iterator[Epoch]:
    """The same epochs. If the next one does not come in time, the process shows its stacks and ends: it counts as dead.

    The alarm is a thread of the C library, which a deadlock in Python or native code does not stop.
    """
    seconds: list[float] = []
    try:
        expect_progress(FIRST * HANG_S)
        for progress in epochs:
            seconds.append(progress.seconds)
            expect_progress(max(HANG_S, SLOWER * statistics.median(seconds)))
            yield progress
    finally:
        expect_progress(None)


def expect_progress(limit: float | None) -> None:
    """End this process after `limit` seconds, unless it is called again; None: no longer."""
    global _limit
    _limit = limit
    if limit is None:
        faulthandler.cancel_dump_traceback_later()
    else:
        faulthandler.dump_traceback_later(limit, exit=True, file=2)  # standard error, whatever has taken its name
