"""The storage, made again from what the trials' folders say. Nothing that it held is deleted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, get_args

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from hpo.errors import Refused
from hpo.storage.database import open_storage
from hpo.storage.folder import SQLITE, Kind, RunFolder
from hpo.storage.identity import differing_parts
from hpo.storage.locks import study_lock
from hpo.storage.optuna_private import rename_studies
from hpo.storage.owner import ids_of, keep_id, new_id, write_ids
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial.adoption import Adoption, is_adopted, make_storage
from hpo.trial.changes import Change, move_aside, read_changes
from hpo.trial.ownership import lacking, lacking_in_words, names_of, require_claimable, require_ours
from hpo.trial.restore import TrialFolder, make_study, read_folders
from hpo.trial.stored import if_readable

BUDGET = frozenset({"trials", "stop_after"})  # user attributes of a sweep that say what was asked of it


@dataclass(frozen=True)
class Rebuilt:
    """A storage that was made anew."""

    trials: int
    storage: str  # its URL
    kept: tuple[str, ...] = ()  # what was there before: the name of an SQLite file, or the names of Optuna studies


Trials: TypeAlias = Mapping[Kind, Sequence[TrialFolder]]


def rebuild(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], *, force: bool = False) -> Rebuilt:
    """Rebuild the storage from the trials' folders, or make it in another one, where the study is kept from then on.

    Finished trials get what their result.json says; the others go on in the next sweep or promotion. What the storage
    held is kept: an SQLite file beside the new one, Optuna studies in another storage under another name.

    Raises Refused where `require_rebuildable` does.
    """
    with study_lock(folder, moves=True):
        require_rebuildable(study, folder, identity, force=force)
        folder.keep_elsewhere()
        move_aside(folder)
        trials: Trials = {kind: read_folders(folder, kind) for kind in get_args(Kind)}
        if folder.storage.startswith(SQLITE):
            kept = _rebuild_file(study, folder, identity, trials)
        elif force and _lacking(study, folder):
            kept = _rebuild_as_another(study, folder, identity, trials)
        else:
            kept = _rebuild_elsewhere(study, folder, identity, trials, keep_id(folder))
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
    _remake(study, folder, identity, get_args(Kind))


def remake(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], kind: Kind) -> None:
    """Make the sweep, or the promotion, again in its storage, beside what it was there. Hold the study's lock.

    Raises Refused where a trial was asked another question that was not accepted.
    """
    _remake(study, folder, identity, (kind,))


def _remake(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], kinds: Sequence[Kind]) -> None:
    require_claimable(folder, study.name)
    trials: Trials = {kind: read_folders(folder, kind) for kind in kinds}
    _require_same_question(trials.get("sweep", ()), identity, read_changes(folder))
    _rebuild_elsewhere(study, folder, identity, trials, keep_id(folder))


def require_rebuildable(
    study: StudySpec, folder: RunFolder, identity: Mapping[str, str], *, force: bool = False
) -> None:
    """Raise Refused where there are no trials, where another study asked for them, or where another folder owns the
    study in the storage. Writes nothing.

    Unless `force` is set, raise Refused also where the storage knows finished trials that the folders lack: they may be
    an older copy.
    """
    if not folder.numbers("sweep"):
        raise Refused(f"there are no trials in {folder.path / 'sweep'} to rebuild a storage from")
    if not folder.storage.startswith(SQLITE):  # a file in the folder is kept beside the new one, whosever it is
        if_readable(lambda: require_ours(folder, study.name), None)
    _require_same_question(read_folders(folder, "sweep"), identity, read_changes(folder))
    before = RunFolder(folder.path)  # where the study has been kept so far
    for place in [before, folder] if before.storage != folder.storage else [folder]:
        lines = _lacking(study, place)
        if lines and not force:
            raise Refused(lacking_in_words(place, study.name, lines))


def _lacking(study: StudySpec, folder: RunFolder) -> list[str]:
    """A line for each trial that has ended, says the storage, and whose folder does not say how."""
    outcomes = {(kind, trial.number): trial.outcome for kind in get_args(Kind) for trial in read_folders(folder, kind)}

    def has_result(kind: Kind, trial: FrozenTrial) -> bool:
        outcome = outcomes.get((kind, trial.number))
        was_retried = trial.state is TrialState.COMPLETE and outcome is not None and outcome.state == "failed"
        return outcome is not None and not was_retried

    return if_readable(lambda: list(lacking(folder, study.name, has_result)), [])


def _rebuild_file(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], trials: Trials) -> tuple[str, ...]:
    """Make the SQLite file anew. Returns the name that the old one has now."""
    folder.summary.unlink(missing_ok=True)  # it may say otherwise than the folders
    beside = folder.database.with_name("study.db.rebuilt")
    url, owner = f"{SQLITE}{beside}", keep_id(folder)

    def make() -> None:
        beside.unlink(missing_ok=True)  # of an attempt that failed
        storage = open_storage(url, create=True)
        for kind, name in names_of(folder, study.name).items():
            make_study(storage, name, study, folder, identity, kind, trials[kind], owner)

    retry_storage(make)
    return _exchange(folder.database, beside)


def _rebuild_as_another(
    study: StudySpec, folder: RunFolder, identity: Mapping[str, str], trials: Trials
) -> tuple[str, ...]:
    """Rebuild with a new id. A newer copy of the folder, where there is one, is then told that the study was taken, and
    does not take it back."""
    before, owner = ids_of(folder), new_id()
    write_ids(folder, *before, owner)  # both, until it is made: an interruption leaves the old study or the new one
    kept = _rebuild_elsewhere(study, folder, identity, trials, owner)
    write_ids(folder, owner)
    return kept


def _rebuild_elsewhere(
    study: StudySpec, folder: RunFolder, identity: Mapping[str, str], trials: Trials, owner: str
) -> tuple[str, ...]:
    """Make the Optuna studies under other names, and then exchange the names. Returns those of the old ones."""
    folder.summary.unlink(missing_ok=True)  # it may say otherwise than the folders
    names = {kind: name for kind, name in names_of(folder, study.name).items() if kind in trials}
    now = _now()
    unfinished = {name: f"{name} (being rebuilt)" for name in names.values()}  # no study of hpo can have such a name

    def make() -> tuple[str, ...]:
        storage = open_storage(folder.storage, create=True)
        for kind, name in names.items():
            make_study(storage, unfinished[name], study, folder, identity, kind, trials[kind], owner)
            _keep_budget(storage, name, unfinished[name])
        there = {stored.study_name for stored in storage.get_all_studies()}
        kept = {name: _free(f"{name} (kept {now})", there.__contains__) for name in names.values() if name in there}
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


def _free(name: str, is_there: Callable[[str], bool]) -> str:
    """The name, with a number where it is there already: a clock may go back."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(free for free in names if not is_there(free))


def _exchange(database: Path, new: Path) -> tuple[str, ...]:
    """Put the new file in its place; return the name of the old one. A left journal belongs to that, and goes along."""
    aside = _free(f"study.db.damaged-{_now()}", lambda name: database.with_name(name).exists())
    is_replaced = database.exists()
    for ending in ("-journal", ""):
        old = database.with_name(database.name + ending)
        if old.exists():
            old.rename(database.with_name(aside + ending))
    new.rename(database)
    return (aside,) if is_replaced else ()
