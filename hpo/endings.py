"""How a command ends that could not do what it was asked: one screen, no traceback, and an exit code that says why."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from hpo.terminal import complain

DONE, NO, BAD_INPUT = 0, 1, 2
DAMAGED, ALL_FAILED, IN_USE, NO_SPACE = 65, 70, 73, 74  # the sysexits that fit
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR2: 75}  # 75: try again, as batch systems ask it


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _stop(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise Stopped(number)


@contextmanager
def reported(debug: bool) -> Iterator[None]:
    """Errors that are the user's to mend: one screen, no traceback, and an exit code that says what kind."""
    before = {which: signal.getsignal(which) for which in STOPPED}
    for which, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(which, _stop)
    try:
        yield
    except KeyboardInterrupt as stopped:
        complain("interrupted; nothing that was done is lost, and the same command goes on")
        raise typer.Exit(STOPPED[getattr(stopped, "number", signal.SIGINT)]) from None
    except typer.Exit:
        raise
    except Exception as error:
        if debug:
            raise
        code = _code(error)
        again = "; nothing that was done is lost, and the same command goes on" if code == NO_SPACE else ""
        complain(f"{_said(error)}{again}")
        raise typer.Exit(code) from None
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _code(error: Exception) -> int:
    from hpo.export import Unfaithful
    from hpo.patience import Halted
    from hpo.storage import Damaged, InUse, passing
    from hpo.sweep import SweepFailed

    kinds = ((Damaged, DAMAGED), (InUse, IN_USE), (Halted, NO_SPACE), (SweepFailed, ALL_FAILED), (Unfaithful, NO))
    code = next((code for kind, code in kinds if isinstance(error, kind)), BAD_INPUT)
    return NO_SPACE if passing(error) else code


def _said(error: Exception) -> str:
    """The message alone where it was written for the user; else with what was raised, and where."""
    from hpo.export import Unfaithful
    from hpo.patience import cause
    from hpo.preflight import place
    from hpo.storage import Refused, passing
    from hpo.sweep import SweepFailed

    if passing(error) and not isinstance(error, OSError):
        return f"the storage failed: {cause(error)}"
    if isinstance(error, SweepFailed):
        first, _, trace = str(error).partition("\n")
        return f"{first}{'; --debug shows the whole traceback' if trace else ''}"
    where = place(error)
    ours = isinstance(error, ValueError) and Path(where.rpartition(":")[0]).is_relative_to(Path(__file__).parent)
    if ours or isinstance(error, OSError | Unfaithful | Refused):
        return str(error)
    return f"{type(error).__name__}: {error}\n  at {where}; --debug shows the whole traceback"
