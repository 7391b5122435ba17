"""Which configuration a sweep tries next: first those that it was given, then what the sampler proposes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo import space
from hpo.search.avoid import likely_feasible
from hpo.study import StudySpec
from hpo.trial.pausing import spent

TRY = "try"  # the attribute of a trial that says which of the configurations of `--try` it has, counted from 0


@dataclass(frozen=True)
class Given:
    """A configuration that is not drawn, with the attributes of its trial."""

    params: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def begin_trial(
    study: optuna.Study, spec: StudySpec, trials: Sequence[FrozenTrial], given: Given | None
) -> optuna.Trial:
    """Begin the next trial of a sweep that has these trials, with the configuration that it is given, if any."""
    number = begun(trials)
    study.sampler = spec.sampler(number)
    if number == len(trials):  # none is waiting that a killed coordinator had enqueued
        params = given.params if given else likely_feasible(spec, trials, number)
        if params is not None:
            study.enqueue_trial(dict(params), user_attrs=dict(given.attributes) if given else None)
            study.sampler = optuna.samplers.RandomSampler(seed=0)  # there is nothing left to draw
    return study.ask()


def next_given(
    trials: Sequence[FrozenTrial], firsts: Mapping[int, Mapping[str, Any]], tries: Mapping[int, Mapping[str, Any]]
) -> Given | None:
    """The configuration that the next trial is given; None where it is to be drawn.

    `firsts` are those of a sweep's first trials, by the numbers of these. `tries` come after them, once each.
    """
    number = begun(trials)
    if number in firsts:
        return Given(firsts[number])
    asked = {trial.user_attrs.get(TRY) for trial in trials}
    waiting = (Given(params, {TRY: index}) for index, params in tries.items() if index not in asked)
    return next(waiting, None)


def begun(trials: Sequence[FrozenTrial]) -> int:
    """How many trials of a sweep have begun, which is the number of its next one."""
    return sum(trial.state is not TrialState.WAITING for trial in trials)


def used_up(trials: Sequence[FrozenTrial], study: StudySpec) -> int:
    """How many of the study's trials are used up: those that have begun. Of a ladder: as many full-length ones, rounded
    up, as the epochs stand for that its trials take."""
    return math.ceil(sum(map(spent, trials)) / study.cheap.epochs) if study.is_ladder else begun(trials)


def draw(trial: optuna.Trial, spec: StudySpec) -> dict[str, Any]:
    """The trial's configuration. A trial that had drawn a part of it before a kill draws the rest of the same one."""
    return space.suggest(trial, spec.space, lambda name: spec.sampler(trial.number, name))
