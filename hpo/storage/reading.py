"""The trials of a study, read from its storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.collector import paused_collector
from hpo.storage.database import stored_study
from hpo.storage.transient import retry_storage

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from hpo.storage.folder import RunFolder


def stored_trials(folder: RunFolder, name: str) -> list[FrozenTrial]:
    """All trials of the study of that name in a folder's storage, by their numbers; none where there is no such study.

    Waits for a storage that cannot be reached.
    """

    def read() -> list[FrozenTrial]:
        stored = stored_study(folder, name)
        return all_trials(stored) if stored else []

    return retry_storage(read)


def all_trials(study: optuna.Study) -> list[FrozenTrial]:
    """All trials of a study as the storage has them now, by their numbers. Nobody may change them.

    One that has ended is read from the storage once for each `study` that was opened.
    """
    with paused_collector():
        return study.get_trials(deepcopy=False)
