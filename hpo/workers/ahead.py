"""A worker that is started ahead: it imports torch while the command does, which takes each of them two seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from joblib.externals.loky.process_executor import ProcessPoolExecutor

from hpo.collector import paused_collector
from hpo.workers.loky_private import end_now, is_broken
from hpo.workers.process import new_process


@dataclass(frozen=True)
class Ahead:
    """A process that nobody has taken yet, and the variables of the environment that it was started with."""

    pool: ProcessPoolExecutor
    environment: Mapping[str, str]


_waiting: list[Ahead] = []  # at most one


@contextmanager
def worker_ahead() -> Iterator[None]:
    """Start a worker, unless there is nothing to win by it; end it afterwards, unless somebody has taken it."""
    if _is_worth_it():
        ahead = Ahead(new_process({}), dict(os.environ))
        ahead.pool.submit(_import_what_trains)
        _waiting.append(ahead)
    try:
        yield
    finally:
        while _waiting:
            end_now(_waiting.pop().pool)


def take_worker() -> ProcessPoolExecutor | None:
    """The worker that was started ahead, which imports from where this process does from now on; None without one.

    A study file may have set variables, and a worker reads them when it starts: such a worker is of no use.
    """
    if not _waiting:
        return None
    ahead = _waiting.pop()
    if is_broken(ahead.pool) or ahead.environment != dict(os.environ):
        end_now(ahead.pool)
        return None
    ahead.pool.submit(_go_on_from, tuple(sys.path), Path.cwd())
    return ahead.pool


def _is_worth_it() -> bool:
    """Not on one core, not where torch is there already, and not beside several GPUs, of which each worker sees one."""
    cores, several_gpus = len(os.sched_getaffinity(0)), Path("/dev/nvidia1").exists()
    return cores > 1 and not several_gpus and "torch" not in sys.modules


def _import_what_trains() -> None:
    with paused_collector():
        import alembic.context  # noqa: F401  # Optuna imports it when it opens a storage

        import hpo.trial.objective  # noqa: F401  # torch and Optuna come with it


def _go_on_from(path: tuple[str, ...], folder: Path) -> None:
    """Import modules, and find files, as the command does by now."""
    sys.path[:] = path
    os.chdir(folder)
