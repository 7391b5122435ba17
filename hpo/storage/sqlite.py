"""A study's own SQLite file: how it is connected to, and whether it is sound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import sqlalchemy

BUSY_S = 10  # how long SQLite waits for a lock before we say so and wait on
SOUND = "ok"


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Connect with full syncs, by the path itself: in a URL of SQLAlchemy's, a folder's %, ? or # would mean something
    else. `mode` is "rw" or, to create the file, "rwc"."""
    uri = f"file:{quote(str(path))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def integrity(path: Path) -> str:
    """SOUND, or the first thing that is wrong with a database. Raises OperationalError where it is locked."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
            results = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
            dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.OperationalError as error:
        raise sqlalchemy.exc.OperationalError(None, None, error) from error  # so that a lock is waited for
    except sqlite3.DatabaseError as error:
        return str(error)
    if results != [SOUND]:
        return str(results[0])
    return f"{len(dangling)} rows refer to rows that are missing" if dangling else SOUND
