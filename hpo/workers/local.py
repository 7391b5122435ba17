"""Where jobs run: in this process or in processes of this machine (here), or on the workers of a Dask cluster
(hpo/workers/dask.py). All three are `concurrent.futures` executors; the coordinator's loop sees no difference."""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, ParamSpec, TypeVar

import torch
from joblib.externals.loky.process_executor import ProcessPoolExecutor

from hpo import watchdog
from hpo.output.kept import also_shown
from hpo.output.streams import steady_streams
from hpo.trial.log import logged
from hpo.workers.loky_private import is_broken, start_tracker
from hpo.workers.torch_private import leave_out_compiler

P = ParamSpec("P")
T = TypeVar("T")

FOLLOW_S = 1.0  # between two looks whether the coordinator is still there

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


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
            start_tracker()
            pool = self._pools[slot] = ProcessPoolExecutor(
                1,
                timeout=self._idle_s,
                env={**WORKER_ENVIRONMENT, **visible_gpu(slot, self._gpus), **self._environment},
                initializer=_start_worker,
                initargs=(os.getpid(),),
            )
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


def _start_worker(coordinator: int) -> None:
    """The first thing that a worker process runs. `coordinator` is the process that has started it."""
    # A terminal or a batch system may send these to the whole process group. The coordinator alone answers them: it
    # ends its workers, and no trial is blamed for their end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(coordinator,), daemon=True).start()
    watchdog.may_be_ended()
    allow_processes()
    steady_streams()
    prepare_worker()


def _prepared(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a job. The file of the study, which is imported with it, may have changed the number of threads."""
    prepare_worker()
    return logged(fn, *args, **kwargs)


def _follow(coordinator: int) -> None:
    """End this process when the coordinator has ended: nobody would take its result."""
    while os.getppid() == coordinator:
        time.sleep(FOLLOW_S)
    os._exit(1)


@functools.cache  # once: what the user's own code has chosen later must stay
def allow_processes() -> None:
    """Let the user's code start processes, those of a DataLoader say, from this worker as from any other process.

    Whoever starts a worker leaves its own way of starting processes behind as the default, with which the worker's
    children cannot be started; a daemon may have none at all.
    """
    multiprocessing.set_start_method(None, force=True)  # the platform's default
    multiprocessing.current_process().daemon = False


def prepare_worker() -> None:
    """Prepare this process for training.

    torch uses one thread: workers share the cores, and the bits of a result depend on the number of threads. glibc is
    told to keep large blocks. Otherwise every step of a convolution gives them back to the kernel, which fills them
    with zeros before it hands them out again. torch's compiler, which takes a second to import, waits for its use.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    torch.set_num_threads(1)
    leave_out_compiler()
