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

from hpo import events
from hpo.engine import distributed
from hpo.trial.job import Job
from hpo.trial.objective import trained
from hpo.trial.record import Outcome, read_outcome, write_outcome
from hpo.workers.local import WorkerDied, prepare_worker

GRACE_S = 60.0  # that rank 0 gets to say how the job ended, where another one fails


def on_devices(count: int, job: Job, train: Callable[[Job], Outcome]) -> Outcome:
    """`train(job)` on the first of `count` ranks; the others take their shares of every batch. With CUDA, rank N has
    the device N; else all are on the CPU.

    Raises WorkerDied where one of them dies.
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
    assert outcome is not None, "rank 0 writes before it ends"
    return outcome


def _rank(job: Job, train: Callable[[Job], Outcome]) -> None:
    """The main function of each rank."""
    events.keep(job.folder.parent.parent / "events.log")
    prepare_worker()
    here = int(os.environ["LOCAL_RANK"])
    cuda = job.device.startswith("cuda") or (job.device == "auto" and torch.cuda.is_available())
    if cuda:
        torch.cuda.set_device(here)
    torch_distributed.init_process_group("nccl" if cuda else "gloo")
    mine = replace(job, device=f"cuda:{here}" if cuda else "cpu")
    if distributed.rank() == 0:
        write_outcome(job.folder, train(mine), job.inputs)
    else:
        _follow(mine)
    torch_distributed.destroy_process_group()


def _follow(job: Job) -> None:
    """Train along. What fails on all ranks is rank 0's to tell; what fails here alone ends them all."""
    try:
        for _ in trained(job):
            pass
    except Exception:
        until = time.monotonic() + GRACE_S
        while read_outcome(job.folder, job.inputs) is None:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
