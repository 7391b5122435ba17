"""From the trials of a sweep to what a reader of the report is shown of them. Reads only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo.contract.several_goals import COSTS
from hpo.direction import Direction, front
from hpo.formatting import finite
from hpo.page.audit import Audit
from hpo.page.findings import Improvement, Sweep, Trial
from hpo.page.importance import importances
from hpo.page.observed import study_separation
from hpo.space import When
from hpo.storage.reading import all_trials
from hpo.study import StudySpec
from hpo.trial.adoption import Adoption
from hpo.trial.attempts import FAILED_BEFORE
from hpo.trial.foreign import curve_of, plain_params, reason_of, seconds_of, value_of
from hpo.trial.lifecycle import standing, state_of
from hpo.trial.record import SPARED_AT

GOOD = 0.25  # of the completed trials, in the audit of the pruner: the best ones


def collect_sweep(study: StudySpec, stored: optuna.Study, adoption: Adoption | None = None) -> Sweep:
    """What a sweep came to, so far; the study is only read."""
    direction = study.direction
    read = partial(foreign_trial, direction=direction) if adoption else trial_from
    trials = _sweep_trials(study, [read(frozen) for frozen in all_trials(stored)])
    steps = improvements(trials, direction)
    starts = [trial.began for trial in trials if trial.began]
    ends = [trial.ended for trial in trials if trial.ended]
    conditional = {name for name, entry in study.space.items() if isinstance(entry, When)}
    best_number = steps[-1].number if steps else None
    planned = stored.user_attrs.get("trials", study.trials)
    now = standing(stored, planned, stored.user_attrs.get("stop_after"))
    return Sweep(
        trials=trials,
        direction=direction,
        planned=planned,
        epochs_each=max(trial.epochs for trial in trials) if adoption and trials else study.cheap.epochs,
        counts=Counter(trial.state for trial in trials),
        best=next((trial for trial in trials if trial.number == best_number), None),
        default=next((trial for trial in trials if trial.is_default), None),
        improvements=steps,
        seconds=sum(trial.seconds or 0.0 for trial in trials),
        wall_seconds=(max(ends) - min(starts)).total_seconds() if starts and ends else None,
        separation=study_separation(study, trials),
        importances=importances(stored, list(study.space), conditional),
        origin=adoption.sentence if adoption else "",
        audit=None if adoption else _audit(trials, direction),
        front=_front(study, trials),
        end="" if adoption else now.end,
        full_length=now.done if now.is_ladder else None,
    )


def _front(study: StudySpec, trials: Sequence[Trial]) -> tuple[int, ...]:
    """The numbers of the completed trials that no other one dominates; none where the study has one goal."""
    if not study.goals:
        return ()
    complete = [trial for trial in trials if trial.state == "complete" and trial.costs]
    return tuple(trial.number for trial in front(complete, key=lambda trial: study.point(trial.score, trial.costs)))


def _sweep_trials(study: StudySpec, trials: list[Trial]) -> tuple[Trial, ...]:
    """All trials, the first one that has the default configuration marked."""
    defaults = study.defaults()
    for index, trial in enumerate(trials):
        if trial.params == defaults and trial.state != "waiting":
            trials[index] = replace(trial, is_default=True)
            break
    return tuple(trials)


def trial_from(frozen: FrozenTrial) -> Trial:
    """A trial of Optuna's with what a reader of the report is shown. Numbers that are not finite are left out."""
    state = state_of(frozen)
    curve = {epoch: value for epoch, value in sorted(frozen.intermediate_values.items()) if finite(value) is not None}
    last = list(curve.values())[-1] if curve else None
    attributes = frozen.user_attrs
    return Trial(
        number=frozen.number,
        state=state,
        value=finite(frozen.value) if state == "complete" else last,
        params=dict(frozen.params),
        curve=curve,
        epochs=attributes.get("epochs", len(curve)),
        best_epoch=attributes.get("best_epoch"),
        seconds=finite(attributes.get("seconds")),
        began=frozen.datetime_start,
        ended=frozen.datetime_complete,
        reason="; ".join(_reasons(attributes)),
        spared_at=attributes.get(SPARED_AT),
        costs=attributes.get(COSTS, {}),
    )


def _reasons(attributes: Mapping[str, Any]) -> Iterator[str]:
    """Why a trial was pruned or failed, and why earlier attempts at it had."""
    if attributes.get("reason"):
        yield attributes["reason"]
    for reason in attributes.get(FAILED_BEFORE, ()):
        yield f"failed before: {reason}"


def foreign_trial(frozen: FrozenTrial, direction: Direction) -> Trial:
    """The same of a trial that hpo did not run: its curve is what it reported, and its epochs are its reports."""
    curve = curve_of(frozen)
    return Trial(
        number=frozen.number,
        state=state_of(frozen),
        value=value_of(frozen, direction),
        params=plain_params(frozen),
        curve=curve,
        epochs=len(curve),
        best_epoch=None,
        seconds=seconds_of(frozen),
        began=frozen.datetime_start,
        ended=frozen.datetime_complete,
        reason=reason_of(frozen),
    )


def improvements(trials: Sequence[Trial], direction: Direction) -> tuple[Improvement, ...]:
    """The trials that were the best so far when they were completed, in the order of their numbers."""
    steps: list[Improvement] = []
    for trial in trials:
        if trial.state != "complete" or trial.value is None:
            continue
        if not steps or direction.better(trial.value, steps[-1].value):
            steps.append(Improvement(trial.number, trial.value))
    return tuple(steps)


def _audit(trials: Sequence[Trial], direction: Direction) -> Audit | None:
    """The audit of the pruner: among completed trials, the best quarter begins at the value of its last one."""
    ended = [trial for trial in trials if trial.state not in ("running", "paused", "waiting")]
    spared = [trial for trial in ended if trial.spared_at is not None]
    if not spared and not any(trial.state == "pruned" for trial in trials):
        return None
    values = [trial.value for trial in trials if trial.state == "complete" and trial.value is not None]
    good = direction.ranked(values)[: math.ceil(GOOD * len(values))]
    reached = [trial for trial in spared if trial.state == "complete" and trial.value in good]
    return Audit(len(spared), len(reached))
