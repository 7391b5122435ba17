"""What keeps a study in good order: trials that failed are trained again, a lost storage is made anew."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hpo.errors import Refused
from hpo.promotion.selection import count_retry
from hpo.storage.folder import Kind, RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.transient import failures_as_halted
from hpo.trial import rebuild as from_folders
from hpo.trial import retry as again
from hpo.trial.guard import quits_as_errors
from hpo.trial.rebuild import Rebuilt
from hpo.trial.retry import Retried, retryable
from hpo.verbs.changes import go_on, require_same_or_accepted
from hpo.verbs.command_log import begin
from hpo.verbs.opening import AnyStudy, adoption_of, open_study, require_own_trials
from hpo.verbs.options import Folder, Options


@failures_as_halted()
@quits_as_errors()
def retry(
    study: AnyStudy,
    trials: Collection[int] = (),
    *,
    failed: bool = False,
    promotion: bool = False,
    smoke: bool = False,
    data: Folder | None = None,
    runs: Folder = "runs",
    storage: str | None = None,
    accept: Collection[str] = (),
) -> Retried:
    """Let the next sweep train these failed trials again, or with `failed` all that have failed. With `promotion` they
    are runs of the promotion, and the next promotion trains them.

    Each keeps its number, its configuration and its seed, begins anew, and counts once in the budget. How it had failed
    is kept in its folder. Where the promotion has a verdict, that has been read: the next one is another look at the
    test split, with wider intervals. Where the code was mended since, `accept=["code"]` is needed, as for a sweep.
    Raises Refused where a trial has not failed.
    """
    options = Options(
        smoke=smoke,
        data=data,
        runs=runs,
        storage=storage,
        accept=tuple(accept),
        failed=failed,
        promotion=promotion,
    )
    kind: Kind = "promotion" if promotion else "sweep"
    if failed == bool(trials):
        raise Refused("retry: name the failed trials by their numbers, or give --failed for all of them; one of both")
    opened = open_study("retry", study, options)
    require_own_trials(opened.folder)
    change = require_same_or_accepted(opened)
    if not retryable(opened.folder, trials, kind):
        return Retried((), ())
    begin(opened, *map(str, trials))
    go_on(opened, change)
    with study_lock(opened.folder):
        if kind == "promotion":
            count_retry(opened.folder)
        return again.retry(opened.study, opened.folder, opened.identity, trials, kind)


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
    begin(opened)
    return from_folders.rebuild(opened.study, opened.folder, opened.identity, force=force)
