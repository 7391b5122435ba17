"""What a worker of a Dask cluster runs: the jobs that it is sent, and the question whether it may be sent any."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
from distributed import get_worker

from hpo import watchdog
from hpo.code.harness import HARNESS, PROMOTION, code_identity
from hpo.errors import PACKAGES, one_line
from hpo.storage.identity import code_difference
from hpo.task import Task
from hpo.trial.log import logged
from hpo.trial.provenance import code_details, packages
from hpo.workers import dask_private
from hpo.workers.preparation import prepare_worker
from hpo.workers.process import FOLLOW_S, allow_processes


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


@functools.lru_cache(maxsize=4)
def surroundings(task: type[Task[Any]]) -> Surroundings:
    """Those of a task in this process."""
    code = code_identity(task, HARNESS + PROMOTION)
    return Surroundings(code.hash, code_details(code), packages(task))


def own_folders() -> tuple[str, ...]:
    """The folders that this process imports from, without those of Python and of installed packages. The folder of the
    study file is one of them."""
    installed = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    folders = [Path(entry or ".").resolve() for entry in sys.path]
    own = [folder for folder in folders if installed.isdisjoint(folder.parents) and PACKAGES.isdisjoint(folder.parts)]
    return tuple(str(folder) for folder in own if folder.is_dir())


def examine(folders: tuple[str, ...], question: bytes) -> tuple[str, ...]:
    """Why this worker cannot be given jobs, a line each; empty where it can. `question` holds the coordinator's
    Surroundings, and the task that they are of."""
    _import_from(folders)
    try:
        expected, task = cloudpickle.loads(question)
        return tuple(differences_of(expected, surroundings(task)))
    except Exception as error:  # whatever an import can raise
        return (f"it cannot import the study: {one_line(error)}",)


def run_job(folders: tuple[str, ...], content: bytes) -> Any:
    """Run a pickled call in the worker's one thread.

    Ends the process if the job is no longer wanted: nobody would take its result, and whoever is given the job next
    waits for the lease of its folder.
    """
    _import_from(folders)
    function, args, kwargs = cloudpickle.loads(content)
    watchdog.may_be_ended()
    allow_processes()
    prepare_worker()
    worker, done = get_worker(), threading.Event()
    key = worker.get_current_task()
    threading.Thread(target=_follow, args=(worker, key, done), daemon=True).start()
    try:
        return logged(function, *args, **kwargs)
    finally:
        done.set()


def _import_from(folders: tuple[str, ...]) -> None:
    """Import from the coordinator's folders too, after those that this process has: what it has itself is not hidden,
    so that `examine` compares it."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def _follow(worker: Any, key: Any, done: threading.Event) -> None:
    """End this process when the job is no longer wanted."""
    while not done.wait(FOLLOW_S):
        if not dask_private.is_wanted(worker, key):
            os._exit(1)
