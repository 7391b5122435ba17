"""From the trials in the storage to the rows of a summary. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from hpo.contract.several_goals import COSTS
from hpo.plain import fingerprint
from hpo.storage.database import stored_study
from hpo.storage.folder import Kind, RunFolder, promotion_name
from hpo.storage.reading import all_trials
from hpo.storage.summary import Row
from hpo.trial.handed_out import NO_ATTEMPTS, Attempts, AttemptsLog
from hpo.trial.lifecycle import SUPERSEDED, state_of


@dataclass(frozen=True)
class RowSource:
    """What the rows of a sweep, or of a promotion, are made of beside its trials."""

    kind: Kind
    epochs: int | None  # of its fidelity; None where that is not known
    names: Mapping[str, str]  # the names of a promotion's candidates, by their keys

    def row(self, trial: FrozenTrial, attempts: Attempts = NO_ATTEMPTS) -> Row:
        """One trial, or run, as the storage has it."""
        attributes, state = trial.user_attrs, state_of(trial)
        reported = max(trial.intermediate_values, default=-1)
        return Row(
            kind=self.kind,
            number=trial.number,
            state=state,
            name=self.names.get(attributes.get("key", ""), ""),
            seed=attributes.get("seed") if self.kind == "promotion" else None,
            epoch=attributes.get("epochs", reported + 1),
            epochs=self.epochs,
            value=trial.value if state == "complete" else None,
            best=trial.value if state == "complete" else trial.intermediate_values.get(reported),
            seconds=attributes.get("seconds"),
            began=trial.datetime_start.timestamp() if trial.datetime_start else None,
            ended=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
            attempts=max(1, attempts.count),
            worker=attempts.worker,
            reason=attributes.get("reason", ""),
            costs=attributes.get(COSTS, {}),
        )


def row_source(folder: RunFolder, kind: Kind, epochs: int | None = None) -> RowSource:
    """The source of a study's rows. `epochs` are those of a trial at most, or of a run."""
    return RowSource(kind, epochs, _names(folder) if kind == "promotion" else {})


def _names(folder: RunFolder) -> dict[str, str]:
    """The candidates of the promotion, by their keys; empty where there is none."""
    try:
        candidates = json.loads(folder.selection.read_bytes())["candidates"]
        return {fingerprint(candidate["params"]): candidate["name"] for candidate in candidates}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def stored_rows(folder: RunFolder, source: RowSource) -> tuple[Row, ...]:
    """The rows that the storage knows; none where there is no such study yet."""
    stored = stored_study(folder, optuna_name(folder, source.kind))
    if stored is None:
        return ()
    attempts = AttemptsLog(folder.events, stored.study_name).update()
    trials = all_trials(stored)
    return tuple(source.row(trial, attempts.get(trial.number, NO_ATTEMPTS)) for trial in trials if is_wanted(trial))


def optuna_name(folder: RunFolder, kind: Kind) -> str:
    """The name of the Optuna study, as its first generation has it."""
    return folder.path.name if kind == "sweep" else promotion_name(folder.path.name)


def is_wanted(trial: FrozenTrial) -> bool:
    """Whether no newer selection has given the run up."""
    return trial.user_attrs.get("reason") != SUPERSEDED
