"""A study that hpo did not run, in a folder of its own: adopted.json, and the trials' folders, from which its storage
is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial
from pydantic import TypeAdapter, ValidationError

from hpo.direction import Direction
from hpo.errors import Damaged
from hpo.files import write_json
from hpo.plain import nulled, plain
from hpo.storage.database import name_metric, open_storage
from hpo.storage.folder import SQLITE, RunFolder
from hpo.trial.foreign import ADOPTED
from hpo.trial.lifecycle import OPTUNA_STATE
from hpo.trial.record import Asked, Outcome, read_asked, read_outcome


@dataclass(frozen=True)
class Adoption:
    """Where the trials of a study come from, and what became of them."""

    name: str  # here
    url: str  # there, without a password
    study: str  # its name there
    at: str  # ISO 8601, UTC
    versions: Mapping[str, str]  # of what read it
    direction: Direction
    goal: str  # its name there
    trials: int
    names: Mapping[str, str]  # of parameters: theirs -> ours; "": set aside
    set_aside: Mapping[int, str]  # trials that do not fit the task's space -> why
    task: str | None = None  # the study file whose task can promote them
    tools: tuple[str, ...] = ()  # samplers and pruners that left traces
    attributes: Mapping[str, Any] = field(default_factory=dict)  # of the study

    @property
    def sentence(self) -> str:
        """What a reader must know before he compares anything with these trials."""
        return (
            f"Adopted from {self.url}, study {self.study!r}, at {self.at[:16].replace('T', ' ')} UTC: its trials were "
            f"not trained by hpo."
        )

    @property
    def identity(self) -> dict[str, str]:
        """What is known of what the trials depend on."""
        return {ADOPTED: f"{self.url} {self.study}", "direction": self.direction.value, "goal": self.goal}


def write_adoption(folder: RunFolder, adoption: Adoption) -> None:
    """Write adopted.json."""
    write_json(folder.adoption, nulled(plain(asdict(adoption))))


def read_adoption(folder: RunFolder) -> Adoption | None:
    """The adoption of the study in a folder; None where hpo ran it. Raises Damaged where it cannot be read."""
    if not folder.adoption.exists():
        return None
    try:
        return TypeAdapter(Adoption).validate_json(folder.adoption.read_bytes())
    except ValidationError as error:
        raise Damaged(f"{folder.adoption} is damaged: {error}") from error


def is_adopted(asked: Asked | None) -> bool:
    """Whether a trial was not run by hpo."""
    return asked is not None and ADOPTED in asked.attributes


def restored_trial(asked: Asked, outcome: Outcome) -> FrozenTrial:
    """An adopted trial as the storage keeps it, from what its folder says: with its own steps, values and times."""
    record = asked.attributes[ADOPTED]
    curve = {epoch.epoch: epoch.value for epoch in outcome.history}
    last = outcome.history[-1].value if outcome.history else None
    return FrozenTrial(
        number=asked.number,
        state=OPTUNA_STATE[outcome.state],
        value={"complete": outcome.value, "pruned": last, "failed": None}[outcome.state],
        datetime_start=datetime.fromisoformat(record["began"]),
        datetime_complete=datetime.fromisoformat(record["ended"]),
        params=dict(asked.params),
        distributions={name: json_to_distribution(text) for name, text in record["distributions"].items()},
        user_attrs={
            ADOPTED: {"attributes": record["attributes"], "set_aside": record["set_aside"]},
            "reason": outcome.reason,
            "seconds": outcome.seconds,
        },
        system_attrs={},
        intermediate_values=curve,
        trial_id=-1,
    )


def make_storage(
    folder: RunFolder, adoption: Adoption, database: Path, watch: Callable[[int], None] = lambda _: None
) -> None:
    """Make the SQLite file `database`, which is not there yet, from the trials' folders.

    `watch` is called with how many trials are in it.
    """
    storage = open_storage(f"{SQLITE}{database}", create=True)
    study = optuna.create_study(study_name=adoption.name, storage=storage, direction=adoption.direction.value)
    study.set_user_attr("identity", adoption.identity)
    name_metric(study, adoption.goal)
    for number in range(adoption.trials):
        study.add_trial(_restored(folder, number))
        watch(number + 1)


def _restored(folder: RunFolder, number: int) -> FrozenTrial:
    path = folder.trial("sweep", number)
    asked, outcome = read_asked(path), read_outcome(path)
    if asked is None or outcome is None:
        raise Damaged(f"{path} is damaged, and its trial was adopted: adopt the study again, under another name")
    return restored_trial(asked, outcome)
