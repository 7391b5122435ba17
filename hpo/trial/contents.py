"""The content of the files that a task says its data comes from. A file is read once, and again after a touch."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hpo.errors import Refused
from hpo.task import Task, in_fold
from hpo.trial.kept_data import KeptData

READERS = 8  # files that are read at once: small ones on a network wait for it
SETTLED_NS = 2_000_000_000  # a file that changed later than that before it was read may change again in the same moment
Watch = Callable[[int, str], None]  # how many of what have been read


def files_of(task: Task[Any]) -> list[str]:
    """The files that a task declares, in all of its folds, in order; those of a folder one by one, but for hidden ones.

    Raises Refused where one of them is not there.
    """
    if not callable(task.files):
        return []  # a field of that name, of a task that is older than the method
    declared = {os.path.abspath(path) for run in range(task.folds) for path in in_fold(task, run).files()}
    return sorted({file for path in declared for file in _files_at(path, task)})


def _files_at(path: str, task: Task[Any]) -> Iterator[str]:
    if os.path.isdir(path):
        for folder, folders, names in os.walk(path, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (f"{folder}{os.sep}{name}" for name in names if not name.startswith("."))
    elif os.path.isfile(path):
        yield path
    else:
        raise Refused(f"{type(task).__name__}.files: must give files or folders that are there; got {path}")


def content_hash(files: Sequence[str], kept: KeptData, watch: Watch) -> str:
    """12 hex digits over the contents of files, given in order, and their names below the folder that holds them all.

    What is read is kept by path, size and times.
    """
    before = {entry[0]: entry for entry in kept["files"] or ()}
    states = [_state(file) for file in files]
    known = {state[0]: before[state[0]][-1] for state in states if before.get(state[0], [])[:-1] == state}
    changed = [file for file in files if file not in known]
    started = time.monotonic()
    with ThreadPoolExecutor(READERS) as readers:
        for number, (file, digest) in enumerate(zip(changed, readers.map(_digest, changed), strict=True), start=1):
            known[file] = digest
            watch(number, "file")
    if changed or len(before) != len(files):
        settled = time.time_ns() - SETTLED_NS
        records = [[*state, known[state[0]]] for state in states if max(state[2:]) < settled]
        kept.keep("files", records, time.monotonic() - started)
    root = os.path.commonpath([os.path.dirname(file) for file in files])
    lines = (f"{file.removeprefix(root)}\0{known[file]}\n" for file in files)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:12]


def _state(file: str) -> list[Any]:
    """Path, size and times. Whoever sets the time of a change back still changes the time of the file's entry."""
    status = os.stat(file)
    return [file, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _digest(file: str) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:32]
