"""The folder that a user gives with --data: that it is one, and what it holds, for a message."""

from __future__ import annotations

from pathlib import Path

SHOWN = 10  # names in a message


def require_folder(folder: Path) -> None:
    """Raise ValueError where it is no folder."""
    if not folder.is_dir():
        raise ValueError(f"--data {folder} must be a folder; it is not")


def names_in(folder: Path) -> str:
    """The first names in a folder, for the end of a message."""
    return ", ".join(sorted(path.name for path in folder.iterdir())[:SHOWN]) or "nothing"
