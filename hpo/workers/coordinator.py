"""The coordinator: the one process of a study that asks for trials and tells how they ended. Sweep and promotion share
it."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from functools import partial
from typing import Protocol

import torch

from hpo import events
from hpo.data.passes import LoaderDied
from hpo.engine.checkpoint_files import reached
from hpo.errors import raise_if_stopped
from hpo.output.kept import OUTPUT
from hpo.storage.folder import RunFolder
from hpo.storage.transient import retry_storage
from hpo.trial.job import Job
from hpo.trial.log import note_death, note_end
from hpo.trial.objective import settle
from hpo.trial.over_limit import outcome_over_limit
from hpo.trial.record import Outcome, count_deaths
from hpo.workers.local import Backend, Inline, Processes
from hpo.workers.loky_private import loading_error
from hpo.workers.preparation import prepare_worker

ATTEMPTS = 3  # of a job whose worker dies each time, without a new epoch in between
POLL_S = 1.0  # between two looks at what runs: each reads the storage, which takes some milliseconds
FOREIGN_IDLE_S = 60.0


class Source(Protocol):
    """Where jobs come from and outcomes go: a sweep or a promotion.

    Both methods may be called again after they failed: a storage that is locked or away is asked until it answers.
    """

    def next(self) -> Job | None:
        """The next job, or None while there is none."""

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Take a job's outcome."""


def drive(source: Source, run: Callable[[Job], Outcome], *, pool: Backend, watch: Callable[[], None]) -> None:
    """Keep the pool at work until the source has no more jobs. `watch` is called about once a second
    and after each end.

    A job whose worker dies runs again, from its checkpoint; one whose workers have died ATTEMPTS times without a new
    epoch has failed.
    """
    running: dict[Future[Outcome], Job] = {}
    interrupted: deque[Job] = deque()  # their workers have died
    try:
        while True:
            raise_if_stopped()
            # The pool is asked anew each time: a cluster grows and shrinks while it works.
            while len(running) < pool.workers and (job := _next_job(source, interrupted)) is not None:
                events.record("submit", study=job.study_name, trial=job.number)
                running[pool.submit(run, job)] = job
            if not running:
                return
            finished, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
            watch()
            for future in finished:
                job = running.pop(future)
                outcome = _outcome(future, job)
                if outcome is None:
                    interrupted.append(job)
                else:
                    _conclude(source, job, outcome)
            if finished:
                watch()  # before anything else can go wrong: who watches is told of every end
    except BaseException:
        # Whatever ends this loop, a signal as much as an error: what still runs would train trials that nobody tells
        # the storage of, and would keep their folders from the next coordinator.
        pool.kill()
        raise


def _next_job(source: Source, interrupted: deque[Job]) -> Job | None:
    """Interrupted jobs go first: they are trials that the storage already counts as running."""
    if interrupted:
        return interrupted.popleft()
    return retry_storage(source.next)


def _conclude(source: Source, job: Job, outcome: Outcome) -> None:
    """Write the outcome into the trial's folder, and only then tell the storage. The order is what makes a crash safe.

    The folder is the truth about a trial, and the storage is its index. After a crash between the two steps, the next
    coordinator finds a trial that the storage still counts as running, with a result in its folder, and tells it. In
    the reverse order a crash would lose the result: the storage would hold a value, and no folder the record of it.
    """
    settled = settle(job, outcome)
    if not (job.folder / OUTPUT).exists():  # it ran where this folder is not, or nowhere
        note_end(job, settled)
    retry_storage(partial(source.tell, job, settled))


def _outcome(future: Future[Outcome], job: Job) -> Outcome | None:
    """How the job ended; None where its worker died and it is to run again.

    A death says nothing about the configuration: the machine may have been short of memory, or somebody has killed the
    worker. What was trained is in the checkpoint, so another attempt costs an epoch at most. Only a job that kills
    worker after worker at the same epoch is to blame itself.
    """
    try:
        return future.result()
    except BrokenExecutor as error:
        cause = loading_error(error)
        if cause:  # another attempt would end the same way
            reason = f"a worker process could not load the task: {cause}"
            return _given_up(job, Outcome("failed", reason=reason, traceback=str(error.__cause__)))
        over_limit = outcome_over_limit(job)
        if over_limit is not None:  # an answer: another attempt would come to the same
            events.record("limit", study=job.study_name, trial=job.number, reason=over_limit.reason)
            return _given_up(job, over_limit)
        deaths = count_deaths(job.folder, getattr(error, "deaths", 1))
        note_death(job, deaths)
        events.record("death", study=job.study_name, trial=job.number, deaths=deaths, epoch=reached(job.folder))
        if deaths < ATTEMPTS:
            return None
        cause = str(error) if isinstance(error, LoaderDied) else "killed, out of memory, or a crash in native code"
        return _given_up(job, Outcome("failed", reason=f"its worker died {deaths} times ({cause})"))


def _given_up(job: Job, outcome: Outcome) -> Outcome:
    """The outcome, of which the job's log is told: its worker could not."""
    note_end(job, outcome)
    return outcome


@functools.cache
def _processes(workers: int, gpus: int) -> Processes:
    """All verbs of a command use the same processes: to start them takes seconds."""
    return Processes(workers, gpus)


@functools.cache
def foreign_process(hash_seed: str, path: tuple[str, ...]) -> Processes:  # noqa: ARG001  # of another path, another
    """A process in which Python orders sets otherwise than in this one. It ends when it has been idle for a while.

    It imports from `path`, which is sys.path now: a process keeps the one that it was started with.
    """
    return Processes(1, environment={"PYTHONHASHSEED": hash_seed}, idle_s=FOREIGN_IDLE_S)


def executor(workers: int, backend: str = "auto", *, device: str = "cpu", folder: RunFolder | None = None) -> Backend:
    """The pool that jobs are submitted to.

    `backend` is "inline", "local" (processes), or the address of a Dask scheduler; "auto" is inline for one worker and
    local for more. Where `device` is "cuda", or "auto" and there are GPUs here, each process gets one of them. On a
    cluster, where `device` begins with "cuda", each job gets a worker that offers the resource GPU.

    The study's `folder` remembers which schedulers have answered. Raises Refused where none answers at an address that
    is new to the study, and Halted where one that has answered before is gone.
    """
    if backend == "inline" or (backend == "auto" and workers == 1):
        prepare_worker()
        return Inline()
    if backend in ("auto", "local"):
        return _processes(workers, torch.cuda.device_count() if device in ("auto", "cuda") else 0)
    from hpo.workers.dask import cluster  # takes a second, and Dask need not be installed

    return cluster(backend, workers, device.startswith("cuda"), folder and folder.schedulers)
