"""What a benchmark hands over, and what a command costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {  # one thread, and glibc's allocator set as hpo sets it, on both sides of a comparison
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    quantity: str
    measured: str
    goal: str = ""
    short: str = ""  # how README.md calls the quantity; "": it is not in README.md


@dataclass(frozen=True)
class Measured:
    """The result of a benchmark."""

    rows: tuple[Row, ...]
    how: str  # what was done, in a sentence or two


@dataclass(frozen=True)
class Spent:
    """What a command cost with all processes that it waited for, in seconds, and what it printed."""

    wall: float
    cpu: float
    output: str


def spent(*command: str, cwd: Path | None = None) -> Spent:
    """Run a command to its end. Raises CalledProcessError where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=cwd)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Spent(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, output)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """The median, and the least and the largest value where there are several."""
    middle = f"{statistics.median(values):{form}}"
    return f"{middle} ({min(values):{form}} to {max(values):{form}} in {len(values)})" if len(values) > 1 else middle
