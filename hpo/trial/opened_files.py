"""Which files Python opens and which folders it lists while a task reads its data, and whether they are still the same.

It is a safeguard for tasks that do not declare their files: what a library opens in C, or another process, is not seen.
"""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from hpo.cache import cache_folder
from hpo.code.modules import INSTALLED

NO_DATA = (".py", ".pyc", ".so", ".pth", ".lock")
PACKAGES = tuple(f"{os.sep}{folder}{os.sep}" for folder in INSTALLED)
SYSTEM = ("/proc/", "/sys/", sysconfig.get_path("stdlib"))
LISTINGS = ("os.listdir", "os.scandir")

State: TypeAlias = list[Any]  # path, size and times; of a folder only the time at which its entries changed

_recordings: list[set[str]] = []
_hooks: list[bool] = []


@contextmanager
def opened_files() -> Iterator[set[str]]:
    """Yields the paths that have been opened to read, or listed, since then in this process."""
    if not _hooks:
        sys.addaudithook(_note)  # it stays for good, and does nothing while nobody records
        _hooks.append(True)
    paths: set[str] = set()
    _recordings.append(paths)
    try:
        yield paths
    finally:
        _recordings.remove(paths)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _recordings or not arguments or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    is_read = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if is_read or event in LISTINGS:
        for paths in _recordings:
            paths.add(os.path.abspath(os.fsdecode(arguments[0])))


def states_of(paths: Iterable[str]) -> list[State]:
    """The state of each file or folder that may hold data, in order. Those that are gone were temporary."""
    states = (_state(path) for path in sorted(paths) if _may_hold_data(path))
    return [state for state in states if state is not None]


def are_unchanged(states: Sequence[State]) -> bool:
    """Whether each of them is as it was."""
    return all(_state(state[0]) == state for state in states)


def _may_hold_data(path: str) -> bool:
    is_code = path.endswith(NO_DATA) or path.startswith(SYSTEM) or any(folder in path for folder in PACKAGES)
    return not is_code and not (path.startswith(str(cache_folder())) and os.path.isdir(path))  # its entries come and go


def _state(path: str) -> State | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return [path, status.st_mtime_ns]
    is_file = stat.S_ISREG(status.st_mode)
    return [path, status.st_size, status.st_mtime_ns, status.st_ctime_ns] if is_file else None
