"""The batch files of docs/examples/slurm, as they stand there, in a real SLURM. `python -m pytest -m slurm`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import hpo
from tests.faults import check, servers, slurm
from tests.faults.paced import study
from tests.faults.processes import until
from tests.faults.servers import Postgres
from tests.faults.slurm import Slurm
from tests.faults.studies import at_work, checked, each_as_undisturbed, events

LACKING = slurm.missing()
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(LACKING), reason=f"SLURM's tests need {LACKING}"),
    pytest.mark.timeout(1800),  # SLURM looks for jobs whose time is over twice a minute
]
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "slurm"
PACED = str(Path(__file__).with_name("paced.py"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    with tempfile.TemporaryDirectory(prefix="hpo-slurm-") as base, slurm.slurm(Path(base) / "cluster") as running:
        yield running


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a preflight that says go has written."""
    runs = tmp_path_factory.mktemp("preflight") / "runs"
    assert hpo.preflight(PACED, runs=runs, device="cpu").status == "go"
    return runs


@pytest.fixture
def project(tmp_path: Path, runs: Path) -> Path:
    """A folder as a user has it: an environment, the batch files, and the record of a preflight."""
    for script in EXAMPLES.iterdir():
        shutil.copy(script, tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    shutil.copytree(runs, tmp_path / "runs")
    return tmp_path


def log_of(project: Path) -> str:
    return "".join(path.read_text() for path in sorted(project.glob("hpo-*.log")))


def is_over(cluster: Slurm, job: str) -> bool:
    return cluster.job(job)["JobState"] not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED")


def stopped_by_the_clock(cluster: Slurm, job: str, folder: Path) -> None:
    """Let the job's time run out when a trial has a checkpoint; it is in the queue again when this returns.

    Two minutes are left then, which is when the batch files ask for the signal.
    """
    until(lambda: is_over(cluster, job) or list(folder.glob("sweep/*/epoch-*.pt")))
    assert not is_over(cluster, job), log_of(folder.parents[1])
    cluster.command("scontrol", "update", f"JobId={job}", "TimeLimit=2")
    until(lambda: cluster.job(job)["Restarts"] == "1")
    cluster.command("scontrol", "update", f"JobId={job}", "TimeLimit=60")


def ended(cluster: Slurm, job: str, project: Path) -> str:
    """Wait until the job has ended well; returns what it has printed."""
    until(lambda: is_over(cluster, job))
    log = log_of(project)
    assert cluster.job(job)["JobState"] == "COMPLETED", log
    assert log.count("interrupted; nothing that was done is lost") == 1, log
    assert json.loads((project / "runs" / "paced" / "verdict.json").read_text())["sentence"] in log
    return log


def test_one_node_a_job_whose_time_runs_out_goes_back_into_the_queue_and_goes_on(cluster: Slurm, project: Path) -> None:
    folder, words = project / "runs" / "paced", [PACED, "--workers", "2", "--device", "cpu"]
    job = cluster.submit(project / "one-node.sbatch", *words, PYTHONPATH=str(ROOT), PACE="2")
    stopped_by_the_clock(cluster, job, folder)
    assert "Traceback" not in ended(cluster, job, project)
    checked(folder, study.trials)
    each_as_undisturbed(study, folder)
    assert max(event["epoch"] for event in events(folder, "start")) > 0  # a trial went on from its checkpoint


@pytest.fixture
def server() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="hpo-postgres-") as base:  # the user postgres must come in
        Path(base).chmod(0o755)
        with servers.postgres(Path(base) / "server") as running:
            running.fresh()
            yield running


@pytest.mark.skipif(bool(servers.missing()), reason=f"many nodes need {servers.missing()}")
def test_many_nodes_an_array_of_workers_has_a_gpu_each_and_a_job_whose_time_runs_out_comes_back_with_new_ones(
    cluster: Slurm, project: Path, server: Postgres
) -> None:
    folder, words = project / "runs" / "paced", [PACED, "--device", "cpu"]
    variables = {"PYTHONPATH": str(ROOT), "PACE": "2", "HPO_STORAGE": server.url, "PGPASSFILE": str(server.passfile)}
    job = cluster.submit(project / "many-nodes.sbatch", *words, WORKERS=str(len(slurm.GPUS)), **variables)
    until(lambda: is_over(cluster, job) or len(at_work(folder)) == len(slurm.GPUS))
    assert not is_over(cluster, job), log_of(project)
    assert sorted(gpu_of(pid) for pid in at_work(folder)) == ["0", "1"]
    stopped_by_the_clock(cluster, job, folder)
    ended(cluster, job, project)
    until(lambda: not cluster.command("squeue", "--noheader"))  # the workers have ended
    assert list(check.violations(folder, study.trials, server.query)) == []
    each_as_undisturbed(study, folder)


def gpu_of(pid: int) -> str:
    variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(variable.split("=", 1) for variable in variables if "=" in variable)["CUDA_VISIBLE_DEVICES"]
