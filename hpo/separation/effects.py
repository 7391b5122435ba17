"""What a hyperparameter, or a pair of them, may do to a score, as columns of a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import CategoricalDistribution

from hpo.separation.responses import Observation
from hpo.space import Distribution

MOST_BENDS, VALUES_A_BEND = 4, 12


@dataclass(frozen=True)
class Effect:
    """Columns [trials, n] of an effect that is tested, and of what it is tested beside.

    `linear` are those of its columns that a pair multiplies. `bends` is what else it may do: too much to be tested with
    few trials, and regressed out once it is named, or what is left of a steep valley would be ascribed to others.
    """

    names: tuple[str, ...]
    columns: np.ndarray
    beside: np.ndarray
    linear: np.ndarray
    bends: np.ndarray


def single(name: str, distribution: Distribution, observations: Sequence[Observation]) -> Effect:
    """A number and its square, on its own scale; or an indicator for each choice.

    A trial that does not have the hyperparameter says nothing about it: that it is missing is the work of the one that
    it depends on, and stands beside it.
    """
    is_present = np.array([name in observation.params for observation in observations])
    values = [observation.params[name] for observation in observations if name in observation.params]
    if isinstance(distribution, CategoricalDistribution):
        linear = _spread(_indicators(values), is_present)
        columns, bends = linear, linear[:, :0]
    else:
        places = _places(values, is_log=distribution.log)
        linear, bends = _spread(places, is_present), _spread(_bends(places), is_present)
        columns = np.hstack([linear, linear**2])
    return Effect((name,), columns, is_present[:, None].astype(float), linear, bends)


def pair(first: Effect, second: Effect) -> Effect:
    """What two do together beyond what each does alone: the products of their columns."""
    products = (first.linear[:, :, None] * second.linear[:, None, :]).reshape(len(first.linear), -1)
    beside = np.hstack([first.beside, first.columns, second.beside, second.columns, first.beside * second.beside])
    return Effect((*first.names, *second.names), products, beside, products, np.hstack([first.bends, second.bends]))


def _spread(present: np.ndarray, is_present: np.ndarray) -> np.ndarray:
    """The columns of those that have the hyperparameter, and 0 in the rows of those that do not."""
    columns = np.zeros((len(is_present), present.shape[1]))
    columns[is_present] = present
    return columns


def _places(values: Sequence[float], *, is_log: bool) -> np.ndarray:
    """[values, 1] from -1 to 1 over what was tried."""
    numbers = np.array(values, dtype=float)
    places = np.log(numbers) if is_log else numbers
    width = np.ptp(places) if len(places) else 0.0
    return ((2 * places - places.max() - places.min()) / width if width else np.zeros_like(places))[:, None]


def _bends(places: np.ndarray) -> np.ndarray:
    """[values, bends] slopes that begin at quantiles of what was tried, one for each dozen values."""
    bends = min(MOST_BENDS, len(places) // VALUES_A_BEND)
    starts = np.quantile(places, np.arange(1, bends + 1) / (bends + 1)) if bends else np.zeros(0)
    return np.maximum(0.0, places - starts)


def _indicators(values: Sequence[object]) -> np.ndarray:
    """[values, choices that were tried]."""
    keys = [repr(value) for value in values]
    choices = sorted(set(keys))
    return np.array([[key == choice for choice in choices] for key in keys], dtype=float).reshape(
        len(keys), len(choices)
    )
