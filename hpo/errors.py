"""Every exception that hpo raises for its user, with the exit code of a command that ends in it."""

from __future__ import annotations

import signal
import sysconfig
import traceback
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

HARNESS = Path(__file__).parent
PACKAGES = frozenset({"site-packages", "dist-packages"})  # names of the folders that packages are installed into
STANDARD_LIBRARY = frozenset(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
LONGEST = 600  # characters of a foreign message that are shown; torch's dispatcher writes 13,000


class ExitCode(IntEnum):
    """What a command's exit code says. Those from 65 on are the sysexits that fit."""

    DONE = 0
    NO = 1  # a preflight's no-go, a stale page, a lint finding
    BAD_INPUT = 2
    CHECKS_NOT_PASSED = 3  # a verdict was reached, and a check of the task says no-go; never of a rehearsal
    DAMAGED = 65
    TRIALS_FAILED = 70  # all of them, too many of one kind, or more than a sweep may have
    IN_USE = 73
    HALTED = 74
    TRY_AGAIN = 75  # stopped early, by SIGUSR2 as batch systems do it or by --timeout: the same command goes on
    INTERRUPTED = 130
    TERMINATED = 143


class HpoError(Exception):
    """What the user can do something about."""

    exit_code = ExitCode.BAD_INPUT

    @property
    def sentence(self) -> str:
        """What the command line prints."""
        return str(self)


class Refused(HpoError, ValueError):
    """The request cannot be met as it stands; nothing was written. The message says what to do."""


class NoGo(HpoError):
    """Preflight has found a reason not to sweep. Its result is kept in the study's folder."""

    exit_code = ExitCode.NO


class InUse(Refused):
    """Another process holds the study."""

    exit_code = ExitCode.IN_USE


class Damaged(Refused):
    """The storage is not what the trials' folders say. Nothing was changed."""

    exit_code = ExitCode.DAMAGED


class Halted(HpoError, OSError):
    """The surroundings failed, not the trial. Nothing that was recorded is lost, and the same command goes on."""

    exit_code = ExitCode.HALTED

    @property
    def sentence(self) -> str:
        return f"{self}; nothing that was done is lost, and the same command goes on"


class ContractError(HpoError, ValueError):
    """A task does not keep what `hpo.Task` asks of it. Says what must hold, what was given, and in which line."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message, place)
        self.message, self.place = message, place

    def __str__(self) -> str:
        return f"{self.message} ({self.place})" if self.place else self.message


class Diverged(HpoError, RuntimeError):
    """The run cannot go on: its loss, gradients or score left the finite numbers. Says which, and where."""


class Infeasible(HpoError, ValueError):
    """A task raises it for a combination of hyperparameters that cannot be trained; says which, and why not.

    `raise Infeasible("heads must divide dim")` in `__post_init__`, in `model()` or anywhere in a trial ends that trial
    alone. The sampler then keeps away from the like. The default configuration must be feasible.
    """


class ResumeMismatch(HpoError, RuntimeError):
    """A resumed trial computed another value than the one it had reported: its surroundings have changed."""


class SweepFailed(HpoError, RuntimeError):
    """The sweep has nothing to show: its trials fail. The first line says with what; a traceback may follow."""

    exit_code = ExitCode.TRIALS_FAILED

    @property
    def sentence(self) -> str:
        first, _, trace = str(self).partition("\n")
        return f"{first}; --debug shows the whole traceback" if trace else first


class StoppedEarly(HpoError):
    """A time limit has ended a sweep before its trials were done. Nothing is lost, and the same command goes on."""

    exit_code = ExitCode.TRY_AGAIN


class TaskQuit(HpoError, RuntimeError):
    """The user's code tried to end the process that it runs in, as `sys.exit()` does. That is never a success."""


class Unfaithful(HpoError, RuntimeError):
    """What was exported is not what was promoted."""

    exit_code = ExitCode.NO


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


_stops: list[Stopped] = []  # that were raised in this process


def stop(number: int) -> NoReturn:
    """Raise Stopped for a signal, as its handler.

    Python drops an exception that is raised inside a fork hook or a finalizer, which a signal may interrupt as well as
    any other code. Whoever runs for long therefore calls `raise_if_stopped` from time to time.
    """
    _stops.append(Stopped(number))
    raise _stops[-1]


def raise_if_stopped() -> None:
    """Raise Stopped again where a signal has asked this process to stop."""
    if _stops:
        raise _stops[-1]


def forget_stops() -> None:
    """Begin anew: the command that was to stop has ended."""
    _stops.clear()


def one_line(error: BaseException) -> str:
    """The kind of an error and its whole message in one line; a message of more than LONGEST characters is cut off."""
    message = " ".join(str(error).split())
    if len(message) > LONGEST:
        message = f"{message[:LONGEST]}..."
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


QUITS = (SystemExit, GeneratorExit, KeyboardInterrupt)  # a task can raise them, and `except Exception` lets them pass


def asks_to_stop(error: BaseException) -> bool:
    """Whether somebody has asked this process to stop, by Ctrl-C or a signal.

    Where Ctrl-C is ignored, as in a worker, the task itself has raised KeyboardInterrupt.
    """
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return isinstance(error, Stopped) or (isinstance(error, KeyboardInterrupt) and not is_ignored)


def origin(error: BaseException) -> str:
    """Where an error came from, as file:line: the innermost line of the user's own code, or else of hpo."""
    if isinstance(error, ContractError) and error.place:
        return error.place
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if is_users_file(frame.filename)]
    own = [frame for frame in frames if _is_harness(frame.filename)]
    return next((f"{frame.filename}:{frame.lineno}" for frame in reversed(users or own)), "")


def says_enough(error: BaseException) -> bool:
    """Whether the message alone is meant for the user: hpo's own errors, and those of files."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    raised_by_hpo = bool(files) and _is_harness(files[-1]) and not any(is_users_file(file) for file in files)
    return (isinstance(error, ValueError) and raised_by_hpo) or isinstance(error, OSError | HpoError)


def is_users_file(file: str) -> bool:
    """Whether a file is neither hpo's, nor an installed package's, nor Python's. Code without a file, as that which
    `dataclass` writes, is nobody's; the cells of a notebook are the user's."""
    if _is_harness(file) or file == "<string>" or file.startswith("<frozen "):
        return False
    path = Path(file)
    is_package = bool(PACKAGES.intersection(path.parts))
    return not is_package and not any(path.is_relative_to(folder) for folder in STANDARD_LIBRARY)


def _is_harness(file: str) -> bool:
    return Path(file).is_relative_to(HARNESS)
