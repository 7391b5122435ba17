"""To which folder a study in a storage belongs: the same id is in both. Where the folder was last is only shown."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import optuna

from hpo.errors import Damaged, Refused
from hpo.files import write_whole
from hpo.storage.folder import SQLITE, Kind, RunFolder

OWNER = "owner"  # the user attribute of the Optuna study


@dataclass(frozen=True)
class Owner:
    """The folder that a study belongs to."""

    id: str
    place: str  # HOST:PATH, where it was when it last wrote


def place_of(folder: RunFolder) -> str:
    """HOST:PATH of a folder."""
    return f"{platform.node()}:{folder.path.resolve()}"


def owner_of(attributes: Mapping[str, Any]) -> Owner | None:
    """The owner that a study's user attributes name; None where an older version, or somebody else, made the study."""
    record = attributes.get(OWNER)
    return Owner(**record) if record else None


def ids_of(folder: RunFolder) -> list[str]:
    """The ids of a folder: none before it is first opened to write, two where a forced rebuilding was interrupted."""
    return folder.owner.read_text().split() if folder.owner.exists() else []


def write_ids(folder: RunFolder, *ids: str) -> None:
    """Keep these ids in the folder, and no others."""
    write_whole(folder.owner, "".join(f"{identifier}\n" for identifier in ids).encode())


def new_id() -> str:
    """An id that no other folder has."""
    return uuid.uuid4().hex


def keep_id(folder: RunFolder, stored: Owner | None = None) -> str:
    """The one id of a folder from now on: that of its study in the storage, else its own, or else a new one.

    It is in the folder before any storage has it. Hold the study's lock.
    """
    ids = ids_of(folder)
    identifier = stored.id if stored else (ids or [new_id()])[0]
    if ids != [identifier]:
        write_ids(folder, identifier)
    return identifier


def set_owner(study: optuna.Study, folder: RunFolder, identifier: str) -> None:
    """Write into the storage that the study belongs to this folder."""
    owner = Owner(identifier, place_of(folder))
    if owner_of(study.user_attrs) != owner:
        study.set_user_attr(OWNER, asdict(owner))


def require_not_taken(folder: RunFolder, name: str, owner: Owner | None) -> None:
    """Raise Refused where the owner in the storage is another folder, and Damaged in a database of the folder's own.

    A folder that has trials and no id, as those of older versions, may be a copy: its trials must say so.
    """
    ids = ids_of(folder)
    if owner is None or owner.id in ids or (not ids and has_trials(folder)):
        return
    raise taken(folder, name, owner)


def has_trials(folder: RunFolder) -> bool:
    """Whether the folder holds trials of any kind."""
    return any(folder.numbers(kind) for kind in get_args(Kind))


def taken(folder: RunFolder, name: str, owner: Owner | None) -> Refused:
    """What to raise where a study belongs to another folder; `owner` is None where that is not known."""
    if folder.storage.startswith(SQLITE):
        return Damaged(
            f"the storage {folder.database} is not that of {folder.path}, but of {owner.place if owner else '?'}; "
            f"bring the right one back, or rebuild it from the trials' folders, which keeps this one under another "
            f"name: hpo rebuild STUDY"
        )
    return Refused(
        f"study {name!r} in {folder.storage} is taken by {_holder(folder, owner)}: the trials there are not those of "
        f"{folder.path}. Give the study another name (name= in the study file), or use another database "
        f"({_elsewhere(folder)}); to go on with those trials, use that folder, or a whole copy of it"
    )


def _elsewhere(folder: RunFolder) -> str:
    """How to use another database: trials that are there have to be brought into it."""
    return "hpo rebuild STUDY --storage URL" if has_trials(folder) else "--storage URL"


def _holder(folder: RunFolder, owner: Owner | None) -> str:
    if owner is None:
        return "another folder, which an older version of hpo did not name"
    if owner.place == place_of(folder):
        return f"a folder that was at {owner.place} before this one"
    return owner.place
