"""Where a study is kept: its folder, its storage, and the locks that make each writer the only one."""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

from hpo import checkpoint, events
from hpo.patience import Halted, cause, disk_full, patiently

T = TypeVar("T")

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the command line says what matters

LOCK_ATTEMPTS = 5
BUSY_S = 10  # how long SQLite waits for a lock before we say so and wait on
SQLITE = "sqlite:///"


class Refused(ValueError):
    """The request cannot be met as it stands; nothing was written. The message says what to do."""


class InUse(Refused):
    """Another process holds the study."""


class Damaged(Refused):
    """The storage is not what the trials' folders say. Nothing was changed."""


@dataclass(frozen=True)
class RunFolder:
    """Everything of one study: runs/<study>/."""

    path: Path
    url: str | None = None  # of a storage elsewhere; None: the one it has been kept in, or else the folder's own SQLite

    @property
    def storage(self) -> str:
        if self.url:
            return self.url
        return self.elsewhere.read_text().strip() if self.elsewhere.exists() else f"{SQLITE}{self.database}"

    @property
    def database(self) -> Path:
        return self.path.resolve() / "study.db"

    @property
    def elsewhere(self) -> Path:
        return self.path / "storage"  # holds the URL, where that is not the folder's own

    @property
    def events(self) -> Path:
        return self.path / "events.log"

    @property
    def preflight(self) -> Path:
        return self.path / "preflight.json"

    @property
    def selection(self) -> Path:
        return self.path / "promotion.json"

    @property
    def export(self) -> Path:
        return self.path / "winner"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    @property
    def commands(self) -> Path:
        return self.path / "commands.log"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def trial(self, kind: str, number: int) -> Path:
        """The folder of one trial of the "sweep" or the "promotion"."""
        return self.path.absolute() / kind / f"{number:04d}"

    def numbers(self, kind: str) -> list[int]:
        """Of the trials that have a folder."""
        return sorted(int(path.name) for path in (self.path / kind).glob("*") if path.name.isdecimal())

    def make(self) -> None:
        """Create the folder. Raises Refused where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(str(error.strerror)) from error
        self.check_writable()

    def check_writable(self) -> None:
        """Raise Refused unless the folder, or the one that it would be created in, can be written. Writes nothing."""
        nearest = next(path for path in (self.path, *self.path.resolve().parents) if path.exists())
        if not nearest.is_dir():
            raise self._unwritable(f"{nearest} is a file")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise self._unwritable(f"no permission to write in {nearest}")
        if self.path.is_dir() and self.path.stat().st_mode & stat.S_IWOTH:
            raise self._unwritable("everybody may write in it (chmod o-w)")

    def _unwritable(self, why: str) -> Refused:
        return Refused(
            f"the run folder {self.path} must be a folder that can be written: {why}; name another one with --runs DIR"
        )

    @contextmanager
    def locked(self) -> Iterator[Callable[[], None]]:
        """Hold the study. One process at a time asks and tells; the kernel, or the database, frees it if that dies.

        A database that was started again has forgotten who held it: what is given is to be called now and then, takes
        hold again, and raises InUse where another process was faster.
        """
        self.make()
        hold: Callable[[], None] = lambda: None  # noqa: E731
        with ExitStack() as held:
            self._lock(held)
            before = self.elsewhere.read_text().strip() if self.elsewhere.exists() else None
            if self.url and self.url != (before or self.url):
                raise Refused(
                    f"{self.path} is kept in {before}, not in {self.url}; leave --storage out, or name "
                    f"another folder (--runs DIR)"
                )
            if self.url and not before and self.database.exists():
                raise Refused(
                    f"{self.path} is kept in {self.database}, not in {self.url}; name another folder (--runs DIR)"
                )
            if self.storage.startswith("postgresql"):
                hold = held.enter_context(_locked_in_database(self.storage, self.path.name))
            if self.url:
                checkpoint.write_whole(self.elsewhere, f"{self.url}\n".encode())
            for unfinished in self.path.glob(".*.tmp"):
                unfinished.unlink()
            events.keep(self.events.absolute())
            yield hold

    def _lock(self, held: ExitStack) -> None:
        file = held.enter_context(open(self.path / "lock", "a+", opener=no_link))  # noqa: SIM115
        for attempt in range(LOCK_ATTEMPTS):  # `hpo status` holds it for a moment, to see whether somebody does
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if attempt == LOCK_ATTEMPTS - 1:
                    file.seek(0)
                    raise InUse(_in_use(self.path, file.read().strip() or "?")) from error
                time.sleep(0.1)
        file.truncate(0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"process {os.getpid()} on {platform.node()} since {now}")
        file.flush()


def _in_use(what: object, holder: str) -> str:
    return (
        f"{what} is in use by {holder}; wait until it has ended, or stop it: this command then goes on where it stopped"
    )


def no_link(path: str, flags: int) -> int:
    """An opener that follows no link, and does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)


