"""Which of a user's frames are filled, and why the other files in their folders are not read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from objectives.common.folder import Job, Plan
from objectives.common.light import MASK_SUFFIXES
from objectives.common.walk import Skipped, list_files

NEEDED = ("warp", "hole")
NumberedFiles = Mapping[str, Mapping[int, Path]]  # kind -> number of the frame -> file


def plan_frames(folder: Path, files: NumberedFiles, into: Path) -> Plan:
    """One job for each frame that has a warped file and a hole file; it is named by its number.

    `files` are all that `frames.frame_files` knows; every other file in their folders is skipped with a reason. Raises
    ValueError where no frame has both.
    """
    numbers = sorted(set.intersection(*(set(files[kind]) for kind in NEEDED)))
    if not numbers:
        raise ValueError(f"{folder}: no warped file shares its number with a hole file")
    jobs = [
        Job(
            name=str(number),
            inputs=tuple(numbered[number] for numbered in files.values() if number in numbered),
            output=into / f"filled-{number:04d}.exr",
        )
        for number in numbers
    ]
    read = {path for job in jobs for path in job.inputs}
    skipped = [reason for kind in files for reason in _skipped_beside(files[kind], read)]
    return Plan(into, tuple(jobs), tuple(skipped))


def _skipped_beside(numbered: Mapping[int, Path], read: set[Path]) -> list[Skipped]:
    """Why the other files in the folder of these are not read."""
    folder = next(iter(numbered.values())).parent
    frames = set(numbered.values())

    def why_not(path: Path) -> Skipped | None:
        if path in read:
            return None
        if path in frames:
            return Skipped(path, f"frames that lack a file in one of {' and '.join(NEEDED)}")
        if path.parent != folder:
            return Skipped(path, f"files in folders inside {folder.name}: frames lie directly in it")
        if path.suffix.lower() in MASK_SUFFIXES:
            return Skipped(path, "files without a number in their name, or of a format that holds no light")
        return Skipped(path, "files of other formats", expected=True)

    return list_files(folder, why_not)[1]
