"""Optuna studies, made again from what the trials' folders say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from hpo.space import distribution_of
from hpo.storage.database import name_metric
from hpo.storage.folder import Kind, RunFolder
from hpo.storage.identity import RECORDED
from hpo.storage.optuna_private import add_running_trial
from hpo.storage.owner import set_owner
from hpo.study import StudySpec
from hpo.trial.adoption import is_adopted, restored_trial
from hpo.trial.attempts import FAILED_BEFORE, failed_before
from hpo.trial.carry import fit_params
from hpo.trial.foreign import ADOPTED
from hpo.trial.lifecycle import conclude
from hpo.trial.pausing import LADDER, pause
from hpo.trial.record import Asked, Outcome, read_asked, read_outcome, read_pause
from hpo.trial.warm import first_configurations


@dataclass(frozen=True)
class TrialFolder:
    """What a trial's folder says. `asked` is None where the trial had not begun."""

    number: int
    asked: Asked | None
    outcome: Outcome | None
    paused: Outcome | None = None  # how far it had come when it paused last
    failed_before: tuple[str, ...] = ()  # why earlier attempts failed


def read_folders(folder: RunFolder, kind: Kind) -> list[TrialFolder]:
    """The trials by number, without a gap."""
    last = max(folder.numbers(kind), default=-1)
    return [_read(number, folder.trial(kind, number)) for number in range(last + 1)]


def _read(number: int, path: Path) -> TrialFolder:
    asked = read_asked(path)
    outcome, paused = (read_outcome(path), read_pause(path)) if asked else (None, None)
    return TrialFolder(number, asked, outcome, paused, tuple(failed_before(path)))


def make_study(
    storage: BaseStorage,
    name: str,
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    kind: Kind,
    trials: Sequence[TrialFolder],
    owner: str,
) -> None:
    """Make an Optuna study of a kind of trials, or make it again after an attempt that failed.

    `owner` is the id of the folder. Of no trials none is made, unless it is a sweep that goes on after a change.
    """
    if name in {stored.study_name for stored in storage.get_all_studies()}:
        optuna.delete_study(study_name=name, storage=storage)
    if trials or (kind == "sweep" and folder.generation > 1):
        target = optuna.create_study(study_name=name, storage=storage, direction=study.direction.value)
        set_owner(target, folder, owner)
        known = _identity(identity, kind, trials)
        target.set_user_attr("identity", known)
        if kind == "sweep" and study.is_ladder:
            target.set_user_attr(LADDER, study.cheap.epochs)
        name_metric(target, known.get("goal", study.task.goal))
        _restore(target, study, kind, trials, first_configurations(study, folder) if kind == "sweep" else {})
        target.set_user_attr("generation", folder.generation)  # at the end: now the whole of it is there


def _identity(identity: Mapping[str, str], kind: Kind, trials: Sequence[TrialFolder]) -> dict[str, str]:
    """The identity of the study, with the packages that it began with. A promotion has one of its own."""
    asked = [trial.asked.identity for trial in trials if trial.asked]
    if not asked:
        return dict(identity)
    if kind == "promotion" or ADOPTED in asked[0]:
        return dict(asked[0])
    return {**identity, **{part: asked[0][part] for part in RECORDED if part in asked[0]}}


def _restore(
    target: optuna.Study,
    study: StudySpec,
    kind: Kind,
    trials: Sequence[TrialFolder],
    firsts: Mapping[int, Mapping[str, Any]],
) -> None:
    epochs = study.cheap.epochs if kind == "sweep" else study.full.epochs
    for trial in trials:
        if trial.asked and trial.outcome and is_adopted(trial.asked):
            target.add_trial(restored_trial(trial.asked, trial.outcome))
            continue
        params = fit_params(study, trial.asked.params) if trial.asked else {}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={name: distribution_of(study.space[name]) for name in params},
            user_attrs=_attributes(trial, kind),
            system_attrs={"fixed_params": dict(firsts[trial.number])} if trial.number in firsts else {},
            intermediate_values=_reports(trial.outcome, epochs),
        )
        restored = add_running_trial(target, template)
        if trial.paused:
            pause(restored, trial.paused)
        if trial.outcome:
            conclude(target, restored, trial.outcome, kind, study.limits)


def _attributes(trial: TrialFolder, kind: Kind) -> dict[str, Any]:
    if trial.asked:
        earlier = {FAILED_BEFORE: list(trial.failed_before)} if trial.failed_before else {}
        return {**trial.asked.attributes, **earlier}
    return {"key": "lost", "seed": -1} if kind == "promotion" else {}  # a run of no candidate


def _reports(outcome: Outcome | None, epochs: int) -> dict[int, float]:
    """What the trial reported: each epoch's best so far, and after an early stop the last one carried forward."""
    if outcome is None:
        return {}
    values = {epoch.epoch: epoch.best for epoch in outcome.history}
    if outcome.state == "complete":
        values.update({epoch: outcome.history[-1].best for epoch in range(len(values), epochs)})
    return values
