"""What keeps a study in good order."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.storage.transient import failures_as_halted
from hpo.trial import rebuild as from_folders
from hpo.verbs.command_log import log_command
from hpo.verbs.opening import AnyStudy, open_study
from hpo.verbs.options import Folder, Options


@dataclass(frozen=True)
class Rebuilt:
    """A storage that was made anew."""

    trials: int
    storage: str  # its URL


@failures_as_halted()
def rebuild(
    study: AnyStudy,
    *,
    smoke: bool = False,
    data: Folder | None = None,
    runs: Folder = "runs",
    storage: str | None = None,
) -> Rebuilt:
    """Make a damaged or lost storage anew from the trials' folders. A damaged SQLite file is kept beside the new one.

    Raises Refused where there are no trials, or where another study asked for them.
    """
    opened = open_study("rebuild", study, Options(smoke=smoke, data=data, runs=runs, storage=storage))
    log_command(opened.folder, opened.argv)
    trials = from_folders.rebuild(opened.study, opened.folder, opened.identity)
    return Rebuilt(trials, opened.folder.storage)
