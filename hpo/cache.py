"""Data that is costly to make is made once per machine, memory-mapped, and shared by every worker."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import joblib

from hpo.code.harness import code_hash
from hpo.files import make_folder

T = TypeVar("T")


def cache_folder() -> Path:
    """Where made data lies: $HPO_CACHE, or the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpo"
    return Path(os.environ.get("HPO_CACHE") or default)


def made_once(make: Callable[..., T], *arguments: Any) -> T:
    """Return `make(*arguments)`, from the cache where it has been made before.

    Keyed by the arguments and by the code of `make`: the definitions that it uses, followed by their names through the
    files outside installed packages; the statements that run when its module is imported; and the engine, as for a
    study. Changing any of it makes the data anew; a comment, or a function beside it that it does not use, does not.
    Numpy arrays come back memory-mapped and read-only. Of several processes that ask at once, one makes and the others
    wait.
    """
    name = f"{make.__module__}.{make.__qualname__}"
    folder = cache_folder() / name / code_hash(make)
    make_folder(folder)
    memory = joblib.Memory(folder, mmap_mode="r", verbose=0)
    with open(cache_folder() / f"{name}.lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # freed by the kernel if this process dies
        return memory.cache(_call, ignore=["make"])(make, arguments)  # type: ignore[no-any-return]


def _call(make: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    """What joblib sees instead of `make`: it would throw the data away at each changed comment."""
    return make(*arguments)
