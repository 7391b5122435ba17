"""A part's result as it is kept, with the machine and its load at the time."""

from __future__ import annotations

import json
import os
import platform
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.measured import Measured, Row

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Kept:
    """A part as it was measured, or why it could not be."""

    rows: tuple[Row, ...]
    how: str
    error: str  # "": it was measured
    day: str
    seconds: float
    cores: int
    others: float  # cores that other processes kept busy meanwhile, on the mean
    versions: str


def measured_now(measure: Callable[[], Measured]) -> Kept:
    """Measure, and note what else the machine was doing. An error is a result too: the other parts go on."""
    began, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    error = ""
    try:
        result = measure()
    except Exception as raised:
        traceback.print_exc()
        result, error = Measured((), ""), f"{type(raised).__name__}: {raised}".splitlines()[0]
    seconds = time.monotonic() - began
    others = (busy_seconds() - busy - (own_seconds() - own)) / seconds
    return Kept(
        rows=result.rows,
        how=result.how,
        error=error,
        day=datetime.now(UTC).date().isoformat(),
        seconds=round(seconds),
        cores=len(os.sched_getaffinity(0)),
        others=round(max(0.0, others), 2),
        versions=versions(),
    )


def versions() -> str:
    import optuna
    import torch

    return f"Python {platform.python_version()}, torch {torch.__version__}, Optuna {optuna.__version__}"


def busy_seconds() -> float:
    """The seconds that all cores together have been busy since the machine started."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def own_seconds() -> float:
    """The CPU seconds of this process and of the children that have ended."""
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in each)


def read(path: Path) -> dict[str, Kept]:
    """The parts that are kept, by name."""
    if not path.exists():
        return {}
    return {name: _decoded(record) for name, record in json.loads(path.read_text()).items()}


def write(path: Path, name: str, kept: Kept) -> None:
    """Keep a part in place of an earlier result of it. One that could not be measured replaces none that was."""
    parts = read(path)
    if kept.error and name in parts and not parts[name].error:
        return
    parts[name] = kept
    path.write_text(json.dumps({each: asdict(part) for each, part in parts.items()}, indent=1) + "\n")


def _decoded(record: dict) -> Kept:
    return Kept(**{**record, "rows": tuple(Row(**row) for row in record["rows"])})
