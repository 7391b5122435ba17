"""Run the task's code: an exception in it is what a check has seen, and `sys.exit()` is an error, not the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from hpo.errors import QUITS, TaskQuit, asks_to_stop, one_line, origin
from hpo.task import Check

T = TypeVar("T")


def run_check(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    """Run a check; an exception in the task's code becomes a failed Check."""
    result = attempt(name, check)
    return [result] if isinstance(result, Check) else result


def attempt(name: str, call: Callable[[], T]) -> T | Check:
    """Return `call()`; an exception in the task's code becomes a failed Check of that name."""
    try:
        return call()
    except (Exception, *QUITS) as error:
        if asks_to_stop(error):
            raise
        return failed_check(name, error)


def failed_check(name: str, error: BaseException) -> Check:
    """The check that met an exception: what was raised, and the line of the task's code that it came from."""
    notes = getattr(error, "__notes__", [])
    return Check(name, "no-go", "; with ".join([one_line(error), *notes]), "no exception", origin(error))


@contextmanager
def quits_as_errors() -> Iterator[None]:
    """Raise TaskQuit where the task's code ends its process: whoever called it would take that for a success."""
    try:
        yield
    except QUITS as error:
        if asks_to_stop(error):
            raise
        raise TaskQuit(f"{one_line(error)}, at {origin(error)}; a task must not end the process") from error