@contextmanager
def lease(folder: Path) -> Iterator[None]:
    """The right to write into a trial's folder. Waits for a process that has it; the kernel frees it when that dies."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():
        raise Halted(f"{folder} must be a folder, and is a link")
    with open(folder / "lock", "a", opener=no_link) as file:
        fcntl.lockf(file, fcntl.LOCK_EX)  # not flock: a child that outlives its parent would keep that
        for unfinished in folder.glob(".*.tmp"):
            unfinished.unlink()
        yield


def check_url(url: str) -> str:
    """The URL of a storage that can be used, and holds no secret. Raises Refused, without repeating what was given."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise Refused("--storage: must be a URL like postgresql://USER@HOST/DATABASE") from None
    if parsed.password is not None or any("pass" in key.lower() and key != "passfile" for key in parsed.query):
        raise Refused(
            "--storage: must not hold a password, which everybody on this machine could read; put it into "
            "~/.pgpass, a file that PGPASSFILE names, or PGPASSWORD"
        )
    if parsed.get_backend_name() != "postgresql":
        raise Refused("--storage: must be a postgresql:// URL; without it, the study's folder holds an SQLite file")
    if "{" in url or "}" in url:
        raise Refused("--storage: must not hold { or }")
    return url


def open_storage(url: str, *, create: bool = False) -> optuna.storages.BaseStorage:
    """The storage behind a URL. SQLite is opened with a rollback journal and full syncs.

    Only the coordinator creates. Raises Refused where there is none.
    """
    if not url.startswith(SQLITE):
        return optuna.storages.get_storage(optuna.storages.RDBStorage(url, _POSTGRESQL, skip_table_creation=not create))
    path = Path(url.removeprefix(SQLITE))
    if not create and not (path.exists() and path.stat().st_size):
        raise Refused(f"there is no storage {path}; a sweep makes it")
    engine = {"creator": functools.partial(_connect, path, "rwc" if create else "rw")}
    storage = optuna.storages.RDBStorage(f"{SQLITE}study.db", engine, skip_table_creation=not create)
    return optuna.storages.get_storage(storage)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """By the path itself: in a URL of SQLAlchemy's, a folder's %, ? or # would mean something else."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=BUSY_S, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def worker_storage(url: str) -> optuna.storages.BaseStorage:
    """The storage, opened once in a process that runs many trials."""
    path = Path(url.removeprefix(SQLITE))
    return _opened_once(url, path.stat().st_ino if path.exists() else 0)


@functools.lru_cache(maxsize=1)
def _opened_once(url: str, inode: int) -> optuna.storages.BaseStorage:  # another file of that name is another storage
    return open_storage(url)


_POSTGRESQL = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10, "keepalives_idle": 30}}


def steadily(call: Callable[[], T]) -> T:
    """`call()` on a storage, waiting while that is locked, full or away. Raises Halted where it stays so, and where
    the storage fails in any other way: that is no trial's result."""
    try:
        return patiently(call, passing)
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, UpdateFinishedTrialError) as error:
        raise Halted(f"the storage failed: {cause(error)}") from error


