"""What a hyperparameter, or a pair of them, may do to a score, as columns of a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import CategoricalDistribution

from hpo.page.responses import Observation
from hpo.space import Distribution


@dataclass(frozen=True)
class Effect:
    """Columns [trials, n] of an effect that is tested, and of what it is tested beside.

    `linear` are those of its columns that a pair multiplies.
    """

    names: tuple[str, ...]
    columns: np.ndarray
    beside: np.ndarray
    linear: np.ndarray


def single(name: str, distribution: Distribution, observations: Sequence[Observation]) -> Effect:
    """A number and its square, on its own scale; or an indicator for each choice.

    A trial that does not have the hyperparameter says nothing about it: that it is missing is the work of the one that
    it depends on, and stands beside it.
    """
    is_present = np.array([name in observation.params for observation in observations])
    values = [observation.params[name] for observation in observations if name in observation.params]
    linear = np.zeros((len(observations), 0))
    if values:
        present = _indicators(values) if isinstance(distribution, CategoricalDistribution) else _places(values, distribution)
        linear = np.zeros((len(observations), present.shape[1]))
        linear[is_present] = present
    is_number = not isinstance(distribution, CategoricalDistribution)
    columns = np.hstack([linear, linear**2]) if is_number else linear
    return Effect((name,), columns, is_present[:, None].astype(float), linear)


def pair(first: Effect, second: Effect) -> Effect:
    """What two do together beyond what each does alone: the products of their columns."""
    products = (first.linear[:, :, None] * second.linear[:, None, :]).reshape(len(first.linear), -1)
    beside = np.hstack([first.beside, first.columns, second.beside, second.columns, first.beside * second.beside])
    return Effect((*first.names, *second.names), products, beside, products)


def _places(values: Sequence[float], distribution: Distribution) -> np.ndarray:
    """[values, 1] from -1 to 1 over what was tried."""
    numbers = np.array(values, dtype=float)
    places = np.log(numbers) if distribution.log else numbers
    low, high = places.min(), places.max()
    return (2 * (places - low) / (high - low) - 1 if high > low else np.zeros_like(places))[:, None]


def _indicators(values: Sequence[object]) -> np.ndarray:
    """[values, choices that were tried]."""
    keys = [repr(value) for value in values]
    return np.array([[key == choice for choice in sorted(set(keys))] for key in keys], dtype=float)
