"""A study that was changed goes on: in a new Optuna study, its next generation, with every trial that still fits.

The trials' folders are the truth and stay where they are. To accept a change is to write it down, which is the moment
that counts, to move aside what does not fit, and to rebuild the storage under the next generation's name. Whoever opens
the study after an interruption does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import sqlalchemy
from optuna.exceptions import StorageInternalError

from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.identity import Details, differences, differing_parts
from hpo.study import StudySpec
from hpo.trial.attempts import has_begun, is_to_be_retried
from hpo.trial.carry import misfit
from hpo.trial.changes import Change, move_aside, read_changes
from hpo.trial.rebuild import make_generation
from hpo.trial.record import read_asked, read_outcome, read_waiting

OF_PROMOTION = (
    "promotion",
    "promotion.json",
    "verdict.json",
    "winner",
    "pictures",
    "gate.json",
)  # in the study's folder


def change_of(
    study: StudySpec, folder: RunFolder, before: Mapping[str, str], now: Mapping[str, str], details: Details
) -> Change:
    """What it would mean to go on with another identity. Writes nothing."""
    parts = tuple(differing_parts(before, now))
    carried, aside = [], {}
    for number in folder.numbers("sweep"):
        reason = _unfit(study, folder.trial("sweep", number), parts)
        if reason:
            aside[number] = reason
        else:
            carried.append(number)
    return Change(
        parts=parts,
        differences=tuple(differences(folder, before, now, details)),
        before=dict(before),
        now=dict(now),
        carried=tuple(carried),
        set_aside=tuple(aside),
        reasons=tuple(aside.values()),
        moved=_existing(folder, (*OF_PROMOTION, *(f"sweep/{number:04d}" for number in aside))),
    )


def change_of_promotion(
    folder: RunFolder, identity: Mapping[str, str], parts: Sequence[str], differences: Sequence[str]
) -> Change:
    """What it would mean to promote anew where these parts of the full fidelity are others: all trials of the sweep go
    on, and the promotion that is there is kept aside. Writes nothing."""
    return Change(
        parts=tuple(f"full {part}" for part in parts),
        differences=tuple(f"full {difference}" for difference in differences),
        before=dict(identity),
        now=dict(identity),
        carried=tuple(folder.numbers("sweep")),
        set_aside=(),
        reasons=(),
        moved=_existing(folder, OF_PROMOTION),
    )


def _existing(folder: RunFolder, places: Iterable[str]) -> tuple[str, ...]:
    return tuple(place for place in places if (folder.path / place).exists())


def _unfit(study: StudySpec, trial: Path, parts: tuple[str, ...]) -> str:
    """Why a trial cannot go on; empty where it can."""
    asked = read_asked(trial)
    if asked is None:
        return ""  # it has not begun
    is_new_attempt = is_to_be_retried(trial) and not has_begun(trial)
    if "code" in parts and read_outcome(trial) is None and not is_new_attempt:
        was = "paused" if read_waiting(trial) else "interrupted"
        return f"it was {was}, and would go on with other code"
    return misfit(study, asked.params)


def finish_change(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> None:
    """Do what is left to do after a change was written down: move aside what does not fit, and make the storage of the
    new generation. Hold the study's lock."""
    if not read_changes(folder) or _is_made(folder, study.name):
        return
    move_aside(folder)
    make_generation(study, folder, identity)


def _is_made(folder: RunFolder, name: str) -> bool:
    """Whether the storage has the whole of the newest generation, or has lost even the earlier ones."""
    try:
        stored = stored_study(folder, name)
        if stored is not None:
            return bool(stored.user_attrs.get("generation") == folder.generation)
        return not any(stored_study(folder, name, earlier) for earlier in range(1, folder.generation))
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError):
        return True  # whoever opens it to write says what is wrong with it
