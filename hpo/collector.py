"""Python's garbage collector, where a great many objects are made that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Let the collector wait.

    It looks through all objects of a process each time that their number has grown by a quarter. Where torch is
    imported, or the trials of a long study are read, that costs a seventh to a half of the time, and finds nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
