"""Checkpoints of a run: whole files that carry their sha256 in their name.

The name carries it because torch.load does not notice a flipped bit in a tensor.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo.engine.checkpoint_files import checkpoints, epoch_of
from hpo.files import write_whole
from hpo.retrying import cause

KEEP = 2  # a damaged newest one falls back to the one before
PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
ROOM = 2**28  # bytes that a view may span beyond its file: a buffer may be one number, expanded


def save(folder: Path, epoch: int, state: dict[str, Any]) -> Path:
    """Write the state after `epoch`, and keep only it and the one before.

    What lies there for this epoch or a later one is dropped: the run has come here without it, so it was damaged.

    Raises ValueError where the state holds something that could not be read back without running code from the file.
    """
    _require_plain(state, "")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"epoch-{epoch:06d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    write_whole(path, content)
    before = [other for other in checkpoints(folder) if epoch_of(other) < epoch]
    for other in checkpoints(folder):
        if other != path and other not in before[: KEEP - 1]:
            other.unlink()
    return path


def _require_plain(value: Any, place: str) -> None:
    if isinstance(value, Tensor) or type(value) in PLAIN:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            _require_plain(key, place)
            _require_plain(item, f"{place}[{key!r}]" if place else str(key))
    elif type(value) in (list, tuple, torch.Size):
        for index, item in enumerate(value):
            _require_plain(item, f"{place}[{index}]")
    else:
        raise ValueError(
            f"a checkpoint holds tensors and plain values alone, and {place} is a {type(value).__name__}: {value!r}"
        )


def newest(folder: Path) -> dict[str, Any] | None:
    """The newest state whose checksum holds, or None. Damaged files, links and folders are passed over.

    Raises ValueError where the checksum holds but the file was not written by `save`.
    """
    for path in checkpoints(folder):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == path.stem.rsplit("-", 1)[1]:
            return _state(path, content)
    return None


def _state(path: Path, content: bytes) -> dict[str, Any]:
    """Read a state without running code from the file, and without using more memory than `content` does.

    torch.save compresses nothing, so a compressed file was made by somebody else, to fill the memory.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(item.file_size for item in archive.infolist())
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu") if size <= len(content) else {}
    except Exception as error:  # the readers may raise anything for a foreign file
        raise ValueError(f"{path} is no checkpoint: {cause(error)}") from error
    if size > len(content):
        raise ValueError(f"{path} is larger than its file; refused: hpo never writes compressed checkpoints")
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


def discard(folder: Path) -> None:
    """Remove all checkpoints of a run that has ended, and what a killed process left of an unfinished write."""
    for part in folder.glob("part-*"):  # of a cross-validation
        shutil.rmtree(part)
    for path in [*checkpoints(folder), *folder.glob(".*.tmp")]:
        path.unlink(missing_ok=True)
