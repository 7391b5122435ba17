"""A file is whole or it is not there.

Everything is written to a temporary name in the same folder, synced, and renamed. A checkpoint carries its sha256
in its name, because torch.load does not notice a flipped bit in a tensor.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo.patience import Halted, cause, disk_full, patiently

KEEP = 2  # a damaged newest one falls back to the one before
ROOM = 2**28  # bytes that a view may span beyond its file: a buffer may be one number, expanded
_NAME = re.compile(r"epoch-(\d{6})-([0-9a-f]{16})\.pt")


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, or leave it as it was: temporary file, fsync, rename, fsync of the folder.

    Waits for a full disk. Raises Halted, an OSError, where the file cannot be written.
    """
    try:
        patiently(lambda: _write_whole(path, content), disk_full)
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


def save(folder: Path, epoch: int, state: dict[str, Any]) -> Path:
    """Write the state after `epoch`, and keep only it and the one before.

    What lies there for this epoch or a later one is dropped: the run has come here without it, so it was damaged.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"epoch-{epoch:06d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    write_whole(path, content)
    before = [other for other in _checkpoints(folder) if _epoch(other) < epoch]
    for other in _checkpoints(folder):
        if other != path and other not in before[: KEEP - 1]:
            other.unlink()
    return path


def newest(folder: Path) -> dict[str, Any] | None:
    """The newest state whose checksum holds, or None. Damaged files, and what is no file, are passed over.

    Raises ValueError where the checksum holds and it is no state of ours, or one larger than its file.
    """
    for path in _checkpoints(folder):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == path.stem.rsplit("-", 1)[1]:
            return _state(path, content)
    return None


def _state(path: Path, content: bytes) -> dict[str, Any]:
    """Runs no code of the file's, and takes no more memory than `content` does: torch.save compresses nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(item.file_size for item in archive.infolist())
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu") if size <= len(content) else {}
    except Exception as error:  # whatever a file that is not ours makes the readers stumble over
        raise ValueError(f"{path} is no checkpoint: {cause(error)}") from error
    if size > len(content):
        raise ValueError(f"{path} is larger than its file: it is compressed, which none of ours is")
    if not isinstance(state, dict):
        raise ValueError(f"{path} is no checkpoint: it holds a {type(state).__name__}")
    if any(tensor.numel() * tensor.element_size() > len(content) + ROOM for tensor in _tensors(state)):
        raise ValueError(f"{path} is larger than its file: a tensor in it claims more elements than it has")
    return state


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)


def reached(folder: Path) -> int:
    """The last epoch that a checkpoint was saved after; -1 where there is none."""
    return max((_epoch(path) for path in _checkpoints(folder)), default=-1)


def discard(folder: Path) -> None:
    """Remove all checkpoints of a run that has ended, and what a killed process left of an unfinished write."""
    for path in [*_checkpoints(folder), *folder.glob(".*.tmp")]:
        path.unlink(missing_ok=True)


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.glob("epoch-*.pt") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (_epoch(path), path.lstat().st_mtime_ns), reverse=True)


def _epoch(path: Path) -> int:
    return int(path.name.split("-")[1])
