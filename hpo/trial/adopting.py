"""From the trials of somebody else's study to those of an adopted one, under our names and inside our space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from hpo.direction import Direction
from hpo.epoch import Epoch
from hpo.errors import Refused
from hpo.plain import nearest
from hpo.space import Choice, Distribution, Space, When, contains, describe, distribution_of
from hpo.study import StudySpec
from hpo.task import StateName
from hpo.trial.adoption import Adoption
from hpo.trial.foreign import ADOPTED, curve_of, plain_params, reason_of, seconds_of, value_of
from hpo.trial.lifecycle import state_of
from hpo.trial.record import Asked, Outcome, State

SHOWN = 20  # trials that are named in an error
_ABSENT = object()  # differs from every value that a hyperparameter can have
_ENDED: dict[StateName, State] = {"complete": "complete", "pruned": "pruned"}
_UNENDED = {
    TrialState.RUNNING: "it had not ended when the study was adopted",
    TrialState.WAITING: "it had not begun when the study was adopted",
}


class Misfit(ValueError):
    """A trial's parameters do not fit a space. The message says which, and what is allowed."""


@dataclass(frozen=True)
class AdoptedTrial:
    """What is written into a trial's folder. `misfit` says why a trial is set aside; empty: it fits."""

    asked: Asked
    outcome: Outcome
    misfit: str = ""


def names_of(theirs: Sequence[str], renamed: Mapping[str, str], space: Space | None) -> dict[str, str]:
    """Our name for each of their parameters, or "" for one that is set aside.

    Raises Refused where a name stands for none of theirs, where two of theirs would become one, and, given a space,
    where a parameter is not in it, or one of the space was not searched by them.
    """
    for name in renamed:
        if name not in theirs:
            raise Refused(f"--map {name}=...: the study has no parameter {name!r}{nearest(name, list(theirs))}")
    names = {name: renamed.get(name, name) for name in theirs}
    kept = [ours for ours in names.values() if ours]
    twice = sorted({ours for ours in kept if kept.count(ours) > 1})
    if twice:
        raise Refused(f"--map: two of their parameters would be called {twice[0]!r}")
    if space is not None:
        _require_in_space(names, space)
    return names


def _require_in_space(names: Mapping[str, str], space: Space) -> None:
    unknown = {theirs: ours for theirs, ours in names.items() if ours and ours not in space}
    lacking = [name for name in space if name not in names.values()]
    lines = [f"{theirs!r} is not in the space of the task{_hint(theirs, space)}" for theirs in unknown]
    lines += [f"{name!r} of the space was not searched by them: take it out of the study file" for name in lacking]
    if lines:
        raise Refused("the study cannot be promoted by this task as it stands:\n  " + "\n  ".join(lines))


def _hint(theirs: str, space: Space) -> str:
    alike = [name for name in space if name.rpartition(".")[2] == theirs.rpartition(".")[2]]
    aside = f"to leave it out of what is promoted: --map {theirs}="
    return f"; perhaps --map {theirs}={alike[0]}; {aside}" if alike else f" ({', '.join(space)}); {aside}"


def fitted(params: Mapping[str, Choice], space: Space, *, is_whole: bool) -> dict[str, Choice]:
    """The parameters as a trial of the space has them. Raises Misfit.

    A parameter whose condition does not hold is left out. `is_whole`: none that is searched may be missing.
    """
    values: dict[str, Choice] = {}
    for name, entry in space.items():
        if isinstance(entry, When) and values.get(entry.parent, _ABSENT) != entry.value:
            continue
        if name in params:
            values[name] = _drawn(name, params[name], distribution_of(entry))
        elif is_whole:
            raise Misfit(f"it has no value of {name}")
    return values


def _drawn(name: str, value: Choice, distribution: Distribution) -> Choice:
    if isinstance(distribution, FloatDistribution) and type(value) is int:
        value = float(value)
    if not contains(distribution, value):
        raise Misfit(f"{name} = {value!r} is not in {describe(distribution)}")
    return value


