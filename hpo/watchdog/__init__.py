"""A trial that takes too long, too much memory, or makes no progress is ended instead of waited for.

In a worker, which may be replaced, a guard does it: a process beside it (see guard.py). In any other process, such as
that of the command itself, time and memory are looked at after each epoch, and a hang shows its stacks alone: nothing
outside the process could end the trial, and this is where a debugger stands.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from hpo.watchdog import guard
from hpo.watchdog.limit import RECORD, STACKS, Bounds, OverLimit, Reached

SLOWER = 5  # times the median epoch of the trial: a hang limit that derives from preflight is never shorter
STDERR = 2  # the descriptor: sys.stderr may have been replaced
LONGEST_S = 1e8  # that the C library can wait
SENT_S = 0.05  # between two orders to the guard


class Timed(Protocol):
    """An epoch's progress, as far as the watchdog looks at it."""

    @property
    def seconds(self) -> float: ...

    @property
    def replayed(self) -> bool: ...


P = TypeVar("P", bound=Timed)


def watched(epochs: Iterator[P], bounds: Bounds | None, folder: Path) -> Iterator[P]:
    """Yield the same epochs. Where they take more than the bounds allow, this process is ended, and a record of it is
    left in the trial's folder; in a process that may not be ended, OverLimit is raised after an epoch.

    Without bounds nothing is watched.
    """
    if bounds is None:
        yield from epochs
        return
    meter = _Meter(bounds, folder)
    try:
        meter.expect_epoch()
        for progress in epochs:
            meter.count(progress)
            meter.expect_epoch()
            yield progress
            meter.require_within()
    finally:
        meter.end()


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """What happens in it is not the trial's: it waits for a disk or a database."""
    meter = _meter
    if meter is None:
        yield
        return
    meter.rest()
    started = time.monotonic()
    try:
        yield
    finally:
        meter.waited_s += time.monotonic() - started
        meter.expect_epoch()


def may_be_ended() -> None:
    """Say that this process is a worker: where it is ended over a limit, another one takes its place."""
    global _is_worker
    _is_worker = True


class _Meter:
    """What a trial has taken in this process and in earlier ones."""

    def __init__(self, bounds: Bounds, folder: Path) -> None:
        self.bounds, self.folder = bounds, folder
        self.epoch_seconds: list[float] = []
        self.earlier_s = 0.0  # in epochs of earlier attempts
        self.waited_s = 0.0
        self.began = time.monotonic()
        self.sent = -math.inf
        self.stacks = _open_stacks(folder) if _is_worker else None

    @property
    def used_s(self) -> float:
        return self.earlier_s + time.monotonic() - self.began - self.waited_s

    @property
    def hang_s(self) -> float:
        """How long the next epoch may take."""
        if self.bounds.is_hang_given:
            return self.bounds.hang_s
        if not self.epoch_seconds:
            return self.bounds.hang_s + self.bounds.start_s
        return max(self.bounds.hang_s, SLOWER * statistics.median(self.epoch_seconds))

    def count(self, progress: Timed) -> None:
        self.epoch_seconds.append(progress.seconds)
        if progress.replayed:
            self.earlier_s += progress.seconds

    def expect_epoch(self) -> None:
        """Start the time of the next epoch."""
        global _meter
        _meter = self
        _show_stacks_after(self.hang_s, self.stacks)
        if _is_worker and time.monotonic() - self.sent > SENT_S:
            self._send()

    def rest(self) -> None:
        """Let nothing strike until an epoch is expected again."""
        faulthandler.cancel_dump_traceback_later()
        self.sent = -math.inf
        if _is_worker:
            _the_guard().send(None)

    def end(self) -> None:
        global _meter
        _meter = None
        self.rest()
        if self.stacks is not None:
            self.stacks.close()

    def _send(self) -> None:
        self.sent = time.monotonic()
        about = {"epoch_s": self.bounds.epoch_s, "is_hang_given": self.bounds.is_hang_given}
        order = {
            "record": str(self.folder / RECORD),
            "used_s": self.used_s,
            "seconds": self.bounds.seconds,
            "memory": self.bounds.memory,
            "hang_s": self.hang_s,
            "about": about,
        }
        _the_guard().send(order)

    def require_within(self) -> None:
        """Raise OverLimit where too much was taken, and no guard can end this process."""
        if _is_worker:
            return
        seconds, memory = self.bounds.seconds, self.bounds.memory
        if seconds is not None and self.used_s > seconds:
            raise OverLimit(Reached("minutes", seconds, self.used_s))
        used = guard.Memory(os.getpid()).above(memory) if memory is not None else None
        if memory is not None and used is not None:
            raise OverLimit(Reached("memory_gb", memory, used))


def _open_stacks(folder: Path) -> IO[bytes] | None:
    """The file for the stacks of a hang; None where it cannot be made, which must not cost the trial."""
    try:
        return open(folder / STACKS, "wb", buffering=0)
    except OSError:
        return None


def _show_stacks_after(seconds: float, file: IO[bytes] | None) -> None:
    """Write the stacks of all threads, unless this is called again before. A thread of the C library does it, which a
    deadlock in Python or native code does not stop."""
    if seconds < LONGEST_S:
        faulthandler.dump_traceback_later(seconds, file=STDERR if file is None else file)


@dataclass(frozen=True)
class _Guard:
    """The guard of a process, and the end of the pipe that its orders go into."""

    owner: int  # the process that it watches
    process: subprocess.Popen[bytes]

    def send(self, order: object) -> None:
        """Give it another order. It may have been killed just now: the next order goes to another one."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(order).encode() + b"\n")


_is_worker = False
_meter: _Meter | None = None  # of the trial that is trained in this process
_guard: _Guard | None = None


def _the_guard() -> _Guard:
    """The guard of this process. A forked process has none of its own at first, and one may have been killed."""
    global _guard
    if _guard is None or _guard.owner != os.getpid() or _guard.process.poll() is not None:
        command = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid())]
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=null, stderr=null, bufsize=0)
        _guard = _Guard(os.getpid(), process)
    return _guard
