"""Whether the storage says of each trial what its folder says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo.errors import Damaged
from hpo.formatting import first_lines
from hpo.storage.database import REBUILD
from hpo.storage.folder import Kind, RunFolder
from hpo.storage.reading import all_trials
from hpo.trial.lifecycle import state_of
from hpo.trial.record import read_asked, read_outcome

SHOWN = 5
Params = Mapping[str, Any]


def require_agreement(
    study: optuna.Study, folder: RunFolder, kind: Kind, carried: Callable[[Params], Params] = dict
) -> None:
    """Raise Damaged unless every trial of the storage is what its folder says.

    `carried` makes of the parameters that a trial was asked with those that it has in this generation of the study.
    """
    try:
        trials = all_trials(study)
    except (LookupError, ValueError, TypeError, AssertionError) as error:
        raise Damaged(f"the storage {folder.storage} cannot be read ({error!r}); {REBUILD}") from error
    wrong = [f"trial {number}: is not in the storage" for number in folder.numbers(kind) if number >= len(trials)]
    for trial in trials:
        difference = _difference(trial, folder.trial(kind, trial.number), carried)
        if difference:
            wrong.append(f"trial {trial.number}: {difference}")
    if wrong:
        listed = "\n  ".join(first_lines(wrong, SHOWN))
        raise Damaged(
            f"the storage {folder.storage} and the folders in {folder.path / kind} say different things:\n  {listed}\n"
            f"the folders are the truth; {REBUILD}"
        )


def _difference(trial: FrozenTrial, folder: Path, carried: Callable[[Params], Params]) -> str:
    """What the storage says otherwise than the folder; nothing where they agree."""
    asked = read_asked(folder)
    params = carried(asked.params) if asked else {}
    if asked and {name: params.get(name) for name in trial.params} != trial.params:
        return f"params are {trial.params}, and {dict(params)} in its folder"
    if not trial.state.is_finished():
        return ""
    outcome = read_outcome(folder)
    if outcome is None:
        return f"{state_of(trial)} in the storage, and its result.json is missing or damaged"
    if asked is None or dict(params) != trial.params:
        return "its trial.json is missing or damaged"
    value = trial.value if outcome.state == "complete" else outcome.value
    if (state_of(trial), value) != (outcome.state, outcome.value):
        return f"{state_of(trial)} {trial.value} in the storage, and {outcome.state} {outcome.value} in its folder"
    reported = [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
    curve = [epoch.best for epoch in outcome.history]  # the pruner compares others with it
    return f"its folder has another curve: {curve}, not {reported}" if reported[: len(curve)] != curve else ""
