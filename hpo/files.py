"""A file is whole or it is not there: it is written under a temporary name beside it, synced, and renamed."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from hpo.errors import Halted
from hpo.retry import disk_full, retry


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, or leave it as it was: temporary file, fsync, rename, fsync of the folder.

    Waits for a full disk. Raises Halted, an OSError, where the file cannot be written.
    """
    try:
        retry(lambda: _write_whole(path, content), disk_full)
    except Halted:
        raise
    except OSError as error:
        raise Halted(f"cannot write {path}: {error.strerror or error}") from error


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a process that was killed and had our number
    try:
        with open(temporary, "xb") as file:  # never through a link that somebody has put there
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """`write_whole` of readable JSON; NaN and infinity are refused rather than written as non-JSON."""
    write_whole(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def no_link(path: str, flags: int) -> int:
    """An opener that follows no link, and does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
