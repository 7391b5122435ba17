"""The storage, made again from what the trials' folders say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import optuna
from optuna.trial import TrialState

from hpo.errors import Refused
from hpo.space import distribution_of
from hpo.storage.database import open_storage
from hpo.storage.folder import SQLITE, Kind, RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.optuna_private import add_running_trial
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial.lifecycle import conclude
from hpo.trial.record import Asked, Outcome, read_asked, read_outcome


def rebuild(study: StudySpec, folder: RunFolder, identity: dict[str, str]) -> int:
    """Make the storage anew; returns the number of trials in it.

    Finished trials get what their result.json says; the others go on in the next sweep or promotion. An SQLite file
    that is there is kept beside the new one. Raises Refused where trials were asked by another study.
    """
    with study_lock(folder):
        url = folder.storage
        if not folder.numbers("sweep"):
            raise Refused(f"there are no trials in {folder.path / 'sweep'} to rebuild a storage from")
        asked = {kind: _asked(folder, kind) for kind in get_args(Kind)}
        _check_identity(asked["sweep"], identity)
        beside = folder.database.with_name("study.db.rebuilt")
        if url.startswith(SQLITE):
            url = f"{SQLITE}{beside}"

        def make() -> None:
            beside.unlink(missing_ok=True)
            storage = open_storage(url, create=True)
            names: dict[Kind, str] = {"sweep": study.name, "promotion": f"{study.name}.promotion"}
            for kind, name in names.items():
                _delete(storage, name)
                if asked[kind]:
                    _restore(
                        optuna.create_study(study_name=name, storage=storage, direction=study.task.direction),
                        study,
                        folder,
                        kind,
                        asked[kind],
                    )

        retry_storage(make)
        if url != folder.storage:
            _exchange(folder.database, beside)
    return sum(len(numbers) for numbers in asked.values())


def _asked(folder: RunFolder, kind: Kind) -> list[Asked | None]:
    """By number; None where it is not known: the trial had not begun."""
    numbers = folder.numbers(kind)
    return [read_asked(folder.trial(kind, number)) for number in range(max(numbers, default=-1) + 1)]


def _check_identity(asked: list[Asked | None], identity: dict[str, str]) -> None:
    for one in filter(None, asked):
        differing = sorted(key for key in identity if one.identity.get(key) != identity[key])
        if differing:
            raise Refused(
                f"trial {one.number} was asked with another {', '.join(differing)}; undo that change first, "
                f"the trials cannot be compared otherwise"
            )


def _restore(to: optuna.Study, study: StudySpec, folder: RunFolder, kind: Kind, asked: list[Asked | None]) -> None:
    to.set_user_attr("identity", dict(next(one.identity for one in asked if one)))
    for number, one in enumerate(asked):
        outcome = read_outcome(folder.trial(kind, number)) if one else None
        frozen = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=dict(one.params) if one else {},
            distributions={name: distribution_of(study.space[name]) for name in one.params} if one else {},
            user_attrs=dict(one.attributes) if one else {"key": "lost", "seed": -1} if kind == "promotion" else {},
            system_attrs={"fixed_params": study.defaults()} if number == 0 and kind == "sweep" else {},
            intermediate_values=_reported(outcome, study.cheap.epochs if kind == "sweep" else study.full.epochs),
        )
        trial = add_running_trial(to, frozen)
        if outcome:
            conclude(to, trial, outcome)


def _reported(outcome: Outcome | None, epochs: int) -> dict[int, float]:
    """What the trial reported: each epoch's best so far, and after an early stop the last one carried forward."""
    values = {epoch.epoch: epoch.best for epoch in outcome.history} if outcome else {}
    if outcome and outcome.state == "complete":
        values.update({epoch: outcome.history[-1].best for epoch in range(len(values), epochs)})
    return values


def _delete(storage: optuna.storages.BaseStorage, name: str) -> None:
    if name in {study.study_name for study in storage.get_all_studies()}:
        optuna.delete_study(study_name=name, storage=storage)


def _exchange(database: Path, new: Path) -> None:
    """Put the new file in its place. A left journal belongs to the old one and goes with it."""
    aside = f"study.db.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    for ending in ("-journal", ""):
        old = database.with_name(database.name + ending)
        if old.exists():
            old.rename(database.with_name(aside + ending))
    new.rename(database)
