"""The coordinator: the one process of a study that asks and tells. Shared by sweep and promotion."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from functools import partial
from typing import Protocol

import torch

from hpo import events
from hpo.engine.checkpoint_files import reached
from hpo.storage.transient import retry_storage
from hpo.trial.job import Job
from hpo.trial.objective import settle
from hpo.trial.record import Outcome, count_deaths
from hpo.workers.local import Backend, Inline, Processes, prepare_worker

ATTEMPTS = 3  # of a job whose worker dies, without an epoch in between
POLL_S = 0.5


class Source(Protocol):
    """Where jobs come from and outcomes go: a sweep or a promotion. Both methods may be called again if they fail."""

    def next(self) -> Job | None:
        """The next job, or None while there is none."""

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Take a job's outcome."""


def drive(source: Source, run: Callable[[Job], Outcome], *, pool: Backend, watch: Callable[[], None]) -> None:
    """Keep the pool at work until the source has no more jobs. `watch` is called about twice a second.

    A job whose worker dies runs again, from its checkpoint; one that has died ATTEMPTS times without getting an epoch
    further is told as failed.
    """
    running: dict[Future, Job] = {}
    again: deque[Job] = deque()
    try:
        while True:
            while len(running) < pool.workers and (job := again.popleft() if again else retry_storage(source.next)):
                running[pool.submit(run, job)] = job
            if not running:
                return
            done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
            watch()
            for future in done:
                job = running.pop(future)
                outcome = _outcome(future, job)
                if outcome is None:
                    again.append(job)
                    continue
                settle(job, outcome)
                retry_storage(partial(source.tell, job, outcome))
    except BaseException:
        pool.kill()
        raise


def _outcome(future: Future, job: Job) -> Outcome | None:
    """What a job came to; None where its worker died and it may run again."""
    try:
        return future.result()
    except BrokenExecutor as error:
        deaths = count_deaths(job.folder, getattr(error, "deaths", 1))
        events.record("death", study=job.study_name, trial=job.number, deaths=deaths, epoch=reached(job.folder))
        if deaths < ATTEMPTS:
            return None
        return Outcome(
            "failed", reason=f"its worker died {deaths} times (killed, out of memory, hung, or a crash in native code)"
        )


@functools.cache
def _processes(workers: int, gpus: int) -> Processes:
    """The same for all verbs of a command."""
    return Processes(workers, gpus)


def executor(workers: int, backend: str = "auto", *, device: str = "cpu") -> Backend:
    """`backend` is "inline", "local" (processes), or the address of a Dask scheduler; "auto" is inline for one worker
    and local for more. Where `device` is "cuda", or "auto" and there are GPUs here, each process gets one of them; on
    a cluster each job gets a worker with the resource GPU, where `device` begins with "cuda"."""
    if backend == "inline" or (backend == "auto" and workers == 1):
        prepare_worker()
        return Inline()
    if backend in ("auto", "local"):
        return _processes(workers, torch.cuda.device_count() if device in ("auto", "cuda") else 0)
    from hpo.workers.dask import cluster

    return cluster(backend, workers, device.startswith("cuda"))
