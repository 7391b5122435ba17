"""The storage, made again from what the trials' folders say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import optuna
from optuna.trial import TrialState

from hpo.errors import Refused
from hpo.space import distribution_of
from hpo.storage.database import open_storage
from hpo.storage.folder import SQLITE, Kind, RunFolder, promotion_name
from hpo.storage.identity import RECORDED, differing_parts
from hpo.storage.locks import study_lock
from hpo.storage.optuna_private import add_running_trial
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial.carry import fit_params
from hpo.trial.changes import Change, move_aside, read_changes
from hpo.trial.lifecycle import conclude
from hpo.trial.record import Asked, Outcome, read_asked, read_outcome


def rebuild(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> int:
    """Rebuild the storage; return the number of trials in it.

    Finished trials get what their result.json says; the others go on in the next sweep or promotion. An SQLite file
    that is there is kept beside the new one. Raises Refused where trials were asked by another study.
    """
    with study_lock(folder):
        if not folder.numbers("sweep"):
            raise Refused(f"there are no trials in {folder.path / 'sweep'} to rebuild a storage from")
        move_aside(folder)
        trials: dict[Kind, list[_TrialFolder]] = {kind: _read(folder, kind) for kind in get_args(Kind)}
        _require_same_question(trials["sweep"], identity, read_changes(folder))
        if folder.storage.startswith(SQLITE):
            beside = folder.database.with_name("study.db.rebuilt")
            retry_storage(lambda: _make(f"{SQLITE}{beside}", study, folder, identity, trials, beside))
            _exchange(folder.database, beside)
        else:
            retry_storage(lambda: _make(folder.storage, study, folder, identity, trials))
    return sum(len(folders) for folders in trials.values())


def make_generation(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> None:
    """Make the newest generation of a study in its storage, beside the earlier ones. Hold the study's lock."""
    trials: dict[Kind, list[_TrialFolder]] = {kind: _read(folder, kind) for kind in get_args(Kind)}
    _require_same_question(trials["sweep"], identity, read_changes(folder))
    retry_storage(lambda: _make(folder.storage, study, folder, identity, trials))


@dataclass(frozen=True)
class _TrialFolder:
    """What a trial's folder says. `asked` is None where the trial had not begun."""

    number: int
    asked: Asked | None
    outcome: Outcome | None


def _read(folder: RunFolder, kind: Kind) -> list[_TrialFolder]:
    """The trials by number, without a gap."""
    count = max(folder.numbers(kind), default=-1) + 1
    return [_read_trial(number, folder.trial(kind, number)) for number in range(count)]


def _read_trial(number: int, path: Path) -> _TrialFolder:
    asked = read_asked(path)
    return _TrialFolder(number, asked, read_outcome(path) if asked else None)


def _require_same_question(
    trials: Sequence[_TrialFolder], identity: Mapping[str, str], changes: Sequence[Change]
) -> None:
    """Raise Refused where a trial was asked another question, unless that change was accepted."""
    if changes and differing_parts(changes[-1].now, identity):
        parts = ", ".join(differing_parts(changes[-1].now, identity))
        raise Refused(f"the study has another {parts} than the trials that were accepted; undo that change first")
    for trial in trials:
        if trial.asked is None:
            continue
        before = trial.asked.identity
        differing = [
            part
            for part in differing_parts({part: before.get(part, "") for part in identity}, identity)
            if not any(before.get(part) == change.before.get(part) and part in change.parts for change in changes)
        ]
        if differing:
            raise Refused(
                f"trial {trial.number} was asked with another {', '.join(differing)}; undo that change first, "
                f"the trials cannot be compared otherwise"
            )


def _make(
    url: str,
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    trials: Mapping[Kind, Sequence[_TrialFolder]],
    unfinished: Path | None = None,
) -> None:
    """Make the storage, or make it again after an attempt that failed."""
    if unfinished:
        unfinished.unlink(missing_ok=True)
    storage = open_storage(url, create=True)
    names: dict[Kind, str] = {
        "sweep": folder.name_of(study.name),
        "promotion": folder.name_of(promotion_name(study.name)),
    }
    for kind, name in names.items():
        if name in {stored.study_name for stored in storage.get_all_studies()}:
            optuna.delete_study(study_name=name, storage=storage)
        if trials[kind] or (kind == "sweep" and folder.generation > 1):
            target = optuna.create_study(study_name=name, storage=storage, direction=study.direction.value)
            target.set_user_attr("identity", _identity(identity, kind, trials[kind]))
            _restore(target, study, kind, trials[kind])
            target.set_user_attr("generation", folder.generation)  # at the end: now the whole of it is there


def _identity(identity: Mapping[str, str], kind: Kind, trials: Sequence[_TrialFolder]) -> dict[str, str]:
    """The identity of the study, with the packages that it began with. A promotion has one of its own."""
    asked = [trial.asked.identity for trial in trials if trial.asked]
    if not asked:
        return dict(identity)
    if kind == "promotion":
        return dict(asked[0])
    return {**identity, **{part: asked[0][part] for part in RECORDED if part in asked[0]}}


def _restore(target: optuna.Study, study: StudySpec, kind: Kind, trials: Sequence[_TrialFolder]) -> None:
    epochs = study.cheap.epochs if kind == "sweep" else study.full.epochs
    for trial in trials:
        params = fit_params(study, trial.asked.params) if trial.asked else {}
        is_first = trial.number == 0 and kind == "sweep"
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={name: distribution_of(study.space[name]) for name in params},
            user_attrs=_attributes(trial, kind),
            system_attrs={"fixed_params": study.defaults()} if is_first else {},
            intermediate_values=_reports(trial.outcome, epochs),
        )
        restored = add_running_trial(target, template)
        if trial.outcome:
            conclude(target, restored, trial.outcome)


def _attributes(trial: _TrialFolder, kind: Kind) -> dict[str, Any]:
    if trial.asked:
        return dict(trial.asked.attributes)
    return {"key": "lost", "seed": -1} if kind == "promotion" else {}  # a run of no candidate


def _reports(outcome: Outcome | None, epochs: int) -> dict[int, float]:
    """What the trial reported: each epoch's best so far, and after an early stop the last one carried forward."""
    if outcome is None:
        return {}
    values = {epoch.epoch: epoch.best for epoch in outcome.history}
    if outcome.state == "complete":
        values.update({epoch: outcome.history[-1].best for epoch in range(len(values), epochs)})
    return values


def _exchange(database: Path, new: Path) -> None:
    """Put the new file in its place. A left journal belongs to the old one and goes with it."""
    aside = f"study.db.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    for ending in ("-journal", ""):
        old = database.with_name(database.name + ending)
        if old.exists():
            old.rename(database.with_name(aside + ending))
    new.rename(database)
