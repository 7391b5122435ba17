"""What keeps a study in good order."""

from __future__ import annotations

from pathlib import Path

from hpo.storage.folder import RunFolder
from hpo.storage.transient import failures_as_halted
from hpo.trial import rebuild as from_folders
from hpo.trial.guard import quits_as_errors
from hpo.trial.rebuild import Rebuilt
from hpo.verbs.command_log import log_command
from hpo.verbs.opening import AnyStudy, adoption_of, open_study
from hpo.verbs.options import Folder, Options


@failures_as_halted()
@quits_as_errors()
def rebuild(
    study: AnyStudy,
    *,
    smoke: bool = False,
    data: Folder | None = None,
    runs: Folder = "runs",
    storage: str | None = None,
    force: bool = False,
) -> Rebuilt:
    """Make a damaged or lost storage anew from the trials' folders. What it held before is kept under another name.

    Raises Refused where there are no trials, where another study asked for them, and, unless `force` is set, where the
    storage knows finished trials that the folders lack.
    """
    options = Options(smoke=smoke, data=data, runs=runs, storage=storage, force=force)
    adoption = adoption_of(study, runs)
    if adoption is not None and adoption.task is None:
        return from_folders.rebuild_adopted(RunFolder((Path(runs) / adoption.name).absolute()), adoption)
    opened = open_study("rebuild", study, options)
    # before the log and the lock are written; and again under the lock
    from_folders.require_rebuildable(opened.study, opened.folder, opened.identity, force=force)
    log_command(opened.folder, opened.argv)
    return from_folders.rebuild(opened.study, opened.folder, opened.identity, force=force)
