"""Which checkpoints a folder holds, by their names alone."""

from __future__ import annotations

import re
from pathlib import Path

NAME = re.compile(r"epoch-(\d{6})-([0-9a-f]{16})\.pt")


def reached(folder: Path) -> int:
    """The last epoch with a checkpoint; -1 where there is none. Another process may be at work in the folder."""
    return max((epoch_of(path) for path in _named(folder)), default=-1)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    return sorted(_named(folder), key=lambda path: (epoch_of(path), path.lstat().st_mtime_ns), reverse=True)


def _named(folder: Path) -> list[Path]:
    return [path for path in folder.glob("epoch-*.pt") if NAME.fullmatch(path.name)]


def epoch_of(path: Path) -> int:
    """The epoch after which a checkpoint was saved, from its name."""
    return int(path.name.split("-")[1])
