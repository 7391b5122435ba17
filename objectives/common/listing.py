"""The pictures in a user's folder, and why its other files are no input."""

from __future__ import annotations

import warnings
from pathlib import Path

from objectives.common.formats import ADVICE, READ, SUFFIXES, format_of
from objectives.common.walk import Skipped, list_files, summary_of_skipped


def why_not_picture(path: Path) -> Skipped | None:
    """None for a picture that can be read, or should be by its name; else why it is skipped."""
    try:
        name = format_of(path)
    except OSError as error:
        return Skipped(path, f"the file cannot be read ({error.strerror})")
    if name in ADVICE:
        return Skipped(path, ADVICE[name], expected=name in ("video", "PDF"))
    if name in READ or path.suffix.lower() in SUFFIXES:
        return None
    return Skipped(path, "no pictures", expected=True)


def pictures_in(folder: Path | str) -> tuple[list[Path], list[Skipped]]:
    """The pictures in a folder and its subfolders by name, and the files that are skipped.

    Raises ValueError if it is no folder or holds no image that can be read.
    """
    folder = Path(folder)
    paths, skipped = list_files(folder, why_not_picture)
    if not paths:
        reasons = "; ".join(summary_of_skipped(skipped)) or "the folder is empty"
        raise ValueError(f"{folder} holds no image that can be read: {reasons}")
    return paths, skipped


def warn_of_skipped(folder: Path | str, skipped: list[Skipped]) -> None:
    """A warning for each kind of file that the user would miss: pictures that are not read."""
    for line in summary_of_skipped(file for file in skipped if not file.expected):
        warnings.warn(f"{folder}: {line}", stacklevel=3)
