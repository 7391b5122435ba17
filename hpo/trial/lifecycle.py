"""How a trial ends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from hpo.storage.database import value_of
from hpo.trial.record import STATES, Outcome


@dataclass(frozen=True)
class Standing:
    """How far a sweep has come."""

    done: int
    trials: int
    complete: int
    pruned: int
    failed: int
    best: float | None
    best_number: int | None


def is_orphan(trial: optuna.trial.FrozenTrial, running: Collection[int]) -> bool:
    """Whether a trial was begun and is nobody's: its coordinator died, or the storage lost our answer."""
    return trial.state is TrialState.RUNNING and trial.number not in running


def conclude(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> None:
    """Tell the outcome, with what a reader or the sampler should know beside it. Once: again is no error."""
    stored = trial.storage.get_trial(trial._trial_id)
    if stored.state.is_finished():
        return
    for epoch in outcome.history:  # in a storage that was made anew, a result that was there has not been reported
        if epoch["epoch"] not in stored.intermediate_values:
            trial.report(epoch["best"], epoch["epoch"])
    attributes = {
        "scores": _finite(outcome.scores),
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "seconds": outcome.seconds,
        "reason": outcome.reason,
    }
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    if outcome.test:
        trial.set_user_attr("test", _finite(outcome.test))
    trial.set_constraint("memory", 1.0 if outcome.memory else -1.0)  # TPE then keeps away from what did not fit
    study.tell(trial, outcome.value if outcome.state == "complete" else None, state=STATES[outcome.state])


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: no NaN or infinity reaches Optuna, and JSON has none."""
    return {name: score for name, score in scores.items() if math.isfinite(score)}


def standing(study: optuna.Study, trials: int) -> Standing:
    """The standing of a study, from its storage."""
    finished = [frozen for frozen in study.get_trials(deepcopy=False) if frozen.state.is_finished()]
    counts = Counter(frozen.state for frozen in finished)
    sign = 1 if study.direction is optuna.study.StudyDirection.MINIMIZE else -1
    complete = [frozen for frozen in finished if frozen.state is TrialState.COMPLETE]
    best = min(complete, key=lambda frozen: (sign * value_of(frozen), frozen.number), default=None)
    return Standing(
        len(finished),
        trials,
        counts[TrialState.COMPLETE],
        counts[TrialState.PRUNED],
        counts[TrialState.FAIL],
        best.value if best else None,
        best.number if best else None,
    )
