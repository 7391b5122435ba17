"""How a command ends that could not do what it was asked: one screen, no traceback, and an exit code that says why."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from hpo.cli.terminal import complain
from hpo.errors import ExitCode, Halted, HpoError, Stopped, forget_stops, origin, says_enough, stop
from hpo.retrying import disk_full

if TYPE_CHECKING:
    from hpo.promotion.results import Verdict

INTERRUPTED = "interrupted; nothing that was done is lost, and the same command goes on"
STOPPED: dict[int, ExitCode] = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGUSR2: ExitCode.TRY_AGAIN,
}


class Ended(typer.Exit):
    """The command ends with this exit code; `reason` says why, where it could not do what it was asked."""

    def __init__(self, code: ExitCode, reason: str | None = None) -> None:
        super().__init__(code)
        self.reason = reason


def _stop(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    stop(number)


@contextmanager
def exits(debug: bool) -> Iterator[None]:
    """End the command where an error is the user's to mend: one screen, no traceback, and an exit code."""
    before = {which: signal.getsignal(which) for which in STOPPED}
    for which, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(which, _stop)
    try:
        yield
    except Stopped as stopped:
        raise _ended(STOPPED[stopped.number], INTERRUPTED) from None
    except typer.Exit:
        raise
    except (Exception, KeyboardInterrupt) as error:  # Ctrl-C is Stopped here, so the task has raised the latter
        if debug:
            raise
        expected = _expected(error)
        if expected:
            raise _ended(expected.exit_code, expected.sentence) from None
        raise _ended(ExitCode.BAD_INPUT, _unexpected(error)) from None
    finally:
        forget_stops()
        for which, handler in before.items():
            signal.signal(which, handler)


def code_of(verdict: Verdict, *, smoke: bool) -> ExitCode:
    """The exit code after a verdict: whether the task's checks say no-go of it. A rehearsal is too short for them."""
    return ExitCode.CHECKS_NOT_PASSED if verdict.no_go and not smoke else ExitCode.DONE


def _ended(code: ExitCode, reason: str) -> Ended:
    complain(reason)
    return Ended(code, reason)


def _expected(error: BaseException) -> HpoError | None:
    """The error as one that was written for the user; None where it was not."""
    if isinstance(error, HpoError):
        return error
    return Halted(str(error)) if disk_full(error) else None


def _unexpected(error: BaseException) -> str:
    """The message alone where it says enough; else with what was raised, and where."""
    if says_enough(error):
        return str(error)
    raised = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"{raised}\n  at {origin(error)}; --debug shows the whole traceback"
