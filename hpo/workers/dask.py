"""Jobs on the workers of a Dask cluster: `dask scheduler` on one machine, `dask worker --nthreads 1` on each.

Start both in a checkout of this code: a job is sent as values and names, not as code.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from distributed import Client, KilledWorker, Status, get_worker
from distributed.client import ClosedClientError

from hpo.engine.checkpoint_files import reached
from hpo.errors import Halted, Refused
from hpo.trial.job import Job
from hpo.trial.provenance import code_hash, versions
from hpo.workers.local import FOLLOW_S, Backend, WorkerDied, prepare_worker

CONNECT_S = 30
_GOING = (Status.closing, Status.closed, Status.failed, Status.stopping, Status.stopped)  # it has lost its scheduler


class Cluster(Backend):
    """The cluster behind a scheduler's address. With `gpu`, jobs go to workers that offer the resource GPU, one each.

    `limit` bounds the jobs side by side; 0: as many as there are workers, now and later. Raises Refused where no
    scheduler answers, or a worker has several threads.
    """

    def __init__(self, address: str, limit: int = 0, *, gpu: bool = False) -> None:
        for chatty in ("distributed", "distributed.client"):  # a lost scheduler is told in a line, not in pages
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        try:
            self._client = Client(address, timeout=CONNECT_S, set_as_default=False, name="hpo")
        except (OSError, TimeoutError, ValueError) as error:
            raise Refused(f"no Dask scheduler answers at {address}; start it: dask scheduler") from error
        self._address, self._limit, self._gpu = address, limit, gpu
        self._threads: dict[str, int] = {}
        self._look()
        if not self._threads:
            print(f"hpo: no Dask worker has come to {address} yet; waiting for the first", file=sys.stderr)
        self._pool = self._client.get_executor(pure=False, resources={"GPU": 1} if gpu else None)
        self._running: set[Future] = set()

    @property
    def workers(self) -> int:  # type: ignore[override]
        """As many as the cluster has now; one waits for the first worker."""
        with contextlib.suppress(OSError, TimeoutError):  # if the scheduler is lost, so are the jobs, and they say so
            self._look()
        return max(1, min(self._limit or len(self._threads), len(self._threads)))

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        told: Future = Future()
        try:
            inner = self._pool.submit(_on_worker, _surroundings_of(args), fn, *args, **kwargs)
        except ClosedClientError as error:
            raise self._lost() from error
        self._running.add(inner)
        before = _reached(args)
        inner.add_done_callback(lambda done: self._settle(done, told, lambda: _reached(args) > before))
        return told

    def kill(self) -> None:
        """Take back what is running: its workers end, and their nannies start new ones."""
        for future in list(self._running):
            future.cancel()
        self._client.close(timeout=5)

    def _settle(self, done: Future, told: Future, further: Callable[[], bool]) -> None:
        """Pass on what a job came to. Dask itself runs it again after a death, and tells of the last one alone: where
        the job had got `further` in the meantime, the deaths before that do not count."""
        self._running.discard(done)
        try:
            told.set_result(done.result())
        except KilledWorker as error:
            told.set_exception(WorkerDied(1 if further() else error.allowed_failures + 1))
        except CancelledError:
            told.set_exception(self._lost())
        except ImportError as error:
            told.set_exception(
                Refused(
                    f"a Dask worker cannot import what the study needs ({error}); start it in a "
                    f"checkout of the same code"
                )
            )
        except BaseException as error:
            told.set_exception(error)

    def _lost(self) -> Halted:
        return Halted(f"the Dask scheduler at {self._address} was lost; start it and its workers again")

    def _look(self) -> None:
        """Which workers there are now, of those that may be given a job."""
        scheduler = self._client.scheduler
        if scheduler is None:  # lost for long
            return
        found = self._client.sync(scheduler.identity)["workers"]
        offering = {worker: one for worker, one in found.items() if not self._gpu or one["resources"].get("GPU")}
        if found and not offering:
            raise Refused("no Dask worker offers a GPU; start them with --resources GPU=1, one for each")
        self._threads = {worker: one["nthreads"] for worker, one in offering.items()}
        several = sorted(worker for worker, count in self._threads.items() if count != 1)
        if several:
            raise Refused(
                f"Dask workers must have one thread each (trials share the random generator of their "
                f"process); start them with --nthreads 1: {', '.join(several[:5])}"
            )


def _reached(args: tuple) -> int:
    return reached(args[0].folder) if args and isinstance(args[0], Job) else -1


@functools.cache
def cluster(address: str, limit: int, gpu: bool) -> Cluster:
    """One connection for all verbs of a command."""
    return Cluster(address, limit, gpu=gpu)


def _on_worker(expected: dict[str, str], fn: Callable, *args: Any, **kwargs: Any) -> Any:
    """Runs in the worker's one thread. Ends the process if the job is no longer wanted: nobody would take its result,
    and whoever is given the job next waits for the lease of its folder."""
    differing = {key: value for key, value in _surroundings_of(args).items() if expected.get(key) != value}
    if differing:
        raise Refused(
            f"a Dask worker runs other code or packages than this process: {differing}, expected "
            f"{ {key: expected.get(key) for key in differing} }"
        )
    prepare_worker()
    worker, done = get_worker(), threading.Event()
    key = worker.get_current_task()
    threading.Thread(target=_follow, args=(worker, key, done), daemon=True).start()
    try:
        return fn(*args, **kwargs)
    finally:
        done.set()


def _follow(worker: Any, key: str, done: threading.Event) -> None:
    while not done.wait(FOLLOW_S):
        task = worker.state.tasks.get(key)
        if worker.status in _GOING or task is None or task.state in ("cancelled", "released"):
            os._exit(1)


def _surroundings_of(args: tuple) -> dict[str, str]:
    """What must be the same on all machines for a job to come out the same."""
    return _surroundings(args[0].study.task) if args and isinstance(args[0], Job) else {}


@functools.lru_cache(maxsize=4)
def _surroundings(task: Any) -> dict[str, str]:
    packages = {name: value for name, value in versions().items() if name not in ("device", "processor")}
    return {"code": code_hash(task), **packages}
