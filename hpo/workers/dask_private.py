"""What is used of Dask beside its documented interface. Read in distributed 2026.8.0; tests/test_private.py fails when
it goes. Most of Dask has no types: the calls that mypy cannot check are here, too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from typing import Any, TypeVar

from distributed import Client, Status, Worker
from distributed.client import ClosedClientError

T = TypeVar("T")

NOTICE_S = 0.2  # between two looks whether the connection still stands
# What Dask raises when its scheduler is gone depends on the moment. CancelledError is two types, and one of them is no
# Exception; CommClosedError and TimeoutError are OSErrors.
LOST = (OSError, ClosedClientError, CancelledError, asyncio.CancelledError)
# A worker has one of these when it has lost its scheduler, or was told to end.
ENDING = (Status.closing, Status.closed, Status.failed, Status.stopping, Status.stopped)


@dataclass(frozen=True)
class WorkerInfo:
    """What the scheduler says of one worker."""

    address: str
    threads: int
    resources: Mapping[str, float]


@dataclass(frozen=True)
class SchedulerInfo:
    """What the scheduler says of itself. Each start of a scheduler has an id of its own."""

    id: str
    workers: tuple[WorkerInfo, ...]


def connect(address: str, seconds: float) -> Client:
    """A client of the scheduler at `address`. Raises OSError where none answers within `seconds`.

    `Client` sets no limit to its first handshake: a server that accepts the connection and stays silent would be waited
    for without end. So it is made in a thread, which is left to itself when the time is over.
    """
    connection: Future[Client] = Future()

    def make() -> None:
        try:
            connection.set_result(Client(address, timeout=seconds, set_as_default=False, name="hpo"))  # type: ignore[no-untyped-call]
        except BaseException as error:
            connection.set_exception(error)

    threading.Thread(target=make, daemon=True).start()
    return connection.result(seconds)


def is_connected(client: Client) -> bool:
    """False while the client looks for a lost scheduler, and when it has given up."""
    return bool(client.status == "running")


def ask_scheduler(client: Client, seconds: float) -> SchedulerInfo | None:
    """What the scheduler says of itself and its workers; None where the client has given it up.

    Raises OSError where the scheduler does not answer within `seconds`, or the connection is lost in the meantime.
    """
    scheduler = client.scheduler
    if scheduler is None:
        return None
    identity = client.sync(_identity, client, scheduler, callback_timeout=seconds)  # type: ignore[no-untyped-call]
    workers = (
        WorkerInfo(worker, fields["nthreads"], dict(fields["resources"]))
        for worker, fields in identity["workers"].items()
    )
    return SchedulerInfo(identity["id"], tuple(workers))


async def _identity(client: Client, scheduler: Any) -> dict[str, Any]:
    """Dask itself tries for `seconds` to reach a scheduler that is gone; this ends when the client has noticed it."""
    answer = asyncio.ensure_future(scheduler.identity())
    try:
        while not answer.done():
            if not is_connected(client):
                raise OSError("the connection to the scheduler is lost")
            await asyncio.wait({answer}, timeout=NOTICE_S)
        return dict(answer.result())
    finally:
        answer.cancel()


def executor(client: Client, resources: Mapping[str, float], workers: Collection[str] | None = None) -> Executor:
    """The client's workers as an executor, or those at the addresses alone. Every job is run, also one that equals an
    earlier one."""
    pool: Executor = client.get_executor(  # type: ignore[no-untyped-call]
        pure=False, resources=dict(resources) or None, workers=None if workers is None else sorted(workers)
    )
    return pool


def run_on(client: Client, worker: str, function: Callable[..., T], *args: Any) -> T:
    """Run a function on a worker at once, also where it is at work. Raises what the function raises, or its import."""
    answers: dict[str, T] = client.run(function, *args, workers=[worker])
    return answers[worker]


def is_unread_by_scheduler(error: BaseException) -> bool:
    """Whether the scheduler could not read a job, because it cannot import what is named in it."""
    return isinstance(error, RuntimeError) and "Error during deserialization of the task graph" in str(error)


def close(client: Client, seconds: float) -> None:
    """End the connection. Raises TimeoutError where that takes longer than `seconds`."""
    client.close(timeout=seconds)  # type: ignore[no-untyped-call]


def is_wanted(worker: Worker, key: Any) -> bool:
    """Whether somebody still waits for the job that this worker runs under `key`."""
    task = worker.state.tasks.get(key)
    return worker.status not in ENDING and task is not None and task.state not in ("cancelled", "released")
