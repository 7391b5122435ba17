"""Retry what fails for a passing reason: a full disk, a locked database, a server that restarts.

None of these is a trial's result. The trial waits, and if that does not help the command stops where it can go on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from hpo import events, watchdog
from hpo.errors import Halted

T = TypeVar("T")

PATIENCE_S = float(os.environ.get("HPO_PATIENCE_S", 600))  # for a disk or a database
LONGEST_PAUSE_S = 30.0

_terminal: int | None = None  # the descriptor that a person reads, where standard error leads elsewhere


def retry(call: Callable[[], T], is_transient: Callable[[Exception], bool]) -> T:
    """Return `call()`, retried for PATIENCE_S while the error is transient. Raises Halted after that."""
    began, pause = time.monotonic(), 0.1
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error):
                raise
            waited = time.monotonic() - began
            if waited > PATIENCE_S:
                raise Halted(f"{cause(error)}; waited {waited:.0f} s for that to pass") from error
            if pause > 1:
                _say(f"hpo: {cause(error)}; waiting")
                events.record("waiting", cause=cause(error), seconds=round(waited, 1))
        with watchdog.paused():  # waiting for the surroundings is not hanging
            time.sleep(min(pause, PATIENCE_S))
        pause = min(2 * pause, LONGEST_PAUSE_S)


def say_waits_on(descriptor: int | None) -> None:
    """From now on, say on this descriptor what is waited for; None: on standard error.

    While standard error leads into a file, nobody would read why nothing happens; a full disk does not even keep it.
    """
    global _terminal
    _terminal = descriptor


def _say(line: str) -> None:
    if _terminal is None:
        print(line, file=sys.stderr)
        return
    with contextlib.suppress(OSError):
        os.write(_terminal, f"{line}\n".encode())


def disk_full(error: BaseException) -> bool:
    """True where the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def cause(error: BaseException) -> str:
    """The innermost reason, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
