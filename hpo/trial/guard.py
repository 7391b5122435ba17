"""Run the task's code for a check: an exception in it is what the check has seen, and not the end of the command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hpo.errors import one_line, origin
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
    except Exception as error:
        return failed_check(name, error)


def failed_check(name: str, error: Exception) -> Check:
    """The check that met an exception: what was raised, and the line of the task's code that it came from."""
    notes = getattr(error, "__notes__", [])
    return Check(name, "no-go", "; with ".join([one_line(error), *notes]), "no exception", origin(error))