def passing(error: Exception) -> bool:
    """Whether a storage that failed so may answer later: it is locked, full or away."""
    reason = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(reason, sqlalchemy.exc.PendingRollbackError):  # the connection was lost in the midst of a transaction
        return True
    if not isinstance(reason, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
        return disk_full(error)
    if isinstance(reason.orig, sqlite3.Error):
        return any(word in str(reason.orig) for word in ("locked", "full", "disk I/O"))
    return not any(word in str(reason.orig) for word in ("authentication", "does not exist", "no password"))


def open_study(
    folder: RunFolder,
    kind: str,
    name: str,
    direction: str,
    identity: dict[str, str],
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """Create a study, or open one that asked the same question. Raises Refused where anything in `identity` differs,
    and Damaged where the storage of trials that have run is missing or broken."""
    _check_sound(folder, kind)
    storage = steadily(lambda: open_storage(folder.storage, create=True))
    existing = {study.study_name: study for study in steadily(storage.get_all_studies)}.get(name)
    if existing is None and folder.numbers(kind):
        raise Damaged(
            f"the storage {folder.storage} knows nothing of the {len(folder.numbers(kind))} trials in "
            f"{folder.path / kind}; {REBUILD}"
        )
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    study = steadily(
        lambda: optuna.create_study(
            study_name=name,
            storage=storage,
            direction=direction,  # type: ignore[arg-type]
            load_if_exists=True,
            sampler=sampler,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
    )
    before = study.user_attrs.get("identity")
    if before is None and not study.get_trials(deepcopy=False):
        steadily(lambda: study.set_user_attr("identity", identity))
    else:
        _check_same(name, before or {}, identity)
    return study


REBUILD = "rebuild it from them: hpo rebuild STUDY"


def require_same(folder: RunFolder, name: str, identity: dict[str, str]) -> None:
    """Raise Refused if a study of that name asked another question. Creates nothing."""
    try:
        stored = stored_study(folder, name)
        before = stored.user_attrs.get("identity") if stored else None
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError):
        return  # whoever opens it to write says what is wrong with it
    if before is not None:
        _check_same(name, before, identity)


def _check_same(name: str, before: dict[str, str], identity: dict[str, str]) -> None:
    differing = sorted(key for key in {*before, *identity} if before.get(key) != identity.get(key))
    if differing:
        raise Refused(
            f"study {name!r} exists with other {', '.join(differing)}:\n"
            + "\n".join(f"  {key}: {before.get(key)} there, {identity.get(key)} now" for key in differing)
            + "\nits trials cannot be compared with new ones. Undo the change, or give the study another name, or "
            "another folder (--runs DIR), or remove the old one"
        )


def _check_sound(folder: RunFolder, kind: str) -> None:
    """An SQLite file that is missing or broken beside trials that have run is no new study. Links lead elsewhere."""
    linked = next((path for path in (folder.path / kind, *(folder.path / kind).glob("*")) if path.is_symlink()), None)
    if linked:
        raise Refused(f"{linked} must be a folder, and is a link")
    if not folder.storage.startswith(SQLITE):
        return
    path, trials = folder.database, len(folder.numbers(kind))
    if path.is_symlink():
        raise Refused(f"{path} must be a file, and is a link")
    if not path.exists() or not path.stat().st_size:
        if trials:
            what = "empty" if path.exists() else "missing"
            raise Damaged(f"the storage {path} is {what}, but {trials} trials lie in {folder.path / kind}; {REBUILD}")
        return
    found = steadily(lambda: _integrity(path))
    if found != "ok":
        raise Damaged(f"the storage {path} is damaged ({found}); {REBUILD}")


def _integrity(path: Path) -> str:
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
            return (
                "ok"
                if found == ["ok"] and not connection.execute("PRAGMA foreign_key_check").fetchall()
                else str(found[0])
            )
    except sqlite3.OperationalError as error:
        raise sqlalchemy.exc.OperationalError(None, None, error) from error  # so that a lock is waited for
    except sqlite3.DatabaseError as error:
        return str(error)


def stored_study(folder: RunFolder, name: str) -> optuna.Study | None:
    """A study to read, if it is there. Creates nothing."""
    try:
        return optuna.load_study(study_name=name, storage=open_storage(folder.storage))
    except (KeyError, Refused):
        return None


def value_of(trial: optuna.trial.FrozenTrial) -> float:
    """The value of a trial that was completed."""
    assert trial.value is not None
    return trial.value


@contextmanager
def _locked_in_database(url: str, name: str) -> Iterator[Callable[[], None]]:
    """The same lock for coordinators on several machines: held by a connection, and gone with it."""
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", **_POSTGRESQL)
    lock = sqlalchemy.text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")

    def attempt() -> bool:
        try:
            return bool(connection.scalar(lock, {"key": f"hpo {name}"}))
        finally:
            connection.rollback()  # or a connection that was lost could not be made again

    def hold() -> None:
        if not steadily(attempt):
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
