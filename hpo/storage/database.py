"""Where a study is kept: its folder, its storage, and the locks that make each writer the only one."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError

from hpo.direction import Direction
from hpo.errors import Damaged, Refused
from hpo.storage.folder import SQLITE, Kind, RunFolder
from hpo.storage.postgresql import CONNECTION
from hpo.storage.transient import retry_storage

T = TypeVar("T")

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the command line says what matters

BUSY_S = 10  # how long SQLite waits for a lock before we say so and wait on


def open_storage(url: str, *, create: bool = False) -> optuna.storages.BaseStorage:
    """The storage behind a URL. SQLite is opened with a rollback journal and full syncs.

    Only the coordinator creates. Raises Refused where there is none.
    """
    if not url.startswith(SQLITE):
        return optuna.storages.get_storage(optuna.storages.RDBStorage(url, CONNECTION, skip_table_creation=not create))
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


def open_study(
    folder: RunFolder,
    kind: Kind,
    name: str,
    direction: str,
    identity: dict[str, str],
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """Create a study, or open one that asked the same question. Raises Refused where anything in `identity` differs,
    and Damaged where the storage of trials that have run is missing or broken."""
    _check_sound(folder, kind)
    storage = retry_storage(lambda: open_storage(folder.storage, create=True))
    existing = {study.study_name: study for study in retry_storage(storage.get_all_studies)}.get(name)
    if existing is None and folder.numbers(kind):
        raise Damaged(
            f"the storage {folder.storage} knows nothing of the {len(folder.numbers(kind))} trials in "
            f"{folder.path / kind}; {REBUILD}"
        )
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    study = retry_storage(
        lambda: optuna.create_study(
            study_name=name,
            storage=storage,
            direction=optuna.study.StudyDirection[Direction(direction).name],
            load_if_exists=True,
            sampler=sampler,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
    )
    before = study.user_attrs.get("identity")
    if before is None and not study.get_trials(deepcopy=False):
        retry_storage(lambda: study.set_user_attr("identity", identity))
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


def _check_sound(folder: RunFolder, kind: Kind) -> None:
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
    found = retry_storage(lambda: _integrity(path))
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
