"""Trials of a ladder, which pause and go on later: what the storage says of them.

For Optuna a paused trial runs. Two attributes of it tell: the epochs that it was last sent to, and those at which it
paused last. Both only grow, and each is written in one step, so that a kill between two steps leaves a true state.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.storage.optuna_private import trial_id
from hpo.storage.summary import full_length_trials
from hpo.trial.record import Outcome
from hpo.trial.sealed import UNTIL

PAUSED_AT = "paused_at"  # the epochs at which it paused last
WAY = "way"  # how it came to be: see hpo/search/ladder.py
LADDER = "ladder"  # the epochs of a full-length trial, as an attribute of a study whose trials pause


def is_paused(trial: FrozenTrial) -> bool:
    """Whether a trial waits to be sent on."""
    paused_at = trial.user_attrs.get(PAUSED_AT)
    return trial.state is TrialState.RUNNING and paused_at is not None and paused_at == trial.user_attrs.get(UNTIL)


def pause(trial: optuna.Trial, outcome: Outcome) -> None:
    """Tell that a trial has paused. The last step counts: before it, the trial still runs. Twice is no error."""
    report_missing(trial, outcome)
    trial.set_user_attr("seconds", outcome.seconds)
    trial.set_user_attr(PAUSED_AT, outcome.epochs)


def report_missing(trial: optuna.Trial, outcome: Outcome) -> None:
    """Report the epochs that the storage lacks: one that was rebuilt has no reports."""
    reported = trial.storage.get_trial(trial_id(trial)).intermediate_values
    for epoch in outcome.history:
        if epoch.epoch not in reported:
            trial.report(epoch.best, epoch.epoch)


def spent(trial: FrozenTrial) -> int:
    """The epochs that a trial has taken, or takes until it pauses. One that failed at once counts one."""
    if trial.state is TrialState.WAITING:
        return 0
    reported = max(trial.intermediate_values, default=-1) + 1
    key = "epochs" if trial.state.is_finished() else UNTIL
    return max(1, int(trial.user_attrs.get(key, reported)))


def climbed(trials: Sequence[FrozenTrial], full_length: int, wanted: int) -> int:
    """How many full-length trials these stand for; all that were wanted, once no further one fits."""
    is_at_work = any(not trial.state.is_finished() for trial in trials)
    return full_length_trials(sum(map(spent, trials)), full_length, wanted, is_at_work=is_at_work)
