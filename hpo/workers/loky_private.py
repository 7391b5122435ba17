"""What is used of loky beside its public interface. Read in loky 3.6.0, which is part of joblib 1.6.0;
tests/test_private.py fails when it goes."""

from __future__ import annotations

from joblib.externals.loky.process_executor import ProcessPoolExecutor


def is_broken(pool: ProcessPoolExecutor) -> bool:
    """Whether a process of the pool has died: the pool takes no job any more."""
    return pool._flags.broken is not None  # noqa: SLF001
