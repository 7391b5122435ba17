"""One torch thread for every test: the bits of a result depend on the number, and tests share the cores."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import torch

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
optuna.logging.set_verbosity(optuna.logging.WARNING)


def pytest_terminal_summary(terminalreporter) -> None:
    from tests.faults.servers import missing

    if lacking := missing():
        terminalreporter.write_line(f"WARNING: many machines are NOT TESTED, for want of {lacking}", red=True)


@pytest.fixture(scope="session")
def memory_disk() -> Iterator[Path]:
    """A folder in memory where there is one: for tests that kill processes a hundred times, to which a disk's syncs add
    minutes and nothing else (a killed process loses nothing that a disk would have kept)."""
    there = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 2**28
    with tempfile.TemporaryDirectory(prefix="hpo-tests-", dir="/dev/shm" if there else None) as folder:
        yield Path(folder)
