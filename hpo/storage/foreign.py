"""Somebody else's Optuna storage, to read: SQLite, a journal file, or a database server.

It is read through a copy in a temporary folder: Optuna itself may write to what it opens, and cannot open an older
schema without changing it.
"""

from __future__ import annotations

import functools
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from hpo.errors import Refused
from hpo.formatting import first_words
from hpo.plain import nearest
from hpo.retrying import cause
from hpo.storage import sqlite
from hpo.storage.folder import SQLITE
from hpo.storage.postgresql import CONNECTION, holds_password

SQLITE_HEADER = b"SQLite format 3\0"
SIDES = ("-wal", "-journal")  # what SQLite keeps beside a database that is written to
COPIES = 50  # attempts, while somebody writes
COPY_PAUSE_S = 0.1
ROWS = 1000  # that are copied at once
TABLES = (
    "studies",
    "study_directions",
    "study_user_attributes",
    "study_system_attributes",
    "trials",
    "trial_user_attributes",
    "trial_system_attributes",
    "trial_params",
    "trial_values",
    "trial_intermediate_values",
    "trial_heartbeats",
    "version_info",
    "alembic_version",
)


@dataclass(frozen=True)
class Foreign:
    """A study of somebody else's, and where it is kept."""

    study: optuna.Study
    url: str  # without a password, and with the whole path of a file


@contextmanager
def foreign_study(url: str, name: str | None = None) -> Iterator[Foreign]:
    """An Optuna study that was not made here; `name` may be left out where there is but one. Nothing is written to it.

    `url` is an SQLAlchemy URL, or the path of an SQLite database or of a journal file. Raises Refused where it cannot
    be read, where the name is not there, or where the study has several goals.
    """
    with TemporaryDirectory(prefix="hpo-") as folder:
        storage, place = _opened_copy(url, Path(folder))
        try:
            studies = {stored.study_name: stored for stored in storage.get_all_studies()}
            chosen = _chosen(studies, name, place)
            _require_one_goal(chosen, studies[chosen].directions)
            yield Foreign(optuna.load_study(study_name=chosen, storage=storage), place)
        except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
            raise Refused(f"--from: {place} cannot be read as an Optuna storage: {cause(error)}") from error
        finally:
            if isinstance(storage, optuna.storages.RDBStorage):
                storage.engine.dispose()


def _chosen(studies: dict[str, Any], name: str | None, place: str) -> str:
    if not studies:
        raise Refused(f"--from: there is no study in {place}")
    names = sorted(studies)
    if name is None:
        if len(names) > 1:
            raise Refused(f"--from: {place} holds {len(names)} studies; name one with --study: {_listed(names)}")
        return names[0]
    if name not in studies:
        raise Refused(f"--study: there is no study {name!r} in {place}{nearest(name, names)}")
    return name


def _listed(names: Sequence[str], most: int = 20) -> str:
    return first_words([repr(name) for name in names], most)


def _require_one_goal(name: str, directions: Sequence[StudyDirection]) -> None:
    if len(directions) > 1:
        words = ", ".join(direction.name.lower() for direction in directions)
        raise Refused(
            f"study {name!r} has {len(directions)} goals ({words}); a study with one goal is needed: several have no "
            f"best trial, and no curves"
        )
    if directions[0] is StudyDirection.NOT_SET:
        raise Refused(f"study {name!r} does not say whether its goal is minimized or maximized")


# -- the copy --------------------------------------------------------------------------------------------------------
def _opened_copy(url: str, folder: Path) -> tuple[optuna.storages.BaseStorage, str]:
    """Optuna's storage of a copy, and the place of the original as it may be shown."""
    copy = folder / "copy"
    parsed = _parsed(url) if "://" in url else None
    if parsed is None or parsed.get_backend_name() == "sqlite":
        path = Path((url if parsed is None else parsed.database) or "").absolute()
        if _copied_file(path, copy).startswith(SQLITE_HEADER):
            return _migrated(copy, str(path)), f"{SQLITE}{path}"
        return _journal(copy, str(path)), str(path)
    with _readable(parsed.render_as_string()):
        _copy_tables(parsed, copy)
    return _migrated(copy, parsed.render_as_string()), parsed.render_as_string()


def _parsed(url: str) -> sqlalchemy.URL:
    """The URL of a database. Raises Refused without repeating what was given: it may hold a password."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise Refused("--from: must be sqlite:///PATH, postgresql://USER@HOST/DATABASE, or a file") from None
    if holds_password(parsed):
        raise Refused(
            "--from: must not hold a password, which everybody on this machine could read; put it into ~/.pgpass, a "
            "file that PGPASSFILE names, or PGPASSWORD"
        )
    return parsed


@contextmanager
def _readable(place: str) -> Iterator[None]:
    """Raise Refused for what says that a storage is not there, or is none of Optuna's."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise Refused(f"--from: {place} needs the package {error.name}, which is not installed") from error
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise Refused(f"--from: {place} cannot be read as an Optuna storage: {cause(error)}") from error


