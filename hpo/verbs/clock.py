"""When a command began: for a person, that is when the key was pressed, and not when torch was there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_IS_COMMAND: ContextVar[bool] = ContextVar("is_command", default=False)


@contextmanager
def as_command() -> Iterator[None]:
    """Within it, this process was started for what is done now."""
    token = _IS_COMMAND.set(True)
    try:
        yield
    finally:
        _IS_COMMAND.reset(token)


def seconds_before() -> float:
    """How long ago the command of this process was given; 0 where there is none, or the system does not say."""
    if not _IS_COMMAND.get():
        return 0.0
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - float(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):  # no Linux
        return 0.0
