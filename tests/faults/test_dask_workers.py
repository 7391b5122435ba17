"""Workers that run something else than the coordinator are named and set aside. Real ones, each with a PYTHONPATH."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo.errors import HpoError
from hpo.search.sweep import sweep
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.trial.provenance import identity
from hpo.verbs.load import load_study
from tests.faults import servers
from tests.faults.processes import code_of, start
from tests.faults.servers import Dask
from tests.faults.studies import Victim, checked, events, victims

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed"),
    pytest.mark.timeout(900),
]
ROOT = Path(__file__).parents[2]
OUTSIDE = """\
from dataclasses import dataclass

from tests.faults.studies import Victim, victims


@dataclass(frozen=True)
class Outside(Victim):
    pass


study = victims(name="outside", task=Outside(), trials=2)
"""


def environment(folder: Path) -> dict[str, str]:
    """Of a process that imports from this folder."""
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    with servers.dask(tmp_path_factory.mktemp("dask") / "cluster", environment(ROOT), 0) as running:
        yield running


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which a line of the engine is another one."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("hpo", "tests"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    with open(checkout / "hpo" / "engine" / "gradients.py", "a") as file:
        file.write("\nANOTHER = 1\n")
    return checkout


@pytest.fixture
def with_worker(cluster: Dask) -> Dask:
    """The cluster, with a worker that runs the same as this process."""
    if not cluster.nannies:
        cluster.start_workers(1)
    return cluster


def swept_on(cluster: Dask, study: StudySpec, folder: Path) -> int:
    """The exit code of a process that sweeps on the cluster."""

    def act() -> None:
        try:
            sweep(study, RunFolder(folder), identity(study), workers=0, on=cluster.address, device="cpu")
        except HpoError as error:
            print(error, file=sys.stderr)
            os._exit(error.exit_code)

    return code_of(start(act))


def test_a_worker_of_another_checkout_is_named_and_set_aside_and_the_others_do_the_work(
    folder: Path, cluster: Dask, changed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Alone, it is the reason that the sweep is refused."""
    study = victims(trials=3)
    cluster.environment = environment(changed)
    cluster.start_workers(1)
    assert swept_on(cluster, study, folder) == 2
    refused = capfd.readouterr().err
    assert "no Dask worker can be used" in refused
    assert "engine/gradients.py: the file changed" in refused

    cluster.environment = environment(ROOT)
    cluster.start_workers(1)
    cluster.wait_for_workers(2)
    assert swept_on(cluster, study, folder) == 0
    printed = capfd.readouterr().err
    assert "set aside, and the others go on" in printed
    assert printed.count("engine/gradients.py: the file changed") == 1
    assert {os.getpgid(event["pid"]) for event in events(folder, "start")} == {cluster.nannies[-1].pid}  # the second
    checked(folder, 3)


def test_a_task_whose_folder_the_workers_were_not_told_of_reaches_them(
    folder: Path, with_worker: Dask, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outside.py").write_text(OUTSIDE)
    assert swept_on(with_worker, load_study(tmp_path / "outside.py"), folder.parent / "outside") == 0
    checked(folder.parent / "outside", 2)
    for number in range(2):  # a worker keeps what a trial prints, as the folder is shared
        log = (folder.parent / "outside" / "sweep" / f"{number:04d}" / "output.log").read_text()
        assert f"trial {number} of outside begins: " in log
        assert f"trial {number} of outside complete after " in log


def test_a_task_that_the_workers_cannot_see_is_refused_with_where_they_look(
    folder: Path, with_worker: Dask, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unseen.py").write_text(OUTSIDE.replace("outside", "unseen"))
    study = load_study(tmp_path / "unseen.py")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    assert swept_on(with_worker, study, folder.parent / "unseen") == 2
    refused = capfd.readouterr().err
    assert "it cannot import the study: ModuleNotFoundError: No module named 'unseen'" in refused
    assert "PYTHONPATH" in refused


@pytest.mark.soak
def test_a_scheduler_of_another_environment_is_refused_with_what_it_lacks(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere" / "hpo").mkdir(parents=True)
    (tmp_path / "elsewhere" / "hpo" / "__init__.py").touch()
    with servers.dask(tmp_path / "dask", environment(tmp_path / "elsewhere"), 0) as running:
        running.environment = environment(ROOT)
        running.start_workers(1)
        assert swept_on(running, victims(trials=1), folder) == 2
    assert "the Dask scheduler cannot import hpo (No module named 'hpo.workers')" in capfd.readouterr().err


@pytest.mark.soak
def test_deaths_are_noticed_at_once_where_the_scheduler_would_wait_for_the_same_worker(
    folder: Path, tmp_path: Path
) -> None:
    """Dask's own setting allows three deaths, and waits for a worker at the address of the one that has died."""
    allowing = {**environment(ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3"}
    with servers.dask(tmp_path / "dask", allowing, 1) as running:
        assert swept_on(running, victims(task=Victim(deed="die"), trials=1, pruning=None), folder) == 70
    assert [event["deaths"] for event in events(folder, "death")] == [1, 2, 3]
