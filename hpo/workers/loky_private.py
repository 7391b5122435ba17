"""What is used of loky beside its public interface. Read in loky 3.6.0, which is part of joblib 1.6.0;
tests/test_private.py fails when it goes."""

from __future__ import annotations

from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor


def is_broken(pool: ProcessPoolExecutor) -> bool:
    """Whether a process of the pool has died: the pool takes no job any more."""
    return pool._flags.broken is not None  # noqa: SLF001


def loading_error(error: BaseException) -> str:
    """The last line of the traceback of a job that the worker could not load, such as "ImportError: ...".

    Empty where the worker died for another reason.
    """
    lines = str(error.__cause__).strip().strip('"').strip().splitlines() if isinstance(error, BrokenProcessPool) else []
    return lines[-1] if lines and error.__cause__ is not None else ""
