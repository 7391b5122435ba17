"""What a verb says of trials of a sweep that failed, and whether there were too many, and of runs of a promotion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpo.errors import SweepFailed
from hpo.formatting import count
from hpo.promotion.results import Verdict
from hpo.storage.reading import stored_trials
from hpo.trial.failures import FailureGroup, failures_among, faulty, grouped, too_many
from hpo.trial.lifecycle import Standing
from hpo.verbs.display import Display
from hpo.verbs.opening import Opened


@contextmanager
def failures_shown(opened: Opened, display: Display) -> Iterator[None]:
    """Show the failed trials by the kind of their error where the sweep in it fails."""
    try:
        yield
    except SweepFailed:
        display.trials_failed(_groups(opened))
        raise


def require_few_faults(opened: Opened, display: Display, standing: Standing) -> None:
    """Show the failed trials of a sweep that has ended, by the kind of their error.

    Raises SweepFailed where more of them are faulty than a successful sweep may have.
    """
    if not standing.failed:
        return
    groups = _groups(opened)
    display.trials_failed(groups)
    if not too_many(groups, standing.ended):
        return
    worst = next(group for group in groups if group.is_fault)
    not_promoted = "nothing was promoted; " if opened.verb == "run" else ""
    raise SweepFailed(
        f"{faulty(groups)} of {standing.ended} trials failed, more than a quarter (most often {worst.reason}); "
        f"{not_promoted}mend that and train them again ({opened.help_command('retry')} --failed), or promote what was "
        f"completed ({opened.help_command('promote')})\n{worst.traceback}"
    )


def failed_runs(opened: Opened, verdict: Verdict) -> str:
    """A line about the runs of a promotion that failed, and how they are trained again; "" where none has."""
    failed = [
        (result.candidate.name, run) for result in verdict.results for run in result.runs if run.state == "failed"
    ]
    if not failed:
        return ""
    runs = "; ".join(f"run {run.number} of {name}, {run.reason or 'the reason was not kept'}" for name, run in failed)
    again = f"{opened.help_command('retry')} --promotion --failed, then {opened.help_command('promote')}"
    return (
        f"{count(len(failed), 'run')} failed, and took their configurations out of the race ({runs}); to train them "
        f"again, once that is mended: {again}"
    )


def _groups(opened: Opened) -> tuple[FailureGroup, ...]:
    return grouped(failures_among(stored_trials(opened.folder, opened.study.name)), opened.folder)
