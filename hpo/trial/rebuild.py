"""The storage, made again from what the trials' folders say. Nothing that it held is deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, get_args

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from hpo.errors import Refused
from hpo.formatting import count
from hpo.retrying import retry
from hpo.storage.database import open_storage, stored_study
from hpo.storage.folder import SQLITE, Kind, RunFolder, promotion_name
from hpo.storage.identity import differing_parts
from hpo.storage.locks import study_lock
from hpo.storage.optuna_private import rename_studies
from hpo.storage.transient import is_transient, retry_storage
from hpo.study import StudySpec
from hpo.trial.adoption import Adoption, is_adopted, make_storage
from hpo.trial.attempts import is_to_be_retried
from hpo.trial.changes import Change, move_aside, read_changes
from hpo.trial.lifecycle import state_of
from hpo.trial.restore import TrialFolder, make_study, read_folders

BUDGET = frozenset({"trials", "stop_after"})  # user attributes of a sweep that say what was asked of it
SHOWN = 20  # of the trials that would be lost
# What Optuna and its database raise for rows that are wrong: an unknown state, a missing value, another version.
UNREADABLE = (
    StorageInternalError,
    sqlalchemy.exc.SQLAlchemyError,
    LookupError,
    ValueError,
    TypeError,
    AssertionError,
    RuntimeError,
)


@dataclass(frozen=True)
class Rebuilt:
    """A storage that was made anew."""

    trials: int
    storage: str  # its URL
    kept: tuple[str, ...] = ()  # what was there before: the name of an SQLite file, or the names of Optuna studies


Trials: TypeAlias = Mapping[Kind, Sequence[TrialFolder]]


def rebuild(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], *, force: bool = False) -> Rebuilt:
    """Rebuild the storage from the trials' folders.

    Finished trials get what their result.json says; the others go on in the next sweep or promotion. What the storage
    held is kept: an SQLite file beside the new one, Optuna studies in another storage under another name.

    Raises Refused where `require_rebuildable` does.
    """
    with study_lock(folder):
        require_rebuildable(study, folder, identity, force=force)
        move_aside(folder)
        trials: Trials = {kind: read_folders(folder, kind) for kind in get_args(Kind)}
        if folder.storage.startswith(SQLITE):
            kept = _rebuild_file(study, folder, identity, trials)
        else:
            kept = _rebuild_elsewhere(study, folder, identity, trials)
    return Rebuilt(sum(len(folders) for folders in trials.values()), folder.storage, kept)


def rebuild_adopted(folder: RunFolder, adoption: Adoption) -> Rebuilt:
    """Rebuild the storage of a study that was adopted without a task. What it held is kept beside the new one."""
    beside = folder.database.with_name("study.db.rebuilt")

    def make() -> None:
        beside.unlink(missing_ok=True)  # of an attempt that failed
        make_storage(folder, adoption, beside)

    with study_lock(folder):
        retry_storage(make)
        return Rebuilt(adoption.trials, folder.storage, _exchange(folder.database, beside))


def make_generation(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> None:
    """Make the newest generation of a study in its storage, beside the earlier ones. Hold the study's lock.

    Raises Refused where a trial was asked another question that was not accepted.
    """
    trials: Trials = {kind: read_folders(folder, kind) for kind in get_args(Kind)}
    _require_same_question(trials["sweep"], identity, read_changes(folder))
    _rebuild_elsewhere(study, folder, identity, trials)


def remake_sweep(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> None:
    """Make the sweep again in its storage, beside what it was there. Hold the study's lock.

    Raises Refused where a trial was asked another question that was not accepted.
    """
    trials: Trials = {"sweep": read_folders(folder, "sweep")}
    _require_same_question(trials["sweep"], identity, read_changes(folder))
    _rebuild_elsewhere(study, folder, identity, trials)


def require_rebuildable(
    study: StudySpec, folder: RunFolder, identity: Mapping[str, str], *, force: bool = False
) -> None:
    """Raise Refused where there are no trials, or where another study asked for them. Writes nothing.

    Unless `force` is set, raise Refused also where the storage knows finished trials that the folders lack: they may be
    an older copy.
    """
    if not folder.numbers("sweep"):
        raise Refused(f"there are no trials in {folder.path / 'sweep'} to rebuild a storage from")
    _require_same_question(read_folders(folder, "sweep"), identity, read_changes(folder))
    lacking = [line for kind in get_args(Kind) for line in _lacking(study, folder, kind)]
    if lacking and not force:
        listed = "\n  ".join(lacking[:SHOWN])
        more = f"\n  and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        raise Refused(
            f"the storage {folder.storage} knows {count(len(lacking), 'finished trial')} that the folders in "
            f"{folder.path} lack:\n  {listed}{more}\n"
            "The folders may be an older copy: then bring the newest ones here. Or rebuild without these trials, with "
            "--force: what the storage holds is kept under another name"
        )


def _lacking(study: StudySpec, folder: RunFolder, kind: Kind) -> list[str]:
    """The trials that have ended, says the storage, and whose folders do not say how. None where it cannot be read."""
    outcomes = {trial.number for trial in read_folders(folder, kind) if trial.outcome}
    return [
        f"{kind}: trial {trial.number}, {state_of(trial)}, {trial.value}"
        for trial in _stored_trials(folder, _names(study, folder)[kind])
        if trial.state.is_finished()
        and trial.number not in outcomes
        and not is_to_be_retried(folder.trial(kind, trial.number))
    ]


def _stored_trials(folder: RunFolder, name: str) -> list[FrozenTrial]:
    """The trials of the storage; none where it cannot be read: that is what a rebuilding is for."""
    try:
        stored = retry(lambda: stored_study(folder, name), is_transient)
        return stored.get_trials(deepcopy=False) if stored else []
    except UNREADABLE:
        return []


def _rebuild_file(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], trials: Trials) -> tuple[str, ...]:
    """Make the SQLite file anew. Returns the name that the old one has now."""
    beside = folder.database.with_name("study.db.rebuilt")
    url = f"{SQLITE}{beside}"

    def make() -> None:
        beside.unlink(missing_ok=True)  # of an attempt that failed
        storage = open_storage(url, create=True)
        for kind, name in _names(study, folder).items():
            make_study(storage, name, study, folder, identity, kind, trials[kind])

    retry_storage(make)
    return _exchange(folder.database, beside)


def _rebuild_elsewhere(
    study: StudySpec, folder: RunFolder, identity: Mapping[str, str], trials: Trials
) -> tuple[str, ...]:
    """Make the Optuna studies under other names, and then exchange the names. Returns those of the old ones."""
    names, now = {kind: name for kind, name in _names(study, folder).items() if kind in trials}, _now()
    unfinished = {name: f"{name} (being rebuilt)" for name in names.values()}  # no study of hpo can have such a name

    def make() -> tuple[str, ...]:
        storage = open_storage(folder.storage, create=True)
        for kind, name in names.items():
            make_study(storage, unfinished[name], study, folder, identity, kind, trials[kind])
            _keep_budget(storage, name, unfinished[name])
        there = {stored.study_name for stored in storage.get_all_studies()}
        kept = {name: f"{name} (kept {now})" for name in names.values() if name in there}
        made = {temporary: name for name, temporary in unfinished.items() if temporary in there}
        rename_studies(storage, {**kept, **made})
        return tuple(kept.values())

    return retry_storage(make)


def _keep_budget(storage: BaseStorage, before: str, after: str) -> None:
    """Let a study that is made again know what was asked of the one before: no folder says it."""
    names = {stored.study_name for stored in storage.get_all_studies()}
    if {before, after} <= names:
        asked = optuna.load_study(study_name=before, storage=storage).user_attrs
        made = optuna.load_study(study_name=after, storage=storage)
        for key in BUDGET & asked.keys():
            made.set_user_attr(key, asked[key])


def _names(study: StudySpec, folder: RunFolder) -> dict[Kind, str]:
    """The names of the Optuna studies of the newest generation."""
    return {"sweep": folder.name_of(study.name), "promotion": folder.name_of(promotion_name(study.name))}


def _require_same_question(
    trials: Sequence[TrialFolder], identity: Mapping[str, str], changes: Sequence[Change]
) -> None:
    """Raise Refused where a trial was asked another question, unless that change was accepted."""
    if changes and differing_parts(changes[-1].now, identity):
        parts = ", ".join(differing_parts(changes[-1].now, identity))
        raise Refused(f"the study has another {parts} than the trials that were accepted; undo that change first")
    for trial in trials:
        if trial.asked is None or is_adopted(trial.asked):
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


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def _exchange(database: Path, new: Path) -> tuple[str, ...]:
    """Put the new file in its place; return the name of the old one. A left journal belongs to that, and goes along."""
    aside = f"study.db.damaged-{_now()}"
    is_replaced = database.exists()
    for ending in ("-journal", ""):
        old = database.with_name(database.name + ending)
        if old.exists():
            old.rename(database.with_name(aside + ending))
    new.rename(database)
    return (aside,) if is_replaced else ()
