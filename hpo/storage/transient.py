"""Which errors of a storage pass by themselves, and waiting for that."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

from hpo.errors import Halted
from hpo.retrying import cause, disk_full, retry

T = TypeVar("T")

SQLITE_TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
PRIMARY = 0xFF  # the part of SQLite's extended error codes that says which kind
# psycopg gives a failed connection no code: its message alone says whether trying again can help.
POSTGRESQL_LASTING = ("authentication", "does not exist", "no password")


def retry_storage(call: Callable[[], T]) -> T:
    """Return `call()` on a storage, retried while that is locked, full or away.

    Raises Halted where it stays so, and where the storage fails in any other way: that is no trial's result.
    """
    with failures_as_halted():
        return retry(call, is_transient)


@contextmanager
def failures_as_halted() -> Iterator[None]:
    """Raise Halted for what a storage raises: it is not the fault of whoever asked."""
    try:
        yield
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, UpdateFinishedTrialError) as error:
        raise Halted(f"the storage failed: {cause(error)}") from error


def is_transient(error: Exception) -> bool:
    """True for errors that may pass: the storage is locked, the disk is full, the connection was lost."""
    reason = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(reason, sqlalchemy.exc.PendingRollbackError):  # the connection was lost in the midst of a transaction
        return True
    if not isinstance(reason, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
        return disk_full(error)
    if isinstance(reason.orig, sqlite3.Error):
        code = getattr(reason.orig, "sqlite_errorcode", 0)  # what Python itself raises has none
        return code & PRIMARY in SQLITE_TRANSIENT
    return not any(word in str(reason.orig) for word in POSTGRESQL_LASTING)
