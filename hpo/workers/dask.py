"""Jobs on the workers of a Dask cluster: `dask scheduler` on one machine, `dask worker --nthreads 1` on each.

Start both in a checkout of this code: a job is sent as values and names, not as code.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from distributed import Client, KilledWorker, Worker, get_worker
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

from hpo import watchdog
from hpo.code.harness import code_identity
from hpo.engine.checkpoint_files import reached
from hpo.errors import Halted, HpoError, Refused
from hpo.files import no_link, write_whole
from hpo.storage.identity import code_difference
from hpo.task import Task
from hpo.trial.job import Job
from hpo.trial.provenance import code_details, packages
from hpo.workers import dask_private
from hpo.workers.local import FOLLOW_S, Backend, WorkerDied, allow_processes, prepare_worker

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_S = 30.0  # for the scheduler to answer
CLOSE_S = 5.0
LOGGERS = ("distributed", "distributed.client")  # they fill pages about a lost scheduler, where one line says it
# What Dask raises when its scheduler is gone depends on the moment. CancelledError is two types, and one of them is no
# Exception; CommClosedError and TimeoutError are OSErrors.
LOST = (OSError, ClosedClientError, CancelledError, asyncio.CancelledError)


class Cluster(Backend):
    """The cluster behind a scheduler's address. With `gpu`, jobs go to workers that offer the resource GPU, one each.

    `limit` bounds the jobs side by side; 0: as many as there are workers, now and later. `record` is the study's file
    of the addresses at which a scheduler has answered.

    Raises Refused where no scheduler answers at an address that is not in the record, and where a worker has several
    threads. Every method raises Halted where the scheduler is lost: one that has answered and does so no more.
    """

    def __init__(self, address: str, limit: int = 0, *, gpu: bool = False, record: Path | None = None) -> None:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._address, self._limit, self._gpu = address, limit, gpu
        self._client = self._connect(record)
        self._running: set[Future[Any]] = set()
        self._scheduler = ""  # its id, once it is known
        with self._loss_as_halted():
            count = self._count_workers()
            self._pool = dask_private.executor(self._client, {"GPU": 1} if gpu else {})
        if count == 0:
            print(f"hpo: no Dask worker has come to {address} yet; waiting for the first", file=sys.stderr)

    @property
    def workers(self) -> int:
        """As many as the cluster has now; 1 where it has none, so that a job waits for the first."""
        with self._loss_as_halted():
            count = self._count_workers()
        return max(1, min(self._limit or count, count))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        outcome: Future[T] = Future()
        epoch_before, surroundings = _epoch_reached(args), _surroundings_of(args)
        with self._loss_as_halted():
            task = self._pool.submit(_on_worker, surroundings, fn, *args, **kwargs)
        self._running.add(task)
        task.add_done_callback(
            lambda task: self._pass_on(task, outcome, has_progressed=lambda: _epoch_reached(args) > epoch_before)
        )
        return outcome

    def kill(self) -> None:
        """Cancel all running jobs: their workers end, and their nannies start new ones.

        Raises nothing: it is called on the way out, also because the scheduler is lost.
        """
        cluster.cache_clear()  # whoever goes on in this process needs a new connection
        with contextlib.suppress(Exception):
            for task in list(self._running):
                task.cancel()
            dask_private.close(self._client, CLOSE_S)

    def _connect(self, record: Path | None) -> Client:
        try:
            client = dask_private.connect(self._address, CONNECT_S)
        except (OSError, ValueError, MemoryError) as error:  # MemoryError: a server that speaks something else
            if self._address in _addresses(record):
                raise self._lost() from error
            raise Refused(f"no Dask scheduler answers at {self._address}; start it: dask scheduler") from error
        _remember(record, self._address)
        return client

    def _pass_on(self, task: Future[T], outcome: Future[T], *, has_progressed: Callable[[], bool]) -> None:
        """Set the outcome to what Dask's task came to, with errors in the words of this project.

        After a worker's death Dask runs the task again by itself, and reports nothing before it gives up. Where the job
        has progressed since it was submitted, only the last death counts: the job had got further after the others.
        """
        self._running.discard(task)
        try:
            outcome.set_result(task.result())
        except KilledWorker as error:
            outcome.set_exception(WorkerDied(1 if has_progressed() else error.allowed_failures + 1))
        except (CancelledError, CommClosedError):
            outcome.set_exception(self._lost())
        except ImportError as error:
            outcome.set_exception(
                Refused(
                    f"a Dask worker cannot import what the study needs ({error}); start it in a "
                    f"checkout of the same code"
                )
            )
        except BaseException as error:
            outcome.set_exception(error)

    def _lost(self) -> Halted:
        return Halted(f"the Dask scheduler at {self._address} was lost; start it and its workers again")

    @contextlib.contextmanager
    def _loss_as_halted(self) -> Iterator[None]:
        """Raise Halted for whatever Dask raises because its scheduler is gone."""
        try:
            yield
        except HpoError:
            raise
        except LOST as error:
            raise self._lost() from error
        except Exception as error:
            if dask_private.is_connected(self._client):
                raise
            raise self._lost() from error

    def _count_workers(self) -> int:
        """How many workers there are now that may be given a job. Raises Refused for workers that cannot be used."""
        scheduler = dask_private.ask_scheduler(self._client, CONNECT_S)
        if scheduler is None or self._scheduler not in ("", scheduler.id):
            raise self._lost()  # another one at the same address does not know our jobs
        self._scheduler = scheduler.id
        usable = [worker for worker in scheduler.workers if not self._gpu or worker.resources.get("GPU")]
        if scheduler.workers and not usable:
            raise Refused("no Dask worker offers a GPU; start them with --resources GPU=1, one for each")
        threaded = sorted(worker.address for worker in usable if worker.threads != 1)
        if threaded:
            raise Refused(
                f"Dask workers must have one thread each (trials share the random generator of their "
                f"process); start them with --nthreads 1: {', '.join(threaded[:5])}"
            )
        return len(usable)


@functools.cache
def cluster(address: str, limit: int, gpu: bool, record: Path | None) -> Cluster:
    """All verbs of a command use the same connection."""
    return Cluster(address, limit, gpu=gpu, record=record)


def _addresses(record: Path | None) -> list[str]:
    """Where a scheduler has answered before."""
    if record is None:
        return []
    try:
        with open(record, opener=no_link) as file:
            return file.read().splitlines()
    except (OSError, ValueError):  # not there, or no text: then nothing is known
        return []


def _remember(record: Path | None, address: str) -> None:
    addresses = _addresses(record)
    if record is not None and address not in addresses:
        write_whole(record, "".join(f"{line}\n" for line in (*addresses, address)).encode())


def _epoch_reached(args: tuple[object, ...]) -> int:
    """The latest epoch that the job among the arguments has a checkpoint of; -1 where there is none."""
    return reached(args[0].folder) if args and isinstance(args[0], Job) else -1


def _on_worker(expected: Surroundings, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs in the worker's one thread. Ends the process if the job is no longer wanted: nobody would take its result,
    and whoever is given the job next waits for the lease of its folder."""
    differing = list(differences_of(expected, _surroundings_of(args)))
    if differing:
        raise Refused(
            "a Dask worker runs other code or packages than the process that sent the job:\n  "
            + "\n  ".join(differing)
            + "\nbring both to the same state; `there` is the worker"
        )
    watchdog.may_be_ended()
    allow_processes()
    prepare_worker()
    worker, done = get_worker(), threading.Event()
    key = worker.get_current_task()
    threading.Thread(target=_follow, args=(worker, key, done), daemon=True).start()
    try:
        return fn(*args, **kwargs)
    finally:
        done.set()


