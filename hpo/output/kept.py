"""The log of a trial, `output.log` in its folder: all that is printed while it is trained, whoever prints it.

Descriptors 1 and 2 lead straight into the file: what native code and child processes print is in it too, and a crash
loses nothing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import platform
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from hpo import retrying
from hpo.files import make_folder
from hpo.output.shorten import HEAD, TAIL, shorten
from hpo.output.shown import Screen
from hpo.output.streams import open_if_closed, steady

OUTPUT = "output.log"
STDOUT, STDERR = 1, 2
LOOK_S = 0.5  # between two looks at the log
SHOW_S = 0.1  # the same where it is shown, too

_is_shown: ContextVar[bool] = ContextVar("_is_shown", default=False)
_taken = threading.Lock()  # a process has one pair of descriptors


@contextmanager
def also_shown() -> Iterator[None]:
    """Show what is kept until this ends, too: a trial that runs in the process of a person is looked at."""
    token = _is_shown.set(True)
    try:
        yield
    finally:
        _is_shown.reset(token)


@contextmanager
def kept(log: Path) -> Iterator[None]:
    """Append to the log what this process and its children print, until this ends. The log is kept short.

    All is printed as before where the log cannot be written, inside another `kept` of this process, and from
    `breakpoint()` on, which needs the terminal.
    """
    descriptor = _opened(log)
    if descriptor is None:
        yield
        return
    if not _taken.acquire(blocking=False):
        os.close(descriptor)
        yield
        return
    redirection = _Redirection(log, descriptor)
    try:
        with warnings.catch_warnings():  # a warning that an earlier trial has shown is shown again
            yield
    finally:
        redirection.end()
        with contextlib.suppress(OSError):
            shorten(log, HEAD + TAIL)
        os.close(descriptor)
        _taken.release()


def note(log: Path, text: str, details: str = "") -> None:
    """Append the details, and then a line of the harness's own with the time. Dropped where it cannot be written."""
    descriptor = _opened(log)
    if descriptor is None:
        return
    with contextlib.suppress(OSError):
        size = os.fstat(descriptor).st_size
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        start = "\n" if is_torn else ""
        line = f"[hpo] {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {text}\n"
        os.write(descriptor, f"{start}{details}{line}".encode(errors="backslashreplace"))
    os.close(descriptor)


def this_process() -> str:
    """This process, as a note names it."""
    return f"process {os.getpid()} on {platform.node()}"


def _opened(log: Path) -> int | None:
    """A descriptor of the log, never through a link, that writes to its end; None where it cannot be written."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        make_folder(log.parent)
        return os.open(log, flags, 0o644)
    except OSError:
        return None


class _Redirection:
    """Descriptors 1 and 2, with Python's streams, lead into an open log until `end`."""

    def __init__(self, log: Path, opened: int) -> None:
        for number in (STDOUT, STDERR):
            open_if_closed(number)
        self._streams, self._breakpoint = (sys.stdout, sys.stderr), sys.breakpointhook
        self._descriptors = os.dup(STDOUT), os.dup(STDERR)
        screen = Screen(opened, sys.stdout, self._descriptors[0]) if _is_shown.get() else None
        retrying.say_waits_on(self._descriptors[1])
        sys.stdout, sys.stderr = steady(STDOUT, sys.stdout), steady(STDERR, sys.stderr)
        for number in (STDOUT, STDERR):
            os.dup2(opened, number)
        sys.breakpointhook = self._debug
        if not faulthandler.is_enabled():
            faulthandler.enable(STDERR)  # a crash in native code shows its stacks
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, args=(log, screen), daemon=True)
        self._watch.start()

    def end(self) -> None:
        """Lead all back to where it led before. Called again, do nothing."""
        if self._ended.is_set():
            return
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, number in zip(self._descriptors, (STDOUT, STDERR), strict=True):
            os.dup2(descriptor, number)
        (sys.stdout, sys.stderr), sys.breakpointhook = self._streams, self._breakpoint
        retrying.say_waits_on(None)
        self._ended.set()
        self._watch.join()
        for descriptor in self._descriptors:
            os.close(descriptor)

    def _debug(self, *args: object, **options: object) -> object:
        """The hook of `breakpoint()`: whoever is asked must see the question."""
        self.end()
        if sys.breakpointhook is not sys.__breakpointhook__ or os.environ.get("PYTHONBREAKPOINT"):
            return sys.breakpointhook(*args, **options)
        import inspect  # these two are rarely needed
        import pdb

        pdb.Pdb().set_trace(inspect.stack()[1].frame)  # where breakpoint() stands, and not here
        return None

    def _look(self, log: Path, screen: Screen | None) -> None:
        """Keep the log short, and show what is new in it, from time to time and when it has ended."""
        is_last = False
        while not is_last:
            is_last = self._ended.wait(LOOK_S if screen is None else SHOW_S)
            with contextlib.suppress(OSError):
                if screen is not None:
                    screen.show_new()
                shorten(log)
                if screen is not None:
                    screen.skip_to_end()
