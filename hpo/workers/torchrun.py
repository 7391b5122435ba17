"""One job on several devices of this machine: a process each, started by torchrun."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import distributed as torch_distributed
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from hpo import events, watchdog
from hpo.engine import distributed
from hpo.trial.job import Job
from hpo.trial.objective import trained
from hpo.trial.record import Outcome, read_outcome, write_outcome
from hpo.workers.local import WorkerDied
from hpo.workers.preparation import prepare_worker
from hpo.workers.process import allow_processes

# The death of another rank is an error of the connection in this one. torchrun notices it meanwhile, and ends this rank
# too, before the error is taken for the trial's own.
NOTICE_S = 5.0
GRACE_S = 60.0  # for rank 0 to write how the job ended, when another rank has failed


def on_devices(count: int, job: Job, train: Callable[[Job], Outcome]) -> Outcome:
    """Run `train(job)` on rank 0 of `count` processes; all of them take a share of every batch.

    With CUDA, rank N uses device N; otherwise all ranks are on the CPU. Raises WorkerDied where a rank dies.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=f"{job.study_name}-{job.number}",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, _rank)(job, train)
    except ChildFailedError as error:
        raise WorkerDied(1) from error
    outcome = read_outcome(job.folder, job.inputs)
    assert outcome is not None, "rank 0 writes the outcome before it ends"
    return outcome


def _rank(job: Job, train: Callable[[Job], Outcome]) -> None:
    """The main function of each rank: rank 0 writes the outcome, the others only train along."""
    events.keep(job.folder.parent.parent / "events.log")
    watchdog.may_be_ended()
    allow_processes()
    prepare_worker()
    local_rank = int(os.environ["LOCAL_RANK"])
    cuda = job.device.startswith("cuda") or (job.device == "auto" and torch.cuda.is_available())
    if cuda:
        torch.cuda.set_device(local_rank)
    torch_distributed.init_process_group("nccl" if cuda else "gloo")
    job = replace(job, device=f"cuda:{local_rank}" if cuda else "cpu")
    if distributed.rank() == 0:
        outcome = train(job)
        if outcome.state == "failed":
            time.sleep(NOTICE_S)
        write_outcome(job.folder, outcome, job.inputs)
    else:
        _train_along(job)
    torch_distributed.destroy_process_group()


def _train_along(job: Job) -> None:
    """Train without writing anything.

    An error that all ranks meet is in the outcome that rank 0 writes, so it is waited for here. Where rank 0 writes
    none, the error is this rank's alone: it is raised, which ends all ranks.
    """
    try:
        for _ in trained(job):
            pass
    except (Exception, SystemExit, GeneratorExit):
        deadline = time.monotonic() + GRACE_S
        while read_outcome(job.folder, job.inputs) is None:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
