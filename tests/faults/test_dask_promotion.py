"""A promotion on a real Dask cluster, of which a worker and the coordinator are killed: the verdict is the same."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo.engine.checkpoint_files import reached
from hpo.promotion.promote import promote
from hpo.storage.folder import RunFolder, promotion_name
from hpo.trial.provenance import identity, promotion_identity
from tests.faults import servers
from tests.faults.paced import study
from tests.faults.processes import alive, code_of, start, until
from tests.faults.servers import Dask
from tests.faults.studies import events, swept

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed"),
    pytest.mark.timeout(900),
]


@pytest.fixture
def cluster(tmp_path: Path, warm: None) -> Iterator[Dask]:
    """Two workers on which an epoch takes a while."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PACE": "0.5"}
    with servers.dask(tmp_path / "cluster", environment, 2) as running:
        yield running


def promoted(folder: Path, on: str) -> None:
    full_identity = {**identity(study), **promotion_identity(study)}
    promote(study, RunFolder(folder), full_identity, workers=0 if "://" in on else 1, on=on, device="cpu")


def runs_begun(folder: Path) -> list[dict[str, Any]]:
    return [event for event in events(folder, "start") if event["study"] == promotion_name(study.name)]


def at_work(folder: Path) -> list[dict[str, Any]]:
    """The starts of the runs that have a checkpoint and no result yet."""
    begun = [event for event in runs_begun(folder) if alive(event["pid"])]
    return [event for event in begun if reached(folder / "promotion" / f"{event['trial']:04d}") >= 0]


def verdict_of(folder: Path) -> Any:
    """The verdict, without the seconds that each run took."""
    verdict = json.loads((folder / "verdict.json").read_text())
    for result in verdict["results"]:
        for run in result["runs"]:
            del run["seconds"]
    return verdict


def test_a_worker_and_the_coordinator_are_killed_and_the_verdict_is_that_of_an_unbroken_promotion(
    folder: Path, cluster: Dask
) -> None:
    unbroken, broken = folder.parent / "unbroken" / study.name, folder.parent / "broken" / study.name
    for each in (unbroken, broken):
        swept(study, each)
    promoted(unbroken, "inline")

    coordinator = start(lambda: promoted(broken, cluster.address))
    killed = until(lambda: at_work(broken))[0]
    os.kill(killed["pid"], signal.SIGKILL)
    until(lambda: [event for event in runs_begun(broken) if event["trial"] == killed["trial"]][1:])
    os.kill(coordinator, signal.SIGKILL)
    assert code_of(coordinator) == -signal.SIGKILL
    assert not (broken / "verdict.json").exists()
    assert code_of(start(lambda: promoted(broken, cluster.address))) == 0

    again = [event["epoch"] for event in runs_begun(broken) if event["trial"] == killed["trial"]]
    assert again[1] >= 1  # from its checkpoint
    assert verdict_of(broken) == verdict_of(unbroken)
    assert len(list((broken / "promotion").iterdir())) == len(list((unbroken / "promotion").iterdir()))
