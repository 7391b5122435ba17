"""What is used of loky beside its public interface. Read in loky 3.6.0, which is part of joblib 1.6.0;
tests/test_private.py fails when it goes."""

from __future__ import annotations

import os
import signal
import warnings
from contextlib import suppress

from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

NOT_LOADED = "A task has failed to un-serialize"  # how loky's message begins

# Where psutil is installed, loky replaces a process that has grown by 300 MB, between two jobs, and warns of it. No job
# is lost, so there is nothing to be warned of.
warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor", UserWarning)


def start_tracker() -> None:
    """Start the process that removes what loky's processes leave behind, unless it runs. SIGUSR2 does not end it: a
    batch system sends that to every process of a job, and without this one loky fills pages with tracebacks.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # what is started now has it blocked for good
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_broken(pool: ProcessPoolExecutor) -> bool:
    """Whether a process of the pool has died: the pool takes no job any more."""
    return pool._flags.broken is not None  # noqa: SLF001


def end_now(pool: ProcessPoolExecutor) -> None:
    """Kill the processes of a pool, which is then broken. `shutdown(kill_workers=True)` fails in a thread, with a
    traceback, where a job is still on its way to them.
    """
    for process in list(pool._processes):  # noqa: SLF001
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def loading_error(error: BaseException) -> str:
    """The last line of the traceback of a job that the worker could not load, such as "ImportError: ...".

    Empty where the worker died for another reason; a kill can cut off a result, which cannot be loaded then either.
    """
    if not isinstance(error, BrokenProcessPool) or NOT_LOADED not in str(error) or error.__cause__ is None:
        return ""
    lines = str(error.__cause__).strip().strip('"').strip().splitlines()
    return lines[-1] if lines else ""
