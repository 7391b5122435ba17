"""Code that has been followed is known for as long as the modules that it was followed through stay as they are.

It is asked for at every cached example, and to follow it takes a tenth of a second.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


@dataclass(frozen=True)
class Followed(Generic[T]):
    """What came of it, and the modules that were met on the way, each with its source file if it is the user's."""

    result: T
    modules: Mapping[str, Path | None]


class FollowedOnce(Generic[T]):
    """Follows a class or a function, and again only after a module that was met has another file or other content."""

    def __init__(self, follow: Callable[[Any], Followed[T]]) -> None:
        self._follow = follow
        self._known: WeakKeyDictionary[Any, tuple[Followed[T], list[_Stamp]]] = WeakKeyDictionary()

    def __call__(self, value: Any) -> T:
        followed, before = self._known.get(value, (None, []))
        if followed is None or _stamps(followed.modules) != before:
            followed = self._follow(value)
            self._known[value] = followed, _stamps(followed.modules)
        return followed.result


@dataclass(frozen=True)
class _Stamp:
    """What a module is now: the file that it is loaded from, and the time and size of its source file."""

    loaded: str | None
    changed_ns: int = 0
    size: int = -1  # of a file that is gone, or is not the user's


def _stamps(modules: Mapping[str, Path | None]) -> list[_Stamp]:
    return [_stamp(name, path) for name, path in modules.items()]


def _stamp(name: str, path: Path | None) -> _Stamp:
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if path is None or not path.exists():
        return _Stamp(loaded)
    status = path.stat()
    return _Stamp(loaded, status.st_mtime_ns, status.st_size)