def require_fit(adoption: Adoption, trials: Sequence[FrozenTrial], study: StudySpec) -> None:
    """Raise Refused where the study file has changed since the adoption, so that completed trials do not fit it."""
    if study.direction is not adoption.direction:
        raise Refused(f"study {study.name!r} was adopted to {adoption.direction} its goal, and the task does not")
    for trial in trials:
        if trial.state is TrialState.COMPLETE:
            try:
                fits = fitted(trial.params, study.space, is_whole=True) == trial.params
            except Misfit as error:
                raise Refused(f"trial {trial.number} does not fit the space of the study file: {error}") from None
            if not fits:
                raise Refused(f"trial {trial.number} has parameters that the space of the study file does not have")


def adopted_trial(
    trial: FrozenTrial,
    direction: Direction,
    names: Mapping[str, str],
    distributions: Mapping[str, Distribution],
    space: Space | None,
    identity: Mapping[str, str],
) -> AdoptedTrial:
    """A trial under our names. One that does not fit the space is kept without parameters, as failed, and says why."""
    theirs = plain_params(trial)
    params = {names[name]: value for name, value in theirs.items() if names[name]}
    state, reason = _state(trial, direction)
    misfit = ""
    if space is not None:
        try:
            params = fitted(params, space, is_whole=state != "failed")
        except Misfit as error:
            misfit = str(error)
            params, state, reason = {}, "failed", f"set aside: {misfit}"
    ours = {theirs_: ours_ for theirs_, ours_ in names.items() if ours_ in params}
    now = datetime.now(UTC).replace(tzinfo=None)
    began = trial.datetime_start or trial.datetime_complete or now
    record = {
        "state": trial.state.name,
        "began": began.isoformat(),
        "ended": (trial.datetime_complete or began).isoformat(),
        "attributes": dict(trial.user_attrs),
        "set_aside": {name: value for name, value in theirs.items() if name not in ours},
        "distributions": {name: distribution_to_json(distributions[name]) for name in params},
    }
    asked = Asked(trial.number, params, {ADOPTED: record}, dict(identity))
    return AdoptedTrial(asked, _outcome(trial, state, reason, direction), misfit)


def _state(trial: FrozenTrial, direction: Direction) -> tuple[State, str]:
    """The state that the trial has here, and the reason for it."""
    if trial.state is TrialState.COMPLETE and value_of(trial, direction) is None:
        return "failed", f"its value is {trial.value}"
    if state_of(trial) == "paused":  # in a study of hpo's own
        return "pruned", "it was paused when the study was adopted"
    return _ENDED.get(state_of(trial), "failed"), _UNENDED.get(trial.state, reason_of(trial))


def _outcome(trial: FrozenTrial, state: State, reason: str, direction: Direction) -> Outcome:
    history = _history(trial, direction)
    best = direction.best(curve_of(trial).values()) if curve_of(trial) else None
    return Outcome(
        state,
        value=trial.value if state == "complete" else best,
        epochs=len(history),
        best_epoch=history[-1].best_epoch if history else 0,
        seconds=seconds_of(trial) or 0.0,
        history=history,
        reason=reason,
    )


def _history(trial: FrozenTrial, direction: Direction) -> tuple[Epoch, ...]:
    """What the trial reported, an epoch a report: their step and their value, and the best value so far. Of the
    training itself nothing is known."""
    history: list[Epoch] = []
    best, best_epoch = math.nan, 0
    for index, (step, reported) in enumerate(sorted(trial.intermediate_values.items())):
        value = math.nan if reported is None else float(reported)
        if math.isfinite(value) and (math.isnan(best) or direction.better(value, best)):
            best, best_epoch = value, index
        history.append(_epoch(step, value, best, best_epoch))
    return tuple(history)


def _epoch(step: int, value: float, best: float, best_epoch: int) -> Epoch:
    nothing: dict[str, Any] = {}
    return Epoch(
        epoch=step,
        loss=math.nan,
        terms=nothing,
        scores=nothing,
        value=value,
        best=best,
        best_epoch=best_epoch,
        batches=0,
        steps_taken=0,
        steps_skipped=0,
        nonfinite=nothing,
        grad_norm=math.nan,
        lr=nothing,
        seconds=0.0,
        stopped=False,
    )
