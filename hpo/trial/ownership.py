"""Whether a folder may write into a study: no other folder owns it, and the storage knows nothing that this one lacks.

So an older copy of a folder can be read, and takes nothing from those who have gone on with the study since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count as count_from
from typing import TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from hpo.errors import Damaged, Refused
from hpo.formatting import count, first_lines
from hpo.retrying import retry
from hpo.storage.database import open_storage
from hpo.storage.folder import SQLITE, Kind, RunFolder, promotion_name
from hpo.storage.owner import (
    Owner,
    has_trials,
    ids_of,
    keep_id,
    owner_of,
    place_of,
    require_not_taken,
    set_owner,
    taken,
)
from hpo.storage.transient import is_transient
from hpo.trial.attempts import is_to_be_retried
from hpo.trial.lifecycle import state_of
from hpo.trial.record import read_asked
from hpo.trial.sealed import RESULT

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
T = TypeVar("T")
HasResult = Callable[[Kind, FrozenTrial], bool]


def names_of(folder: RunFolder, name: str, generation: int | None = None) -> dict[Kind, str]:
    """The names of a study's two Optuna studies in the storage: of its newest generation, or of the one given."""
    promotion = promotion_name(name)
    return {"sweep": folder.name_of(name, generation), "promotion": folder.name_of(promotion, generation)}


class _Stored:
    """What is in a storage now. To open one takes long, so a question opens it once."""

    def __init__(self, folder: RunFolder) -> None:
        self._storage = _opened(folder)
        studies = self._storage.get_all_studies() if self._storage else []
        self.owners = {study.study_name: owner_of(study.user_attrs) for study in studies}  # by the names there

    def load(self, stored_name: str) -> optuna.Study:
        """One of its studies."""
        assert self._storage is not None
        return optuna.load_study(study_name=stored_name, storage=self._storage)

    def trials(self, stored_name: str) -> list[FrozenTrial]:
        """The trials of one of its studies; none where they are damaged, which is said elsewhere."""
        try:
            return self.load(stored_name).get_trials(deepcopy=False)
        except UNREADABLE as error:
            if is_transient(error):
                raise
            return []


def _opened(folder: RunFolder) -> BaseStorage | None:
    try:
        return open_storage(folder.storage)
    except Refused:  # there is none
        return None


def claim(folder: RunFolder, name: str) -> None:
    """Let the study belong to this folder, or go on to do so. Hold the study's lock, and call `require_claimable`
    before."""
    stored = _Stored(folder)
    names = [stored_name for stored_name in names_of(folder, name).values() if stored_name in stored.owners]
    owner = next((stored.owners[stored_name] for stored_name in names if stored.owners[stored_name]), None)
    identifier = keep_id(folder, owner)
    for stored_name in names:
        set_owner(stored.load(stored_name), folder, identifier)


def if_readable(call: Callable[[], T], otherwise: T) -> T:
    """What `call` says of a storage, or `otherwise` where that cannot be read: to be rebuilt is what it is for."""
    try:
        return retry(call, is_transient)
    except Refused:
        raise
    except UNREADABLE:
        return otherwise


def require_claimable(folder: RunFolder, name: str) -> None:
    """Raise Refused where another folder owns the study, and Damaged where the storage knows finished trials that this
    one lacks. Writes nothing."""
    stored = _Stored(folder)
    _require_ours(stored, folder, name)
    _require_newest(stored, folder, name)


def require_claimable_if_readable(folder: RunFolder, name: str) -> None:
    """The same, before a study is opened. A storage that cannot be read passes: whoever opens it says what is wrong."""
    try:
        require_claimable(folder, name)
    except Refused:
        raise
    except UNREADABLE:
        return


def require_ours(folder: RunFolder, name: str) -> None:
    """Raise Refused where another folder owns the study in the storage. Writes nothing."""
    _require_ours(_Stored(folder), folder, name)


def _require_ours(stored: _Stored, folder: RunFolder, name: str) -> None:
    for kind, stored_name in names_of(folder, name).items():
        if stored_name in stored.owners:
            require_not_taken(folder, name, stored.owners[stored_name])
            _require_same_trials(stored, folder, name, kind, stored_name)


