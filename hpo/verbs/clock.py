"""The clock of a budget. For a person a command begins when the key is pressed, and not when torch is there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from hpo.formatting import seconds_of

REPORT_S = 6.0  # for verdict and report, until one has been written
MARGIN = 2.0  # times as long as the report of the sweep takes all that comes after the last run
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


class Budget:
    """So many seconds from now for a whole study."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        started = seconds_before()
        self.leaving = started / 2  # the end of a process takes about half as long as its start
        self.stage_began = time.monotonic() - started
        self.ends = self.stage_began + seconds
        self.report = REPORT_S
        self.first_report = REPORT_S / MARGIN  # that of the sweep
        self.rivals = 0.0  # classical methods are tuned and scored
        self.spent: dict[str, float] = {}  # seconds of each stage that has ended

    @staticmethod
    def of(text: str | None) -> Budget | None:
        """The budget that is given as "2h", from now on; None where none is given or where it is no time."""
        try:
            return Budget(seconds_of(text)) if text else None
        except ValueError:
            return None

    @property
    def until_end(self) -> float:
        """Seconds until all is to be over; negative where it is late."""
        return self.ends - self.leaving - time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left for gate, sweep and promotion."""
        return self.until_end - self.report

    @property
    def between(self) -> float:
        """Seconds of what comes between the sweep and the promotion."""
        return self.first_report + self.rivals

    def end_stage(self, name: str) -> None:
        """Count the seconds since the last stage has ended as those of this one. A stage may come twice."""
        now = time.monotonic()
        self.spent[name] = self.spent.get(name, 0.0) + now - self.stage_began
        self.stage_began = now

    def measure_report(self, write: Callable[[], object]) -> None:
        """Write a report, and expect the last one to take the like."""
        began = time.monotonic()
        write()
        self.report = MARGIN * (time.monotonic() - began)
        self.first_report = 0.0
