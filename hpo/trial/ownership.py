"""Whether a folder may write into a study: no other folder owns it, and the storage knows nothing that this one lacks.

So an older copy of a folder can be read, and takes nothing from those who have gone on with the study since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as count_from

from optuna.trial import FrozenTrial

from hpo.errors import Damaged, Refused
from hpo.formatting import count, first_lines
from hpo.storage.folder import SQLITE, Kind, RunFolder, promotion_name
from hpo.storage.owner import (
    Owner,
    has_trials,
    ids_of,
    keep_id,
    place_of,
    require_not_taken,
    set_owner,
    taken,
)
from hpo.trial.attempts import is_to_be_retried
from hpo.trial.lifecycle import state_of
from hpo.trial.record import read_asked
from hpo.trial.sealed import RESULT
from hpo.trial.stored import UNREADABLE, Stored, if_readable

SHOWN = 20  # of the trials that would be lost
HasResult = Callable[[Kind, FrozenTrial], bool]


def names_of(folder: RunFolder, name: str, generation: int | None = None) -> dict[Kind, str]:
    """The names of a study's two Optuna studies in the storage: of its newest generation, or of the one given."""
    promotion = promotion_name(name)
    return {"sweep": folder.name_of(name, generation), "promotion": folder.name_of(promotion, generation)}


def claim(stored: Stored, folder: RunFolder, name: str) -> None:
    """Let the study belong to this folder, or go on to do so. Hold the study's lock, and call `require_claimable`
    before."""
    names = [stored_name for stored_name in names_of(folder, name).values() if stored_name in stored.owners]
    owner = next((stored.owners[stored_name] for stored_name in names if stored.owners[stored_name]), None)
    identifier = keep_id(folder, owner)
    for stored_name in names:
        set_owner(stored.load(stored_name), folder, identifier)


def require_claimable(folder: RunFolder, name: str, stored: Stored | None = None) -> None:
    """Raise Refused where another folder owns the study, and Damaged where the storage knows finished trials that this
    one lacks. Writes nothing."""
    stored = stored or Stored(folder)
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
    _require_ours(Stored(folder), folder, name)


def _require_ours(stored: Stored, folder: RunFolder, name: str) -> None:
    for kind, stored_name in names_of(folder, name).items():
        if stored_name in stored.owners:
            require_not_taken(folder, name, stored.owners[stored_name])
            _require_same_trials(stored, folder, name, kind, stored_name)


def require_first_change(folder: RunFolder, name: str) -> None:
    """Raise Refused where the storage has the study after a change that the folder does not know. Writes nothing."""
    nothing: Mapping[str, Owner | None] = {}
    owners = if_readable(lambda: Stored(folder).owners, nothing)
    for stored_name in names_of(folder, name, folder.generation + 1).values():
        if stored_name in owners:
            owner = owners[stored_name]
            place = owner.place if owner else "another folder"
            raise Damaged(
                f"another change of study {name!r} was accepted before, in {place}: the storage has {stored_name!r}, "
                f"and {folder.path} is an older copy; go on there, or give the study another name"
            )


def _require_same_trials(stored: Stored, folder: RunFolder, name: str, kind: Kind, stored_name: str) -> None:
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


def _require_newest(stored: Stored, folder: RunFolder, name: str) -> None:
    """Raise Damaged where the storage knows a finished trial of which the folder has no result: it is an older copy, or
    its trials were removed."""

    def has_result(kind: Kind, trial: FrozenTrial) -> bool:
        return (folder.trial(kind, trial.number) / RESULT).exists()

    lines: list[str] = []
    for part in _parts(stored, folder, name):
        results = (folder.trial(part.kind, number) / RESULT for number in stored.ended(part.stored_name))
        if part.is_unmarked or not all(result.exists() for result in results):
            lines += _lacking_in(part, stored, folder, has_result)
    if lines:
        raise Damaged(lacking_in_words(folder, name, lines))


def lacking(folder: RunFolder, name: str, has_result: HasResult) -> Iterator[str]:
    """A line for each trial that has ended, says the storage, and whose result the folder does not have.

    Later generations count too, which follow from changes that an older copy does not know. Where nothing says whose
    study it is, a trial with other parameters is another one.
    """
    stored = Stored(folder)
    for part in _parts(stored, folder, name):
        yield from _lacking_in(part, stored, folder, has_result)


@dataclass(frozen=True)
class Part:
    """A sweep or a promotion in the storage that may be the folder's, in one of its generations."""

    kind: Kind
    stored_name: str
    is_unmarked: bool  # nothing says whose it is


def _parts(stored: Stored, folder: RunFolder, name: str) -> Iterator[Part]:
    """What the storage has of the study, in the folder's generation and in later ones."""
    ids = ids_of(folder)
    owners = {key: owner for key, owner in stored.owners.items() if not ids or owner is None or owner.id in ids}
    for generation in count_from(folder.generation):
        names = names_of(folder, name, generation)
        if not owners.keys() & names.values():
            return
        for kind, stored_name in names.items():
            if stored_name in owners:
                yield Part(kind, stored_name, owners[stored_name] is None and not folder.storage.startswith(SQLITE))


def _lacking_in(part: Part, stored: Stored, folder: RunFolder, has_result: HasResult) -> Iterator[str]:
    kind = part.kind
    for trial in stored.trials(part.stored_name):
        is_here = has_result(kind, trial) and (not part.is_unmarked or _is_asked(folder, kind, trial))
        is_again = state_of(trial) == "failed" and is_to_be_retried(folder.trial(kind, trial.number))
        if trial.state.is_finished() and not is_here and not is_again:
            yield f"{kind}: trial {trial.number}, {state_of(trial)}, {trial.value}"


def lacking_in_words(folder: RunFolder, name: str, lines: Sequence[str]) -> str:
    """What to tell the user of finished trials that the folder lacks."""
    listed = "\n  ".join(first_lines(lines, SHOWN))
    owner = Stored(folder).owners.get(folder.name_of(name))
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
