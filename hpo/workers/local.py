"""Where jobs run: in this process or in processes of this machine (here), or on the workers of a Dask cluster
(hpo/workers/dask.py). All three are `concurrent.futures` executors; the coordinator's loop sees no difference."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, ParamSpec, TypeVar

from joblib.externals.loky.process_executor import ProcessPoolExecutor

from hpo.output.kept import also_shown
from hpo.trial.log import logged
from hpo.workers.ahead import take_worker
from hpo.workers.loky_private import is_broken
from hpo.workers.preparation import prepare_worker
from hpo.workers.process import new_process

P = ParamSpec("P")
T = TypeVar("T")


class Backend(Executor, ABC):
    """An executor that knows how many jobs it can run side by side."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many jobs it is to be given at a time."""

    def kill(self) -> None:
        """Stop all running jobs now. Raises nothing."""


class WorkerDied(BrokenExecutor):
    """A job was given to `deaths` workers, and each of them died."""

    def __init__(self, deaths: int) -> None:
        super().__init__(deaths)
        self.deaths = deaths


class Inline(Backend):
    """Runs a job where it is submitted: for one worker, for tests, and for a debugger."""

    workers = 1

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the job, then return its finished future. What the job raises is raised here, as a debugger wants it."""
        future: Future[T] = Future()
        try:
            with also_shown():
                future.set_result(_prepared(fn, *args, **kwargs))
        except BrokenExecutor as error:  # a process that the job had started has died
            future.set_exception(error)
        return future


class Processes(Backend):
    """Processes that are started once and keep torch and the data loaded. Each is a pool of its own, so that one that
    dies takes one job with it, and only the future of that job is broken.

    Where there are several GPUs, each process sees one of them: GPU 0, 1, ... in turn. They have `environment` beside
    the variables of every worker, and end where they have had nothing to do for `idle_s` seconds.
    """

    def __init__(
        self, workers: int, gpus: int = 0, environment: Mapping[str, str] | None = None, idle_s: float | None = None
    ) -> None:
        self._workers, self._gpus = workers, gpus
        self._environment, self._idle_s = dict(environment or {}), idle_s
        self._pools: list[ProcessPoolExecutor | None] = [None] * workers
        self._running: list[list[Future[Any]]] = [[] for _ in range(workers)]

    @property
    def workers(self) -> int:
        return self._workers

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Give the job to the process that has the fewest."""
        for futures in self._running:
            futures[:] = [future for future in futures if not future.done()]
        slot = min(range(self._workers), key=lambda slot: len(self._running[slot]))
        future: Future[T] = self._pool(slot).submit(_prepared, fn, *args, **kwargs)
        self._running[slot].append(future)
        return future

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        """The pool of a slot, made anew where its process has died."""
        pool = self._pools[slot]
        if pool is None or is_broken(pool):
            environment = {**visible_gpu(slot, self._gpus), **self._environment}
            ahead = None if environment or self._idle_s else take_worker()
            pool = self._pools[slot] = ahead or new_process(environment, self._idle_s)
        return pool

    def kill(self) -> None:
        """End all processes now; they start again when something is submitted."""
        pools, self._pools = self._pools, [None] * self._workers
        for pool in pools:
            if pool is not None:
                pool.shutdown(wait=False, kill_workers=True)


def visible_gpu(slot: int, gpus: int) -> dict[str, str]:
    """The environment variable that makes one of several GPUs the only one that a process sees."""
    if gpus < 2:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
    return {"CUDA_VISIBLE_DEVICES": visible[slot % gpus]}


def _prepared(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a job. The file of the study, which is imported with it, may have changed the number of threads."""
    prepare_worker()
    return logged(fn, *args, **kwargs)