def require_first_change(folder: RunFolder, name: str) -> None:
    """Raise Refused where the storage has the study after a change that the folder does not know. Writes nothing."""
    nothing: Mapping[str, Owner | None] = {}
    owners = if_readable(lambda: _Stored(folder).owners, nothing)
    for stored_name in names_of(folder, name, folder.generation + 1).values():
        if stored_name in owners:
            owner = owners[stored_name]
            place = owner.place if owner else "another folder"
            raise Damaged(
                f"another change of study {name!r} was accepted before, in {place}: the storage has {stored_name!r}, "
                f"and {folder.path} is an older copy; go on there, or give the study another name"
            )


def _require_same_trials(stored: _Stored, folder: RunFolder, name: str, kind: Kind, stored_name: str) -> None:
    """Raise Refused where one side has no id, as older versions left it, and the trials do not say that both are one
    study."""
    owner = stored.owners[stored_name]
    if folder.storage.startswith(SQLITE) or (owner and ids_of(folder)):
        return
    trials = stored.trials(stored_name)
    if owner is None and trials and not has_trials(folder):
        raise taken(folder, name, owner)
    ended = [trial for trial in trials if trial.state.is_finished()]
    if owner and not (ended and all(_is_asked(folder, kind, trial) for trial in ended)):
        raise taken(folder, name, owner)


def _require_newest(stored: _Stored, folder: RunFolder, name: str) -> None:
    """Raise Damaged where the storage knows a finished trial of which the folder has no result: it is an older copy, or
    its trials were removed."""

    def has_result(kind: Kind, trial: FrozenTrial) -> bool:
        return (folder.trial(kind, trial.number) / RESULT).exists()

    lines = list(_lacking(stored, folder, name, has_result))
    if lines:
        raise Damaged(lacking_in_words(folder, name, lines))


def lacking(folder: RunFolder, name: str, has_result: HasResult) -> Iterator[str]:
    """A line for each trial that has ended, says the storage, and whose result the folder does not have.

    Later generations count too, which follow from changes that an older copy does not know. Where nothing says whose
    study it is, a trial with other parameters is another one.
    """
    return _lacking(_Stored(folder), folder, name, has_result)


def _lacking(stored: _Stored, folder: RunFolder, name: str, has_result: HasResult) -> Iterator[str]:
    ids = ids_of(folder)
    owners = {key: owner for key, owner in stored.owners.items() if not ids or owner is None or owner.id in ids}
    for generation in count_from(folder.generation):
        names = names_of(folder, name, generation)
        if not owners.keys() & names.values():
            return
        for kind, stored_name in names.items():
            is_strict = owners.get(stored_name) is None and not folder.storage.startswith(SQLITE)
            for trial in stored.trials(stored_name) if stored_name in owners else ():
                is_here = has_result(kind, trial) and (not is_strict or _is_asked(folder, kind, trial))
                is_again = state_of(trial) == "failed" and is_to_be_retried(folder.trial(kind, trial.number))
                if trial.state.is_finished() and not is_here and not is_again:
                    yield f"{kind}: trial {trial.number}, {state_of(trial)}, {trial.value}"


def lacking_in_words(folder: RunFolder, name: str, lines: Sequence[str]) -> str:
    """What to tell the user of finished trials that the folder lacks."""
    listed = "\n  ".join(first_lines(lines, SHOWN))
    owner = _Stored(folder).owners.get(folder.name_of(name))
    newest = f" of {owner.place}, which wrote last" if owner and owner.place != place_of(folder) else ""
    return (
        f"the storage {folder.storage} knows {count(len(lines), 'finished trial')} that the folders in {folder.path} "
        f"lack:\n  {listed}\n"
        f"The folders may be an older copy{newest}: then go on there, or bring the newest ones here. Or go on without "
        f"these trials: hpo rebuild STUDY --force; what the storage holds is kept under another name"
    )


def _is_asked(folder: RunFolder, kind: Kind, trial: FrozenTrial) -> bool:
    """Whether a trial of the storage is the one that the folder asked under this number."""
    asked = read_asked(folder.trial(kind, trial.number))
    return asked is not None and {name: asked.params.get(name) for name in trial.params} == trial.params
