"""The life of a trial in the storage: begun, orphaned, concluded, counted. Sweep and promotion share it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.contract.costs import Costs, excesses
from hpo.contract.several_goals import COSTS
from hpo.direction import Direction
from hpo.storage.database import value_of
from hpo.storage.folder import Kind
from hpo.storage.optuna_private import set_user_attributes, trial_id
from hpo.storage.reading import all_trials
from hpo.trial.pausing import LADDER, climbed, is_paused, report_missing, spent
from hpo.trial.record import SPARED_AT, Outcome, State

if TYPE_CHECKING:
    from hpo.task import StateName

SUPERSEDED = "superseded by a newer selection"  # why a run of a promotion was given up

NO_LIMITS: Costs = MappingProxyType({})
FAILED = "failed"  # the constraint that a failed trial of a sweep violates
NO_MEMORY = "memory"  # the only such constraint of storages that were written until 0.1

OPTUNA_STATE: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


STATE_NAME: dict[TrialState, StateName] = {
    **{state: name for name, state in OPTUNA_STATE.items()},
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


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
    unfinished: int = 0  # trials that have begun and not ended
    fruitless: int = 0  # trials in a row that were no better than the best, at the end
    stop_after: int | None = None  # of them end the sweep
    is_ladder: bool = False  # its trials pause, and `done` and `fruitless` count full-length ones
    timed_out: bool = False  # a time limit has ended the sweep before its trials were done

    @property
    def ended(self) -> int:
        """How many trials have ended, whole ones and short ones alike."""
        return self.complete + self.pruned + self.failed

    @property
    def is_stopped(self) -> bool:
        """Whether so many trials in a row were no better that the sweep ends before its budget is used up."""
        is_fruitless = self.stop_after is not None and self.fruitless >= self.stop_after
        return is_fruitless and self.done < self.trials and not self.unfinished

    @property
    def is_over(self) -> bool:
        """Whether no trial is missing."""
        return self.done >= self.trials or self.is_stopped

    @property
    def end(self) -> str:
        """Why the sweep has ended before its budget was used up; "" where it has not."""
        return f"ended after {self.fruitless} in a row that were no better" if self.is_stopped else ""


def state_of(trial: FrozenTrial) -> StateName:
    """What we call the state of a trial.

    TPE does not see what Optuna calls failed, and would propose it again and again. So a failed trial of a sweep is
    pruned for Optuna, and violates a constraint.
    """
    if is_paused(trial):
        return "paused"
    violates = any(trial.constraints.get(name, 0.0) > 0 for name in (FAILED, NO_MEMORY))
    return "failed" if violates and trial.state is TrialState.PRUNED else STATE_NAME[trial.state]


def is_orphan(trial: FrozenTrial, running: Collection[int]) -> bool:
    """Whether a trial was begun and is nobody's: its coordinator died, or the storage lost our answer."""
    return trial.state is TrialState.RUNNING and trial.number not in running and not is_paused(trial)


def conclude(study: optuna.Study, trial: optuna.Trial, outcome: Outcome, kind: Kind, limits: Costs = NO_LIMITS) -> None:
    """Tell the outcome, with what a reader or the sampler should know beside it. Telling twice is no error.

    A failed trial of a sweep is told so that the sampler keeps away from the like of it (see `state_of`). Each of the
    study's `limits` is a constraint of its own, so the sampler knows how far a trial is from it.
    """
    stored = trial.storage.get_trial(trial_id(trial))
    if stored.state.is_finished():
        return
    report_missing(trial, outcome)
    attributes: dict[str, Any] = {
        "scores": _finite(outcome.scores),
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "seconds": outcome.seconds,
        "reason": outcome.reason,
    }
    if outcome.spared_at is not None:
        attributes[SPARED_AT] = outcome.spared_at
    if outcome.test:
        attributes["test"] = _finite(outcome.test)
    if outcome.costs:
        attributes[COSTS] = dict(outcome.costs)
    set_user_attributes(trial, attributes)
    constraints = {**excesses(limits, outcome.costs), FAILED: 1.0 if outcome.state == "failed" else -1.0}
    for name in constraints.keys() - stored.constraints.keys():  # an earlier attempt to tell may have come this far
        trial.set_constraint(name, constraints[name])
    is_repelling = kind == "sweep" and outcome.state == "failed"
    state = TrialState.PRUNED if is_repelling else OPTUNA_STATE[outcome.state]
    study.tell(trial, outcome.value if outcome.state == "complete" else None, state=state)


def standing(study: optuna.Study, trials: int, stop_after: int | None = None) -> Standing:
    """The standing of a sweep of so many trials, from its storage."""
    return standing_of(
        all_trials(study),
        trials,
        direction_of(study),
        stop_after=stop_after,
        full_length=study.user_attrs.get(LADDER),
    )


def standing_of(
    stored: Sequence[FrozenTrial],
    trials: int,
    direction: Direction,
    *,
    stop_after: int | None = None,
    full_length: int | None = None,
) -> Standing:
    """The standing of a sweep of so many trials that has these. Asks no storage.

    Of a ladder, whose trials have `full_length` epochs, `done` counts full-length trials: the epochs of all, over those
    of one.
    """
    finished = [trial for trial in stored if trial.state.is_finished()]
    counts = Counter(state_of(trial) for trial in finished)
    best = best_of(finished, direction)
    done = len(finished) if full_length is None else climbed(stored, full_length, trials)
    return Standing(
        done=done,
        trials=trials,
        complete=counts["complete"],
        pruned=counts["pruned"],
        failed=counts["failed"],
        best=best.value if best else None,
        best_number=best.number if best else None,
        unfinished=len(stored) - len(finished),
        fruitless=fruitless(stored, direction, full_length),
        stop_after=stop_after,
        is_ladder=full_length is not None,
    )


def best_of(trials: Iterable[FrozenTrial], direction: Direction) -> FrozenTrial | None:
    """The completed trial with the best value, the first of equal ones; None where none is complete."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return direction.best(complete, key=value_of) if complete else None


def fruitless(trials: Sequence[FrozenTrial], direction: Direction, full_length: int | None = None) -> int:
    """How many trials after the best one, by their numbers, were complete or pruned; 0 where none is complete.

    Of a ladder, whose trials have `full_length` epochs: how many full-length trials those stand for.
    """
    best = best_of(trials, direction)
    if best is None:
        return 0
    if full_length is not None:
        later = [trial for trial in trials if trial.number > best.number and state_of(trial) != "failed"]
        return sum(map(spent, later)) // full_length
    return sum(trial.number > best.number and state_of(trial) in ("complete", "pruned") for trial in trials)


def direction_of(study: optuna.Study) -> Direction:
    """The direction of an Optuna study."""
    return Direction(study.direction.name.lower())


def goals_of(study: optuna.Study) -> tuple[str, ...]:
    """The goals of a sweep that has several, by its identity."""
    goals: str = study.user_attrs.get("identity", {}).get("goals", "")
    return tuple(goals.split(", ")) if goals else ()


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: no NaN or infinity reaches Optuna, and JSON has none."""
    return {name: score for name, score in scores.items() if math.isfinite(score)}
