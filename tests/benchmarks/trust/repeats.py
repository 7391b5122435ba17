"""A coarse space, whose configurations are tried again and again: does the luckiest of them win, or the best?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna

from hpo import Fidelity, StudySpec, space
from hpo.promotion.selection import select
from tests.benchmarks.trust.experiment import Experiment, Row
from tests.toy import Toy

CELLS = (-0.9, -0.3, 0.3, 0.9)  # values of the only hyperparameter; the default is none of them
TRIALS = 24  # of a sweep
NOISE = 0.5  # standard deviation of a score, in those of the true means of the cells
OFTEN, SELDOM = 10, 3  # times that each of two configurations is tried
GAP = 0.5  # by which the one that is tried often is worse, in standard deviations of a score

_CELL = "task.shift"
_FIDELITY = Fidelity(train=16, val=8, epochs=1)


def _study(seed: int) -> StudySpec:
    return StudySpec(
        name="repeats",
        task=Toy(shift=0.0),
        space={_CELL: space.choose(0.0, *CELLS)},
        smoke=_FIDELITY,
        cheap=_FIDELITY,
        full=_FIDELITY,
        trials=TRIALS,
        keep=1,
        seed=seed,
    )


def _chosen(trials: list[optuna.trial.FrozenTrial], study: StudySpec) -> float:
    """The cell that the product promotes beside the default."""
    return float(select(trials, study)[1].params[_CELL])


def _luck_wins(seed: int, rng: np.random.Generator) -> float:
    """1 where the configuration that is tried often is chosen although its mean is worse, else 0.

    NaN where its mean is not worse: then it is right to choose it.
    """
    often, seldom = GAP + rng.standard_normal(OFTEN), rng.standard_normal(SELDOM)
    if often.mean() <= seldom.mean():
        return math.nan
    cells = np.repeat(CELLS[:2], [OFTEN, SELDOM])
    order = rng.permutation(len(cells))
    study = _study(seed)
    trials = _ended(study, cells[order], np.concatenate([often, seldom])[order])
    return float(_chosen(trials, study) == CELLS[0])


def _ended(study: StudySpec, cells: Sequence[float], scores: Sequence[float]) -> list[optuna.trial.FrozenTrial]:
    distributions = {_CELL: space.distribution_of(study.space[_CELL])}
    stored = optuna.create_study()
    for cell, score in zip(cells, scores, strict=True):
        params = {_CELL: float(cell)}
        stored.add_trial(optuna.trial.create_trial(value=float(score), params=params, distributions=distributions))
    return stored.get_trials(deepcopy=False)


def _regret(seed: int, rng: np.random.Generator) -> float:
    """How much worse the chosen cell truly is than the best one, after a sweep with the product's sampler."""
    truth = dict(zip(CELLS, rng.standard_normal(len(CELLS)), strict=True))
    study, stored = _study(seed), optuna.create_study()
    for number in range(TRIALS):
        stored.sampler = study.sampler(number)
        trial = stored.ask({_CELL: optuna.distributions.CategoricalDistribution(CELLS)})
        stored.tell(trial, truth[trial.params[_CELL]] + NOISE * rng.standard_normal())
    return truth[_chosen(stored.get_trials(deepcopy=False), study)] - min(truth.values())


def once(seed: int) -> Mapping[str, float]:
    """One choice between two configurations, and one sweep."""
    rng = np.random.default_rng([seed, 8])
    return {"repeats-luck-wins": _luck_wins(seed, rng), "repeats-regret": _regret(seed, rng)}


def experiments() -> tuple[Experiment, ...]:
    """The rows of this part."""
    experiment = Experiment(
        once,
        rows=(Row("repeats-luck-wins", most=0.02), Row("repeats-regret", most=0.025, is_share=False)),
        repeats=300,
    )
    return (experiment,)
