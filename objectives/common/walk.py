"""Every file in a folder and its subfolders: those to read, and those that are skipped, each with a reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from objectives.common.record import RECORD

SHOWN = 5  # names of skipped files that are listed for each reason


@dataclass(frozen=True)
class Skipped:
    """A file that is not read."""

    path: Path
    reason: str  # equal for files of one kind, which are counted together
    expected: bool = False  # nobody would miss it: hidden, or not of the command's kind at all


WhyNot = Callable[[Path], Skipped | None]


def list_files(folder: Path, why_not: WhyNot, *, leave_out: Path | None = None) -> tuple[list[Path], list[Skipped]]:
    """Every file in `folder` and its subfolders, by name: those to read, and those that are skipped.

    `why_not` judges a file; hidden files, links to folders and outputs of an earlier command are skipped before it is
    asked. The folder `leave_out` is not entered. Raises ValueError where `folder` is no folder, or is `leave_out`.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder; it is not")
    if leave_out is not None and leave_out.resolve() == folder.resolve():
        raise ValueError(f"OUT must be another folder than {folder}: originals and outputs would be mixed")
    paths: list[Path] = []
    skipped: list[Skipped] = []
    for entry in sorted(_walk(folder, leave_out, skipped)):
        reason = _skip_by_name(entry) or why_not(entry)
        if reason:
            skipped.append(reason)
        else:
            paths.append(entry)
    return paths, skipped


def summary_of_skipped(skipped: Iterable[Skipped]) -> list[str]:
    """A line for each reason: how many files were skipped, and the first names."""
    names_by_reason: dict[str, list[str]] = {}
    for file in skipped:
        names_by_reason.setdefault(file.reason, []).append(file.path.name)
    lines = []
    for reason, names in names_by_reason.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        lines.append(f"{len(names)} skipped, {reason}: {', '.join(names[:SHOWN])}{more}")
    return lines


def _walk(folder: Path, leave_out: Path | None, skipped: list[Skipped]) -> Iterator[Path]:
    """The files in a folder and in those of its subfolders that are entered; the others are added to `skipped`."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(Path(error.filename), f"the folder cannot be read ({error.strerror})"))

    for parent, names, files in os.walk(folder, onerror=unreadable):
        for name in sorted(names):
            path = Path(parent, name)
            is_out = leave_out is not None and path.resolve() == leave_out.resolve()
            reason = None if is_out else _why_not_entered(path)
            if reason:
                skipped.append(reason)
            if is_out or reason:
                names.remove(name)
        yield from (Path(parent, name) for name in files)


def _why_not_entered(folder: Path) -> Skipped | None:
    if folder.name.startswith("."):
        return Skipped(folder, "hidden folders", expected=True)
    if folder.is_symlink():
        return Skipped(folder, "links to folders are not followed")
    if (folder / RECORD).exists():
        return Skipped(folder, f"folders with outputs of an earlier command ({RECORD} is in them)", expected=True)
    return None


def _skip_by_name(path: Path) -> Skipped | None:
    if path.name.startswith("._"):
        return Skipped(path, "AppleDouble files, which macOS writes beside its own", expected=True)
    if path.name.startswith("."):
        return Skipped(path, "hidden files", expected=True)
    if path.name == RECORD:
        return Skipped(path, "the record of an earlier command", expected=True)
    if not path.is_file():
        return Skipped(path, "broken links, pipes and the like: no files")
    return None
