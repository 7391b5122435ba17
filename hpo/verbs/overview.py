"""What is running, done and best. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from hpo.page.status import Status, statuses
from hpo.storage.transient import failures_as_halted
from hpo.verbs.options import Folder


@failures_as_halted()
def status(study: str | None = None, *, runs: Folder = "runs") -> list[Status]:
    """What is running, done and best of the studies in `runs`, or of the one of that name, and how long it will take.

    Writes nothing. Raises Refused where nothing has been run.
    """
    return statuses(Path(runs), study)
