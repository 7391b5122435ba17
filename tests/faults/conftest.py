"""Folders in memory, where the disk's speed is not what is tested, and imports that are paid for once."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import processes
from tests.faults.studies import swept, victims

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is slow: processes are killed and waited for."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def no_process_outlives_its_test() -> Iterator[None]:
    """What a test that failed has left running would fail the ones after it."""
    yield
    processes.end_all()


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What torch and alembic import at their first use takes seconds: here, and not in every fork."""
    swept(victims(trials=1), tmp_path_factory.mktemp("warm") / "victims")


@pytest.fixture
def folder(tmp_path: Path, warm: None) -> Iterator[Path]:
    base = Path(f"/dev/shm/hpo-faults-{os.getpid()}-{tmp_path.name}")
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    yield base / "victims"
    shutil.rmtree(base)
