"""One torch thread for every test: the bits of a result depend on the number, and tests share the cores."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import torch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
optuna.logging.set_verbosity(optuna.logging.WARNING)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were skipped, and why: in one line that nobody overlooks."""
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        groups = ", ".join(f"{count} ({reason})" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"WARNING: {reasons.total()} tests were SKIPPED: {groups}", yellow=True, bold=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Pytest keeps where and why a test was skipped as (file, line, "Skipped: reason")."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


@pytest.fixture(scope="session")
def memory_disk() -> Iterator[Path]:
    """A folder in memory where there is one: for tests that kill processes a hundred times, to which a disk's syncs add
    minutes and nothing else (a killed process loses nothing that a disk would have kept)."""
    in_memory = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 2**28
    with tempfile.TemporaryDirectory(prefix="hpo-tests-", dir="/dev/shm" if in_memory else None) as folder:
        yield Path(folder)
