"""Which checkpoints a folder holds, by their names alone."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"epoch-(\d{6})-([0-9a-f]{16})\.pt")


def reached(folder: Path) -> int:
    """The last epoch that a checkpoint was saved after; -1 where there is none."""
    return max((epoch_of(path) for path in checkpoints(folder)), default=-1)


def checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.glob("epoch-*.pt") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (epoch_of(path), path.lstat().st_mtime_ns), reverse=True)


def epoch_of(path: Path) -> int:
    return int(path.name.split("-")[1])
