"""A sweep of many parameters that nobody has to wait for: random values, and scores that do not depend on them."""

from __future__ import annotations

import random
from dataclasses import field, make_dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.space import distribution_of, uniform
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from tests.toy import Toy, toy_study


def wide_study(parameters: int, prefix: str = "p") -> StudySpec:
    """The toy study, with this many parameters from 0 to 1 in place of its own."""
    names = [f"{prefix}{index:03d}" for index in range(parameters)]
    task = make_dataclass("Wide", [(name, float, field(default=0.5)) for name in names], bases=(Toy,), frozen=True)
    space = {f"task.{name}": uniform(0, 1) for name in names}
    return toy_study(name="wide", task=task(), space=space)


def swept(folder: RunFolder, study: StudySpec, trials: int) -> RunFolder:
    """A folder with a sweep of the study: the default, then trials of which every third is pruned."""
    folder.path.mkdir()
    storage = open_storage(folder.storage, create=True)
    optuna.create_study(study_name=study.name, storage=storage, direction=study.task.direction).add_trials(
        _trials(study, trials)
    )
    return folder


def _trials(study: StudySpec, trials: int) -> list[FrozenTrial]:
    rng, space = random.Random(0), {name: distribution_of(entry) for name, entry in study.space.items()}
    drawn = []
    for number in range(trials):
        value, is_pruned = rng.random(), number % 3 == 2
        drawn.append(
            create_trial(
                state=TrialState.PRUNED if is_pruned else TrialState.COMPLETE,
                value=None if is_pruned else value,
                params={name: rng.random() for name in space} if number else study.defaults(),
                distributions=space,
                intermediate_values={0: value + 1, 1: value},
            )
        )
    return drawn
