"""What is used of Optuna beside its public interface. Read in Optuna 5.0.0; tests/test_private.py says when it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb.models import StudyModel, TrialModel, TrialUserAttributeModel
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import BaseTrial, FrozenTrial, TrialState

ENDED = [state for state in TrialState if state.is_finished()]


def trial_id(trial: BaseTrial) -> int:
    """The storage's own number of a trial, which a worker needs to find it again."""
    return int(trial._trial_id)  # type: ignore[attr-defined]  # noqa: SLF001


def storage_of(study: optuna.Study) -> BaseStorage:
    """The storage that a study was opened in."""
    return study._storage  # noqa: SLF001


def ended_numbers(storage: BaseStorage, study_name: str) -> list[int]:
    """The numbers of a study's trials that have ended. Optuna itself reads all that is known of each."""
    backend = storage._backend  # type: ignore[attr-defined]  # noqa: SLF001
    with _create_scoped_session(backend.scoped_session) as session:
        numbers = (
            session.query(TrialModel.number)
            .join(StudyModel, StudyModel.study_id == TrialModel.study_id)
            .filter(StudyModel.study_name == study_name, TrialModel.state.in_(ENDED))
        )
        return [number for (number,) in numbers]


def live_trial(study: optuna.Study, trial_id: int) -> optuna.Trial:
    """A trial that was begun, to go on with: its constructor is not meant for users."""
    return optuna.trial.Trial(study, trial_id)


def fix_params(study: optuna.Study, trial: FrozenTrial, params: Mapping[str, Any]) -> None:
    """Let a trial that has drawn nothing yet draw these values. Optuna offers that for trials alone that wait."""
    study._storage.set_trial_system_attr(trial_id(trial), "fixed_params", dict(params))  # noqa: SLF001


def add_running_trial(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Add a trial that is running: `study.add_trial` takes finished ones alone to conclude later."""
    return live_trial(study, study._storage.create_new_trial(study._study_id, template_trial=trial))  # noqa: SLF001


def set_user_attributes(trial: optuna.Trial, attributes: Mapping[str, Any]) -> None:
    """Set these user attributes of a trial, all of them or none. Optuna itself commits each one alone."""
    backend = getattr(trial.storage, "_backend", None)
    if not isinstance(backend, RDBStorage):
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
        return
    with _create_scoped_session(backend.scoped_session, True) as session:
        for key, value in attributes.items():
            backend._set_trial_attr_without_commit(  # noqa: SLF001
                session, TrialUserAttributeModel, trial_id(trial), key, value
            )
    trial._cached_frozen_trial.user_attrs.update(attributes)  # noqa: SLF001


def rename_studies(storage: BaseStorage, names: Mapping[str, str]) -> None:
    """Give studies of a database other names, in this order, all of them or none. Optuna itself can only copy."""
    rename = sqlalchemy.text("UPDATE studies SET study_name = :new WHERE study_name = :old")
    engine = storage._backend.engine  # type: ignore[attr-defined]  # noqa: SLF001
    with engine.begin() as connection:
        for old, new in names.items():
            connection.execute(rename, {"old": old, "new": new})
