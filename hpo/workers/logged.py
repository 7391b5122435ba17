"""An executor whose jobs print into a log."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import ParamSpec, TypeVar

from hpo.output.kept import kept

P = ParamSpec("P")
T = TypeVar("T")


class Logged(Executor):
    """Runs jobs on another executor, and keeps what they print in one log."""

    def __init__(self, pool: Executor, log: Path) -> None:
        self._pool, self._log = pool, log

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._pool.submit(_kept, self._log, fn, *args, **kwargs)


def _kept(log: Path, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    with kept(log):
        return fn(*args, **kwargs)
