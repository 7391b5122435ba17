"""Which workers of a Dask cluster may be given jobs: those that run the same code and packages, in one thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import cloudpickle
from distributed import Client

from hpo.errors import Refused, one_line
from hpo.formatting import first_lines
from hpo.task import Task
from hpo.workers import dask_private
from hpo.workers.dask_private import LOST, WorkerInfo
from hpo.workers.dask_worker import examine, own_folders, surroundings

SHOWN = 6  # lines about one worker
MEND = (
    "bring scheduler and workers to the state of this process, in its environment, and start them again; a worker "
    "imports from its own PYTHONPATH, and then from the folders that hpo imports from here, under the same path"
)
Faults = tuple[str, ...]  # why a worker cannot be used, a line each


class Examination:
    """Asks each worker, once, what it runs. One that runs something else is named on standard error and set aside."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._task: type[Task[Any]] | None = None
        self._faults: dict[str, Future[Faults]] = {}  # by the worker's address
        self._named: set[str] = set()
        self._has_passed = False  # some worker, for a task

    def begin(self, task: type[Task[Any]]) -> None:
        """From now on, what the workers run is compared with what this task needs. Until then, threads alone count."""
        if task is not self._task:
            self._task = task
            self._faults.clear()

    def usable(self, workers: Sequence[WorkerInfo]) -> list[str]:
        """Those of the cluster's workers that have passed. One that has not answered yet is not among them.

        Raises Refused where all are set aside and none has ever passed.
        """
        known = {address: faults for address, faults in self._faults.items() if not faults.cancelled()}
        self._faults = {worker.address: known.get(worker.address) or self._ask(worker) for worker in workers}
        answers = {address: faults.result() for address, faults in self._faults.items() if faults.done()}
        passed = [address for address, faults in answers.items() if not faults]
        set_aside = {address: faults for address, faults in answers.items() if faults}
        self._has_passed = self._has_passed or (self._task is not None and bool(passed))
        if workers and len(set_aside) == len(workers) and not self._has_passed:
            raise Refused(f"no Dask worker can be used:\n{_listed(set_aside)}\n{MEND}")
        self._name({address: set_aside[address] for address in set_aside.keys() - self._named})
        return passed

    def _name(self, set_aside: Mapping[str, Faults]) -> None:
        if set_aside:
            print(f"hpo: set aside, and the others go on:\n{_listed(set_aside)}", file=sys.stderr)
            self._named |= set_aside.keys()

    def _ask(self, worker: WorkerInfo) -> Future[Faults]:
        """What is wrong with a worker, when it has answered. Cancelled where it is to be asked again."""
        faults: Future[Faults] = Future()
        if worker.threads != 1:
            threads = f"it has {worker.threads} threads, and trials share the random generator of their process"
            faults.set_result((f"{threads}; start it with --nthreads 1",))
        elif self._task is None:
            faults.set_result(())
        else:
            question = cloudpickle.dumps((surroundings(self._task), self._task))
            threading.Thread(target=self._wait_for, args=(worker.address, question, faults), daemon=True).start()
        return faults

    def _wait_for(self, address: str, question: bytes, faults: Future[Faults]) -> None:
        """Let a worker examine itself. In a thread of its own: one that hangs keeps nobody from the others."""
        try:
            faults.set_result(dask_private.run_on(self._client, address, examine, own_folders(), question))
        except LOST:
            faults.cancel()
        except Exception as error:
            faults.set_result((f"it cannot run hpo: {one_line(error)}",))


def _listed(faults: Mapping[str, Faults]) -> str:
    """Workers and what is wrong with each, as lines."""
    return "\n".join(
        f"  Dask worker {address}: {line}" for address in sorted(faults) for line in first_lines(faults[address], SHOWN)
    )
