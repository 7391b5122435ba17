"""The trials of a study, read from its storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpo.collector import paused_collector

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


def all_trials(study: optuna.Study) -> list[FrozenTrial]:
    """All trials of a study as the storage has them now, by their numbers. Nobody may change them.

    One that has ended is read from the storage once for each `study` that was opened.
    """
    with paused_collector():
        return study.get_trials(deepcopy=False)
