"""Jobs on the workers of a Dask cluster: `dask scheduler` on one machine, `dask worker --nthreads 1` on each.

A worker is given jobs when it has shown that it runs the same code and packages; one that does not is set aside.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import cloudpickle
from distributed import Client, KilledWorker
from distributed.comm.core import CommClosedError

from hpo.engine.checkpoint_files import reached
from hpo.errors import Halted, HpoError, Refused
from hpo.files import no_link, write_whole
from hpo.trial.job import Job
from hpo.workers import dask_private
from hpo.workers.dask_examination import MEND, Examination
from hpo.workers.dask_private import LOST, WorkerInfo
from hpo.workers.dask_worker import own_folders, run_job
from hpo.workers.local import Backend, WorkerDied

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_S = 30.0  # for the scheduler to answer
CLOSE_S = 5.0
LOGGERS = ("distributed", "distributed.client")  # they fill pages about a lost scheduler, where one line says it


@dataclass
class Submitted:
    """A job on its way."""

    content: bytes  # the pickled call
    outcome: Future[Any]
    epoch_before: int  # that the job had reached
    folder: Path | None  # of its trial; None where it is no trial's
    allowed: frozenset[str] | None = None  # the workers that it was given to; None: all

    @property
    def has_progressed(self) -> bool:
        return self.folder is not None and reached(self.folder) > self.epoch_before


class Cluster(Backend):
    """The cluster behind a scheduler's address. With `gpu`, jobs go to workers that offer the resource GPU, one each.

    `limit` bounds the jobs side by side; 0: as many as there are workers, now and later. `record` is the study's file
    of the addresses at which a scheduler has answered.

    A worker with other code or packages, or with several threads, is named on standard error and set aside. Raises
    Refused where no scheduler answers at an address that is not in the record, and where all workers had to be set
    aside before any could be used. Every method raises Halted where the scheduler is lost: one that has answered and
    does so no more.
    """

    def __init__(self, address: str, limit: int = 0, *, gpu: bool = False, record: Path | None = None) -> None:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._address, self._limit, self._gpu = address, limit, gpu
        self._client = self._connect(record)
        self._running: dict[Future[Any], Submitted] = {}
        self._waiting: deque[Submitted] = deque()  # for a worker that may be used
        self._examination = Examination(self._client)
        self._scheduler = ""  # its id, once it is known
        with self._loss_as_halted():
            count = self._hand_out()
        if count == 0:
            print(f"hpo: no Dask worker has come to {address} yet; waiting for the first", file=sys.stderr)

    @property
    def workers(self) -> int:
        """As many as the cluster has now; 1 where it has none, so that a job waits for the first."""
        with self._loss_as_halted():
            count = self._hand_out()
        return max(1, min(self._limit or count, count))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        outcome: Future[T] = Future()
        job = args[0] if args and isinstance(args[0], Job) else None
        folder = job.folder if job else None
        content = cloudpickle.dumps((fn, args, kwargs))
        submitted = Submitted(content, outcome, reached(folder) if folder else -1, folder)
        with self._loss_as_halted():
            if job is None:
                self._give(submitted)  # its result is nobody's record: any worker will do
            else:
                self._examination.begin(type(job.study.task))
                self._waiting.append(submitted)
                self._hand_out()
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

    def _hand_out(self) -> int:
        """Give the jobs that wait to the workers that may be used; returns how many there are of these."""
        usable = self._examination.usable(self._offered())
        while self._waiting and usable:
            self._give(self._waiting.popleft(), frozenset(usable))
        return len(usable)

    def _give(self, submitted: Submitted, allowed: frozenset[str] | None = None) -> None:
        submitted.allowed = allowed
        pool = dask_private.executor(self._client, {"GPU": 1} if self._gpu else {}, allowed)
        task = pool.submit(run_job, own_folders(), submitted.content)
        self._running[task] = submitted
        task.add_done_callback(self._pass_on)

    def _offered(self) -> list[WorkerInfo]:
        """The workers that offer what the jobs need. Raises Refused where there are others alone."""
        scheduler = dask_private.ask_scheduler(self._client, CONNECT_S)
        if scheduler is None or self._scheduler not in ("", scheduler.id):
            raise self._lost()  # another one at the same address does not know our jobs
        self._scheduler = scheduler.id
        self._end_stranded(frozenset(worker.address for worker in scheduler.workers))
        offered = [worker for worker in scheduler.workers if not self._gpu or worker.resources.get("GPU")]
        if scheduler.workers and not offered:
            raise Refused("no Dask worker offers a GPU; start them with --resources GPU=1, one for each")
        return offered

    def _end_stranded(self, alive: frozenset[str]) -> None:
        """End the jobs all of whose workers are gone: Dask would wait for these very ones to come back."""
        for task, submitted in list(self._running.items()):
            stranded = submitted.allowed is not None and not submitted.allowed & alive
            if stranded and self._running.pop(task, None) is not None:
                submitted.outcome.set_exception(WorkerDied(1))
                task.cancel()

    def _pass_on(self, task: Future[Any]) -> None:
        """Set the outcome to what Dask's task came to, with errors in the words of this project.

        After a worker's death Dask runs the task again by itself, and reports nothing before it gives up. Where the job
        has progressed since it was submitted, only the last death counts: the job had got further after the others.
        """
        submitted = self._running.pop(task, None)
        if submitted is None:  # it was given up
            return
        outcome = submitted.outcome
        try:
            outcome.set_result(task.result())
        except KilledWorker as error:
            outcome.set_exception(WorkerDied(1 if submitted.has_progressed else error.allowed_failures + 1))
        except (CancelledError, CommClosedError):
            outcome.set_exception(self._lost())
        except ImportError as error:
            outcome.set_exception(Refused(f"a Dask worker cannot import what the study needs ({error}); {MEND}"))
        except BaseException as error:
            is_unread = dask_private.is_unread_by_scheduler(error)
            outcome.set_exception(
                Refused(f"the Dask scheduler cannot import hpo ({error.__cause__}); {MEND}") if is_unread else error
            )

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