def _copied_file(source: Path, target: Path) -> bytes:
    """Copy a file as it is at one moment, with what SQLite keeps beside it; return how it begins."""
    if not source.is_file():
        raise Refused(f"--from: {source} is not there" if not source.exists() else f"--from: {source} is not a file")
    for _ in range(COPIES):
        before = _stamps(source)
        for ending in before:
            shutil.copyfile(f"{source}{ending}", f"{target}{ending}")
        if _stamps(source) == before and _is_whole(target):
            break
        for ending in before:
            Path(f"{target}{ending}").unlink()
        time.sleep(COPY_PAUSE_S)
    else:
        raise Refused(f"--from: {source} is being written to, or is damaged; try again")
    with open(target, "rb") as file:
        return file.read(len(SQLITE_HEADER))


def _stamps(source: Path) -> dict[str, tuple[int, int]]:
    """Size and time of the file and of what lies beside it, by the endings of their names."""
    stamps = {}
    for ending in ("", *SIDES):
        path = Path(f"{source}{ending}")
        if path.exists():
            stat = path.stat()
            stamps[ending] = (stat.st_size, stat.st_mtime_ns)
    return stamps


def _is_whole(copy: Path) -> bool:
    with open(copy, "rb") as file:
        is_sqlite = file.read(len(SQLITE_HEADER)) == SQLITE_HEADER
    return not is_sqlite or sqlite.integrity(copy) == sqlite.SOUND


def _copy_tables(source: sqlalchemy.URL, target: Path) -> None:
    """Copy the tables of a database server into an SQLite file: in one transaction, which may only read."""
    options: dict[str, Any] = CONNECTION if source.get_backend_name() == "postgresql" else {}
    theirs = sqlalchemy.create_engine(source, **options)
    ours = sqlalchemy.create_engine(f"{SQLITE}{target}")
    tables = sqlalchemy.MetaData()
    sqlalchemy.event.listen(tables, "column_reflect", _as_any_database_has_it)
    try:
        with theirs.connect() as connection, ours.begin() as copy:
            if source.get_backend_name() == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            there = set(sqlalchemy.inspect(connection).get_table_names())
            tables.reflect(connection, only=[name for name in TABLES if name in there])
            tables.create_all(copy)
            for table in tables.sorted_tables:
                for rows in connection.execute(sqlalchemy.select(table)).mappings().partitions(ROWS):
                    copy.execute(table.insert(), [dict(row) for row in rows])
    finally:
        theirs.dispose()
        ours.dispose()


def _as_any_database_has_it(_inspector: Any, _table: Any, column: dict[str, Any]) -> None:
    column["type"] = column["type"].as_generic()
    for key in ("default", "identity", "comment"):
        column.pop(key, None)


def _migrated(copy: Path, place: str) -> optuna.storages.RDBStorage:
    """The storage in the copy, brought to the schema of the Optuna that is installed."""
    with _readable(place):
        _require_studies(copy, place)
        engine = {"creator": functools.partial(sqlite.connect, copy, "rw")}
        open_copy = functools.partial(optuna.storages.RDBStorage, f"{SQLITE}{copy}", engine)
        older = open_copy(skip_compatibility_check=True)
        version = older.get_current_version()
        if version not in older.get_all_versions():
            raise Refused(
                f"--from: {place} was written by a newer Optuna (schema {version}) than {optuna.__version__}, which "
                f"is installed here; update it: pip install -U optuna"
            )
        if version != older.get_head_version():
            _upgrade(older)
        older.engine.dispose()
        return open_copy()


def _upgrade(copy: optuna.storages.RDBStorage) -> None:
    """Bring a copy to the newest schema. Without a handler, the library would configure this process's logging."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        copy.upgrade()
    finally:
        logging.root.removeHandler(handler)


def _require_studies(copy: Path, place: str) -> None:
    engine = sqlalchemy.create_engine(f"{SQLITE}{copy}")
    try:
        names = sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()
    if not {"studies", "trials"} <= set(names):
        raise Refused(f"--from: {place} is no Optuna storage: it has no tables of studies and trials")


def _journal(copy: Path, place: str) -> optuna.storages.JournalStorage:
    content = copy.read_bytes()
    copy.write_bytes(content[: content.rfind(b"\n") + 1])  # a line that is being written is left out
    try:
        if "op_code" not in json.loads(content.partition(b"\n")[0]):
            raise ValueError("its first line is no operation on a study")
        return optuna.storages.JournalStorage(JournalFileBackend(str(copy)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(
            f"--from: {place} is no Optuna storage: neither an SQLite database nor a journal file ({error})"
        ) from error
