"""What the entries of a search space must be. A refusal names the key, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from hpo.errors import Infeasible
from hpo.plain import nearest
from hpo.space import (
    Distribution,
    Space,
    When,
    check_bounds,
    check_choices,
    conditions,
    contains,
    describe,
    distribution_of,
    extremes,
    known_names,
    name_hint,
    put,
)


def check_space(space: Space, owners: Mapping[str, Any]) -> None:
    """Raise ValueError unless a study can search this space; the message names the key, the value and what is allowed.

    `owners` maps "task" and "recipe" to the dataclass values that own the fields.
    """
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f"space: must map at least one hyperparameter to its range; got {space!r}")
    for name in space:
        _check_entry(name, space, owners)


def _check_entry(name: str, space: Space, owners: Mapping[str, Any]) -> None:
    known = known_names(owners)
    if name not in known:
        raise ValueError(f"space: unknown hyperparameter {name!r}{name_hint(name, owners)}")
    owner, _, field = name.partition(".")
    check_entry(name, space, getattr(owners[owner], field))
    for value in extremes(distribution_of(space[name])):
        try:
            put({**conditions(name, space), name: value}, owners)
        except Infeasible:
            continue  # beside the defaults; with other values it may be feasible
        except ValueError as error:
            raise ValueError(f"space[{name!r}]: {value!r} lies in the space but is refused: {error}") from error


def check_entry(name: str, space: Space, default: Any) -> None:
    """Raise ValueError unless an entry of a space can be searched and has the default in it."""
    entry = space[name]
    if not isinstance(entry, BaseDistribution | When):
        raise ValueError(f"space[{name!r}]: must be log, uniform, integer, choose or when; got {entry!r}")
    distribution = distribution_of(entry)
    _check_distribution(name, distribution)
    if isinstance(entry, When):
        _check_condition(name, entry, space)
    if not contains(distribution, default):
        raise ValueError(
            f"space[{name!r}]: the default {default!r} must lie in the space; allowed: {describe(distribution)}"
        )


def _check_condition(name: str, entry: When, space: Space) -> None:
    names = list(space)
    if entry.parent not in space:
        hint = nearest(entry.parent, names)
        raise ValueError(f"space[{name!r}]: its condition names {entry.parent!r}, which is not searched{hint}")
    if names.index(entry.parent) >= names.index(name):
        raise ValueError(f"space[{name!r}]: must stand after {entry.parent!r}, which it depends on")
    parent = distribution_of(space[entry.parent])
    if isinstance(parent, FloatDistribution):
        raise ValueError(
            f"space[{name!r}]: its condition names {entry.parent!r}, which is searched by {describe(parent)} and "
            f"hardly ever takes {entry.value!r}; use choose or integer there"
        )
    if not contains(parent, entry.value):
        raise ValueError(
            f"space[{name!r}]: its condition {entry.parent} = {entry.value!r} can never hold; "
            f"allowed: {describe(parent)}"
        )


def _check_distribution(name: str, distribution: Distribution) -> None:
    """Refuse what log, uniform, integer and choose refuse: the distribution may have been made without them."""
    if isinstance(distribution, CategoricalDistribution):
        check_choices(f"space[{name!r}]", distribution.choices)
    else:
        check_bounds(f"space[{name!r}]", distribution.low, distribution.high)
