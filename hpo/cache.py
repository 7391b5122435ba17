"""Data that is costly to make is made once per machine, memory-mapped, and shared by every worker."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import joblib

T = TypeVar("T")


def cache_folder() -> Path:
    """Where made data lies: $HPO_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpo"
    return Path(os.environ.get("HPO_CACHE") or default)


def made_once(make: Callable[..., T], *arguments: Any) -> T:
    """`make(*arguments)`, from the cache where it has been made before.

    Keyed by the source of `make` and by the arguments: changing either makes the data anew. Numpy arrays come back
    memory-mapped and read-only. Of several processes that ask at once, one makes and the others wait.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    memory = joblib.Memory(folder, mmap_mode="r", verbose=0)
    with open(folder / f"{make.__module__}.{make.__qualname__}.lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # freed by the kernel if this process dies
        return memory.cache(make)(*arguments)
