"""The storage, made again from what the trials' folders say. Nothing that it held is deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, get_args

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from hpo.errors import Refused
from hpo.formatting import count
from hpo.retry import retry
from hpo.space import distribution_of
from hpo.storage.database import open_storage, stored_study
from hpo.storage.folder import SQLITE, Kind, RunFolder, promotion_name
from hpo.storage.locks import study_lock
from hpo.storage.optuna_private import add_running_trial, rename_studies
from hpo.storage.transient import is_transient, retry_storage
from hpo.study import StudySpec
from hpo.trial.lifecycle import conclude
from hpo.trial.record import Asked, Outcome, read_asked, read_outcome

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


@dataclass(frozen=True)
class _TrialFolder:
    """What a trial's folder says. `asked` is None where the trial had not begun."""

    number: int
    asked: Asked | None
    outcome: Outcome | None


Trials: TypeAlias = Mapping[Kind, Sequence[_TrialFolder]]


def rebuild(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], *, force: bool = False) -> Rebuilt:
    """Rebuild the storage from the trials' folders.

    Finished trials get what their result.json says; the others go on in the next sweep or promotion. What the storage
    held is kept: an SQLite file beside the new one, Optuna studies in another storage under another name.

    Raises Refused where `require_rebuildable` does.
    """
    with study_lock(folder):
        require_rebuildable(study, folder, identity, force=force)
        trials: Trials = {kind: _read(folder, kind) for kind in get_args(Kind)}
        if folder.storage.startswith(SQLITE):
            kept = _rebuild_file(study, folder, trials)
        else:
            kept = _rebuild_elsewhere(study, folder, trials)
    return Rebuilt(sum(len(folders) for folders in trials.values()), folder.storage, kept)


def require_rebuildable(
    study: StudySpec, folder: RunFolder, identity: Mapping[str, str], *, force: bool = False
) -> None:
    """Raise Refused where there are no trials, or where another study asked for them. Writes nothing.

    Unless `force` is set, raise Refused also where the storage knows finished trials that the folders lack: they may be
    an older copy.
    """
    if not folder.numbers("sweep"):
        raise Refused(f"there are no trials in {folder.path / 'sweep'} to rebuild a storage from")
    _require_same_question(_read(folder, "sweep"), identity)
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
    outcomes = {trial.number for trial in _read(folder, kind) if trial.outcome}
    return [
        f"{kind}: trial {trial.number}, {trial.state.name.lower()}, {trial.value}"
        for trial in _stored_trials(folder, _names(study)[kind])
        if trial.state.is_finished() and trial.number not in outcomes
    ]


def _stored_trials(folder: RunFolder, name: str) -> list[FrozenTrial]:
    """The trials of the storage; none where it cannot be read: that is what a rebuilding is for."""
    try:
        stored = retry(lambda: stored_study(folder, name), is_transient)
        return stored.get_trials(deepcopy=False) if stored else []
    except UNREADABLE:
        return []


def _rebuild_file(study: StudySpec, folder: RunFolder, trials: Trials) -> tuple[str, ...]:
    """Make the SQLite file anew. Returns the name that the old one has now."""
    beside = folder.database.with_name("study.db.rebuilt")
    url = f"{SQLITE}{beside}"

    def make() -> None:
        beside.unlink(missing_ok=True)  # of an attempt that failed
        storage = open_storage(url, create=True)
        for kind, name in _names(study).items():
            _make(storage, name, study, kind, trials[kind])

    retry_storage(make)
    return _exchange(folder.database, beside)


def _rebuild_elsewhere(study: StudySpec, folder: RunFolder, trials: Trials) -> tuple[str, ...]:
    """Make the Optuna studies under other names, and then exchange the names. Returns those of the old ones."""
    names, now = _names(study), _now()
    unfinished = {name: f"{name} (being rebuilt)" for name in names.values()}  # no study of hpo can have such a name

    def make() -> tuple[str, ...]:
        storage = open_storage(folder.storage, create=True)
        for kind, name in names.items():
            _make(storage, unfinished[name], study, kind, trials[kind])
        there = {stored.study_name for stored in storage.get_all_studies()}
        kept = {name: f"{name} (kept {now})" for name in names.values() if name in there}
        made = {temporary: name for name, temporary in unfinished.items() if temporary in there}
        rename_studies(storage, {**kept, **made})
        return tuple(kept.values())

    return retry_storage(make)


def _names(study: StudySpec) -> dict[Kind, str]:
    """The names of the Optuna studies."""
    return {"sweep": study.name, "promotion": promotion_name(study.name)}


def _read(folder: RunFolder, kind: Kind) -> list[_TrialFolder]:
    """The trials by number, without a gap."""
    last = max(folder.numbers(kind), default=-1)
    return [_read_trial(number, folder.trial(kind, number)) for number in range(last + 1)]


def _read_trial(number: int, path: Path) -> _TrialFolder:
    asked = read_asked(path)
    return _TrialFolder(number, asked, read_outcome(path) if asked else None)


def _require_same_question(trials: Sequence[_TrialFolder], identity: Mapping[str, str]) -> None:
    for trial in trials:
        if trial.asked is None:
            continue
        before = trial.asked.identity
        differing = sorted(key for key in identity if before.get(key) != identity[key])
        if differing:
            raise Refused(
                f"trial {trial.number} was asked with another {', '.join(differing)}; undo that change first, "
                f"the trials cannot be compared otherwise"
            )


def _make(storage: BaseStorage, name: str, study: StudySpec, kind: Kind, trials: Sequence[_TrialFolder]) -> None:
    """Make an Optuna study of a kind of trials, or make it again after an attempt that failed."""
    if name in {stored.study_name for stored in storage.get_all_studies()}:
        optuna.delete_study(study_name=name, storage=storage)
    if trials:
        target = optuna.create_study(study_name=name, storage=storage, direction=study.direction.value)
        _restore(target, study, kind, trials)


def _restore(target: optuna.Study, study: StudySpec, kind: Kind, trials: Sequence[_TrialFolder]) -> None:
    asked = [trial.asked for trial in trials if trial.asked]
    target.set_user_attr("identity", dict(asked[0].identity))
    epochs = study.cheap.epochs if kind == "sweep" else study.full.epochs
    for trial in trials:
        params = dict(trial.asked.params) if trial.asked else {}
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