def _follow(worker: Worker, key: Any, done: threading.Event) -> None:
    """End this process when the job is no longer wanted."""
    while not done.wait(FOLLOW_S):
        if not dask_private.is_wanted(worker, key):
            os._exit(1)


@dataclass(frozen=True)
class Surroundings:
    """What must be the same on all machines for a job to give the same result."""

    code_hash: str = ""
    code: Mapping[str, Any] = field(default_factory=dict)  # as code_details has it
    packages: Mapping[str, str] = field(default_factory=dict)


def differences_of(expected: Surroundings, there: Surroundings) -> Iterator[str]:
    """What differs on a worker, a line each."""
    if expected.code_hash != there.code_hash:
        yield from code_difference(there.code, expected.code)
    for name in sorted({*expected.packages, *there.packages}):
        versions = there.packages.get(name, "missing"), expected.packages.get(name, "missing")
        if versions[0] != versions[1]:
            yield f"{name}: {versions[0]} there, {versions[1]} here"


def _surroundings_of(args: tuple[object, ...]) -> Surroundings:
    """The surroundings of the job among the arguments."""
    return _surroundings(type(args[0].study.task)) if args and isinstance(args[0], Job) else Surroundings()


@functools.lru_cache(maxsize=4)
def _surroundings(task: type[Task[Any]]) -> Surroundings:
    code = code_identity(task)
    return Surroundings(code.hash, code_details(code), packages(task))
