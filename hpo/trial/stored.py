"""What is in a folder's storage, read as far as a question needs, and wherever it can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from hpo.errors import Refused
from hpo.retrying import retry
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from hpo.storage.optuna_private import ended_numbers
from hpo.storage.owner import owner_of
from hpo.storage.reading import all_trials
from hpo.storage.transient import is_transient

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


class Stored:
    """What is in a folder's storage now. To open one takes long, so a question opens it once: here, unless somebody
    gives it, opened."""

    def __init__(self, folder: RunFolder, storage: BaseStorage | None = None) -> None:
        self._storage = storage or _opened(folder)
        studies = self._storage.get_all_studies() if self._storage else []
        self.owners = {study.study_name: owner_of(study.user_attrs) for study in studies}  # by the names there

    def load(self, stored_name: str) -> optuna.Study:
        """One of its studies."""
        assert self._storage is not None
        return optuna.load_study(study_name=stored_name, storage=self._storage)

    def trials(self, stored_name: str) -> list[FrozenTrial]:
        """The trials of one of its studies; none where they are damaged."""
        return _unless_damaged(lambda: all_trials(self.load(stored_name)))

    def ended(self, stored_name: str) -> list[int]:
        """The numbers of the trials of one of its studies that have ended; none where they are damaged."""
        assert self._storage is not None
        storage = self._storage
        return _unless_damaged(lambda: ended_numbers(storage, stored_name))


def _unless_damaged(read: Callable[[], list[T]]) -> list[T]:
    """What is read from a storage; nothing where it is damaged, which is said elsewhere."""
    try:
        return read()
    except UNREADABLE as error:
        if is_transient(error):
            raise
        return []


def _opened(folder: RunFolder) -> BaseStorage | None:
    try:
        return open_storage(folder.storage)
    except Refused:  # there is none
        return None


def if_readable(call: Callable[[], T], otherwise: T) -> T:
    """What `call` says of a storage, or `otherwise` where that cannot be read: to be rebuilt is what it is for."""
    try:
        return retry(call, is_transient)
    except Refused:
        raise
    except UNREADABLE:
        return otherwise
