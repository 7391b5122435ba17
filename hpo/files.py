"""A file is whole or it is not there: it is written under a temporary name beside it, synced, and renamed.

What is made here can be written by its owner alone, whatever the umask allows.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo.errors import Halted, Refused
from hpo.retrying import disk_full, retry


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


def replace_unsynced(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step, without waiting for the disk. A failure leaves it as it was.

    For what is written often and can be lost: after a power cut the file may be empty.
    """
    temporary = _temporary(path)
    with suppress(OSError):
        try:
            temporary.unlink(missing_ok=True)
            with open(temporary, "xb", opener=_for_owner) as file:
                file.write(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes) -> None:
    make_folder(path.parent)
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)  # of a process that was killed and had our number
    try:
        with open(temporary, "xb", opener=_for_owner) as file:  # never through a link that somebody has put there
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


def _temporary(path: Path) -> Path:
    """The name that a file has while it is written. `storage.locks` removes what a killed process has left."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")


def write_json(path: Path, value: Any) -> None:
    """`write_whole` of readable JSON; NaN and infinity are refused rather than written as non-JSON."""
    write_whole(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def make_folder(path: Path) -> None:
    """Make a folder and those that it lies in, where they are missing."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o755, exist_ok=True)


def check_encoding(what: str, path: Path) -> None:
    """Raise Refused unless a path is UTF-8: it stands in records, pages and URLs, which hold nothing else."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise Refused(f"{what} must have a name in UTF-8; got {os.fsencode(path)!r}") from error


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o644)


def no_link(path: str, flags: int) -> int:
    """An opener that follows no link, and does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
