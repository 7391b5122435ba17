"""The coordinator: the one process of a study that asks and tells. Shared by sweep and promotion.

Jobs run on any `concurrent.futures` executor: inline, or joblib's loky on one machine.
"""

from __future__ import annotations

import ctypes
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import Protocol

import torch
from joblib.externals.loky import get_reusable_executor

from hpo.objective import Job, Outcome

ATTEMPTS = 3  # of a job whose worker died
POLL_S = 0.5

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


class Source(Protocol):
    """Where jobs come from and outcomes go: a sweep or a promotion."""

    def next(self) -> Job | None:
        """The next job, or None while there is none."""

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Take a job's outcome."""


class Inline(Executor):
    """Runs a job where it is submitted: for one worker, for tests, and for a debugger."""

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def drive(source: Source, run: Callable[[Job], Outcome], *, workers: int, watch: Callable[[], None]) -> None:
    """Keep `workers` jobs running until the source has no more. `watch` is called about twice a second.

    When a worker dies, every job in flight is suspect: they run again, one at a time, from their checkpoints; one that
    has died ATTEMPTS times is told as failed.
    """
    running: dict[Future, Job] = {}
    suspects: deque[Job] = deque()
    deaths: dict[int, int] = {}
    pool = executor(workers)
    try:
        while True:
            for job in _ready(source, suspects, running, workers):
                running[pool.submit(run, job)] = job
            if not running:
                return
            done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
            watch()
            try:
                for future in done:
                    outcome = future.result()
                    source.tell(running.pop(future), outcome)
            except BrokenExecutor:
                for job in sorted(running.values(), key=lambda job: job.number):
                    deaths[job.number] = deaths.get(job.number, 0) + 1
                    if deaths[job.number] < ATTEMPTS:
                        suspects.append(job)
                    else:
                        reason = f"its worker died {ATTEMPTS} times (killed, out of memory, or a crash in native code)"
                        source.tell(job, Outcome("failed", reason=reason))
                running.clear()
                pool = executor(workers)
    except BaseException:
        pool.shutdown(wait=False, **({} if isinstance(pool, Inline) else {"kill_workers": True}))
        raise


def _ready(source: Source, suspects: deque[Job], running: dict[Future, Job], workers: int) -> Iterator[Job]:
    """Jobs to start now: suspects alone, one at a time; else new ones up to the number of workers."""
    if suspects:
        if not running:
            yield suspects.popleft()
        return
    while len(running) < workers and (job := source.next()) is not None:
        yield job


def executor(workers: int) -> Executor:
    """One worker: this process. More: loky's, which are started once and keep torch and the data loaded."""
    if workers == 1:
        prepare_worker()
        return Inline()
    return get_reusable_executor(max_workers=workers, timeout=None, initializer=_start_worker, env=WORKER_ENVIRONMENT)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator answers it
    prepare_worker()


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
