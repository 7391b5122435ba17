"""Where jobs run: in this process or in processes of this machine (here), or on the workers of a Dask cluster
(hpo/cluster.py). All three are `concurrent.futures` executors; the loop that asks and tells sees no difference."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future

import torch
from joblib.externals.loky.process_executor import ProcessPoolExecutor

FOLLOW_S = 1.0

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


class Backend(Executor):
    """An executor that knows how many jobs it wants side by side."""

    workers = 1

    def kill(self) -> None:
        """Stop what runs, now."""


class WorkerDied(BrokenExecutor):
    """A job was given to `deaths` workers, and each of them died."""

    def __init__(self, deaths: int) -> None:
        super().__init__(deaths)
        self.deaths = deaths


class Inline(Backend):
    """Runs a job where it is submitted: for one worker, for tests, and for a debugger."""

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BrokenExecutor as error:  # a process that the job had started
            future.set_exception(error)
        return future


class Processes(Backend):
    """Processes that are started once and keep torch and the data loaded. Each is a pool of its own, so that one that
    dies takes one job with it, and the future of just that job is broken.

    Of several GPUs, each process sees one: they take them in turn.
    """

    def __init__(self, workers: int, gpus: int = 0) -> None:
        self.workers, self.gpus = workers, gpus
        self._pools: list[ProcessPoolExecutor | None] = [None] * workers
        self._running: list[list[Future]] = [[] for _ in range(workers)]

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        for futures in self._running:
            futures[:] = [future for future in futures if not future.done()]
        slot = min(range(self.workers), key=lambda slot: len(self._running[slot]))
        future = self._pool(slot).submit(fn, *args, **kwargs)
        self._running[slot].append(future)
        return future

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        pool = self._pools[slot]
        if pool is None or pool._flags.broken is not None:
            pool = self._pools[slot] = ProcessPoolExecutor(
                1,
                env={**WORKER_ENVIRONMENT, **visible_gpu(slot, self.gpus)},
                initializer=_start_worker,
                initargs=(os.getpid(),),
            )
        return pool

    def kill(self) -> None:
        """End all processes now; they start again when something is submitted."""
        pools, self._pools = self._pools, [None] * self.workers
        for pool in pools:
            if pool is not None:
                pool.shutdown(wait=False, kill_workers=True)


def visible_gpu(slot: int, gpus: int) -> dict[str, str]:
    """What makes one of several GPUs the only one that a process sees."""
    if gpus < 2:
        return {}
    ours = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
    return {"CUDA_VISIBLE_DEVICES": ours[slot % gpus]}


def _start_worker(coordinator: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):  # may reach the whole group: the coordinator answers
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(coordinator,), daemon=True).start()
    prepare_worker()


def _follow(coordinator: int) -> None:
    """End this process when the coordinator has: nobody would take its result."""
    while os.getppid() == coordinator:
        time.sleep(FOLLOW_S)
    os._exit(1)


def prepare_worker() -> None:
    """Make this process a good place to train in.

    One torch thread: workers share the cores, and the bits of a result depend on the number. And glibc is told to keep
    large blocks, which it otherwise gives back to the kernel, to be zeroed again, at every step of a convolution.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    torch.set_num_threads(1)
