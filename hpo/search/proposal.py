"""Which configuration a sweep tries next: first those that it was given, then what the sampler proposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo import space
from hpo.search.avoid import likely_feasible
from hpo.study import StudySpec


def begin_trial(
    study: optuna.Study, spec: StudySpec, trials: Sequence[FrozenTrial], firsts: Mapping[int, Mapping[str, Any]]
) -> optuna.Trial:
    """Begin the next trial of a sweep that has these trials. `firsts` are the configurations of its first ones."""
    number = begun(trials)
    study.sampler = spec.sampler(number)
    if number == len(trials):  # none is waiting that a killed coordinator had enqueued
        params = firsts.get(number) or likely_feasible(spec, trials, number)
        if params is not None:
            study.enqueue_trial(dict(params))
            study.sampler = optuna.samplers.RandomSampler(seed=0)  # there is nothing left to draw
    return study.ask()


def begun(trials: Sequence[FrozenTrial]) -> int:
    """How many trials of a sweep have begun, which is the number of its next one."""
    return sum(trial.state is not TrialState.WAITING for trial in trials)


def draw(trial: optuna.Trial, spec: StudySpec) -> dict[str, Any]:
    """The trial's configuration. A trial that had drawn a part of it before a kill draws the rest of the same one."""
    return space.suggest(trial, spec.space, lambda name: spec.sampler(trial.number, name))
