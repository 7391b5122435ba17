"""What is running, done and best. Needs torch only where the study is named by a file, which is then loaded."""

from __future__ import annotations

from pathlib import Path

from hpo.errors import Refused
from hpo.page.status import Status, statuses


def status(study: str | None = None, *, runs: str | Path = "runs") -> list[Status]:
    """What is running, done and best of the studies in `runs`, or of one of them, and how long it will take.

    `study` is its name or its file. Writes nothing. Raises Refused where nothing has been run.
    """
    folder = Path(runs).absolute()  # a study file may change the current folder
    return statuses(folder, study and _name(study, folder))


def _name(study: str, runs: Path) -> str:
    """The name of the study: a file may hold a study of any name."""
    if (runs / study).is_dir():
        return study
    from hpo.verbs.load import find_study, load_study

    try:
        file = find_study(study)
    except Refused:  # of no file that is here, but it may have been run
        return study
    return load_study(file).name
