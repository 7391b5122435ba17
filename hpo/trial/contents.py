"""The content of the files that a task says its data comes from. A file is read once, and again after a touch."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hpo.errors import Refused
from hpo.task import Task, in_fold
from hpo.trial.kept_data import KeptData

READERS = 8  # files that are read at once: small ones on a network wait for it
SETTLED_NS = 2_000_000_000  # a file that changed later than that before it was read may change again in the same moment
Watch = Callable[[int, str], None]  # how many of what have been read


def files_of(task: Task[Any]) -> list[Path]:
    """The files that a task declares, in all of its folds, in order; those of a folder one by one, but for hidden ones.

    Raises Refused where one of them is not there.
    """
    if not callable(task.files):
        return []  # a field of that name, of a task that is older than the method
    declared = {Path(path).absolute() for run in range(task.folds) for path in in_fold(task, run).files()}
    return sorted({file for path in declared for file in _files_at(path, task)})


def _files_at(path: Path, task: Task[Any]) -> Iterator[Path]:
    if path.is_dir():
        for folder, folders, names in os.walk(path, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(folder) / name for name in names if not name.startswith("."))
    elif path.is_file():
        yield path
    else:
        raise Refused(f"{type(task).__name__}.files: must give files or folders that are there; got {path}")


def content_hash(files: Sequence[Path], kept: KeptData, watch: Watch) -> str:
    """12 hex digits over the contents of files and their names below the folder that holds all of them.

    What is read is kept by path, size and times.
    """
    before = {entry[0]: entry[1:] for entry in kept["files"] or ()}
    states = {str(file): _state(file) for file in files}
    known = {path: before[path][-1] for path, state in states.items() if path in before and before[path][:-1] == state}
    changed = [path for path in states if path not in known]
    with ThreadPoolExecutor(READERS) as readers:
        for number, (path, digest) in enumerate(zip(changed, readers.map(_digest, changed), strict=True), start=1):
            known[path] = digest
            watch(number, "file")
    settled = time.time_ns() - SETTLED_NS
    if changed or before.keys() - known.keys():
        kept["files"] = [[path, *states[path], known[path]] for path in states if max(states[path][1:]) < settled]
    root = os.path.commonpath([str(file.parent) for file in files])
    total = hashlib.sha256()
    for path in states:
        total.update(f"{os.path.relpath(path, root)}\0{known[path]}\n".encode(errors="surrogateescape"))
    return total.hexdigest()[:12]


def _state(file: Path) -> list[int]:
    """Size and times. Whoever sets the time of a change back still changes the time of its entry."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
