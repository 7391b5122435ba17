"""The locks that make each writer the only one. The kernel, or the database, frees them when their holder dies."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy

from hpo import events
from hpo.errors import Halted, InUse, Refused
from hpo.files import make_folder, no_link
from hpo.retrying import cause
from hpo.storage.folder import RunFolder
from hpo.storage.held import HELD_HERE
from hpo.storage.postgresql import CONNECTION
from hpo.storage.transient import retry_storage

LOCK_ATTEMPTS = 5
LOCK_PAUSE_S = 0.1


@contextmanager
def study_lock(folder: RunFolder, *, moves: bool = False) -> Iterator[Callable[[], None]]:
    """Hold a study: one process at a time asks and tells. Raises InUse where another one does.

    A database that was started again has forgotten who held it. Call what this yields now and then: it takes hold
    again, and raises InUse where another process was faster. Raises Refused where the study is kept in another storage
    than the one that is asked for, unless it `moves` there.
    """
    folder.make()
    with ExitStack() as held:
        _lock_file(folder, held)
        if not moves:
            _check_place(folder)
        hold = _nothing
        if folder.storage.startswith("postgresql"):
            hold = held.enter_context(_database_lock(folder.storage, folder.path.name))
        for unfinished in [*folder.path.glob(".*.tmp"), *folder.identity.glob(".*.tmp")]:
            unfinished.unlink()
        events.keep(folder.events.absolute())
        yield hold


def _nothing() -> None:
    """A lock on a file is never forgotten."""


def _check_place(folder: RunFolder) -> None:
    """Raise Refused where the study is kept in another storage than the one that is asked for."""
    before = folder.kept_elsewhere
    if folder.url and before and folder.url != before:
        raise Refused(
            f"{folder.path} is kept in {before}, not in {folder.url}; leave --storage out, or name another folder "
            f"(--runs DIR), or move it there: hpo rebuild STUDY --storage URL"
        )
    if folder.url and not before and folder.database.exists():
        raise Refused(
            f"{folder.path} is kept in {folder.database}, not in {folder.url}; name another folder (--runs DIR), or "
            f"move it there: hpo rebuild STUDY --storage URL"
        )


def _lock_file(folder: RunFolder, held: ExitStack) -> None:
    file = held.enter_context(open(folder.lock, "a+", opener=no_link))  # noqa: SIM115
    for attempt in range(LOCK_ATTEMPTS):  # `hpo status` holds it for a moment, to see whether somebody does
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if attempt == LOCK_ATTEMPTS - 1:
                file.seek(0)
                raise InUse(_in_use(folder.path, file.read().strip() or "?")) from error
            time.sleep(LOCK_PAUSE_S)
    held.callback(HELD_HERE.discard, folder.lock.resolve())
    HELD_HERE.add(folder.lock.resolve())
    file.truncate(0)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    file.write(f"process {os.getpid()} on {platform.node()} since {now}")
    file.flush()


@contextmanager
def lease(folder: Path) -> Iterator[None]:
    """Hold the right to write into a trial's folder. Waits for a process that has it."""
    make_folder(folder)
    if folder.is_symlink():
        raise Halted(f"{folder} must be a folder, and is a link")
    with open(folder / "lock", "a", opener=no_link) as file:
        fcntl.lockf(file, fcntl.LOCK_EX)  # not flock: a child that outlives its parent would keep that
        for unfinished in folder.glob(".*.tmp"):
            unfinished.unlink()
        yield


@contextmanager
def _database_lock(url: str, name: str) -> Iterator[Callable[[], None]]:
    """The same lock for coordinators on several machines: held by a connection, and gone with it."""
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", **CONNECTION)
    lock = sqlalchemy.text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")

    def attempt() -> bool:
        try:
            return bool(connection.scalar(lock, {"key": f"hpo {name}"}))
        finally:
            connection.rollback()  # or a connection that was lost could not be made again

    def hold() -> None:
        if not retry_storage(attempt):
            raise InUse(_in_use(f"study {name!r} in {url}", "another coordinator"))

    try:
        connection = engine.connect()
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise Refused(f"the storage {url} cannot be opened: {cause(error)}") from error
    try:
        hold()
        yield hold
    finally:
        connection.close()
        engine.dispose()


def _in_use(what: object, holder: str) -> str:
    return (
        f"{what} is in use by {holder}; wait until it has ended, or stop it: this command then goes on where it stopped"
    )
