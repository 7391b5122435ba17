"""Keeping away from configurations that fail: a proposal that would probably fail is drawn again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo import space
from hpo.space import Distribution, Space, distribution_of
from hpo.study import StudySpec
from hpo.trial.lifecycle import state_of

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ENOUGH = 2  # trials that failed, and as many that did not, before anything is concluded from them
REDRAWS = 20  # of one proposal, at most
LIKELY = 0.5  # a proposal that fails with a higher probability is drawn again
KNOWN = ("complete", "pruned", "failed", "paused")  # states of trials of which it is known whether they fail
SHARPNESS = 100.0  # inverse of the penalty on the coefficients: at an edge the probability may change steeply


def likely_feasible(spec: StudySpec, trials: Sequence[FrozenTrial], number: int) -> dict[str, Any] | None:
    """The configuration of the next trial, which is not expected to fail; None where too little is known.

    It follows from the trials, the study's seed and the trial's number alone, so that a resumed sweep proposes the
    same. A sampler that the study was given is taken at its word.
    """
    classifier = None if spec.search is not None else failure_classifier(spec.space, trials)
    if classifier is None:
        return None
    drafts = optuna.create_study(direction=spec.direction.value)
    drafts.add_trials(trials)
    return safest(spec.space, classifier, partial(_draft, drafts, spec, number))


def failure_classifier(searched: Space, trials: Sequence[FrozenTrial]) -> Pipeline | None:
    """What tells from a configuration how probably it fails; None where too little is known. A paused trial has not
    failed."""
    known = [trial for trial in trials if trial.params and state_of(trial) in KNOWN]
    failed = np.array([state_of(trial) == "failed" for trial in known], dtype=bool)
    if min(failed.sum(), (~failed).sum()) < ENOUGH:
        return None
    return _classifier().fit(np.stack([unit_point(searched, trial.params) for trial in known]), failed)


def safest(searched: Space, classifier: Pipeline, propose: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """The first proposal unless that would probably fail: then `propose` is called for further attempts, REDRAWS at
    most, and of proposals that are all likely to fail the least likely one is taken."""
    candidates: list[tuple[float, dict[str, Any]]] = []
    for attempt in range(REDRAWS + 1):
        params = propose(attempt)
        candidates.append((classifier.predict_proba(unit_point(searched, params)[None])[0, 1], params))
        if candidates[-1][0] <= LIKELY:
            break
    return min(candidates, key=lambda candidate: candidate[0])[1]


def unit_point(searched: Space, params: Mapping[str, Any]) -> np.ndarray:
    """A configuration as a point of the unit cube: a choice has a coordinate for each of its values.

    A parameter whose condition does not hold lies in the middle of its range.
    """
    coordinates = [_coordinates(distribution_of(entry), params.get(name)) for name, entry in searched.items()]
    return np.concatenate(coordinates)


def _coordinates(distribution: Distribution, value: Any) -> list[float]:
    if isinstance(distribution, CategoricalDistribution):
        return [float(value == choice) for choice in distribution.choices]
    if value is None:
        return [0.5]
    low, high, value = float(distribution.low), float(distribution.high), float(value)
    if distribution.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return [(value - low) / (high - low)]


def _classifier() -> Pipeline:
    """Logistic regression on the parameters, their squares and their products: an edge, a band, or two that together
    are too much. Failed trials weigh as much as the others."""
    from sklearn.linear_model import LogisticRegression  # half a second, and most sweeps have no failures to learn from
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    return make_pipeline(
        PolynomialFeatures(2, include_bias=False),
        LogisticRegression(C=SHARPNESS, class_weight="balanced", max_iter=300),
    )


def _draft(drafts: optuna.Study, spec: StudySpec, number: int, attempt: int) -> dict[str, Any]:
    """What the sampler proposes at an attempt; at the first one, what it proposes to the trial itself."""
    names = (f"attempt {attempt}",) if attempt else ()
    drafts.sampler = spec.sampler(number, *names)
    trial = drafts.ask()
    params = space.suggest(trial, spec.space, lambda name: spec.sampler(number, *names, name))
    drafts.tell(trial, state=TrialState.FAIL)  # TPE does not see it
    return params
