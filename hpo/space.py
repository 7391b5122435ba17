"""What may be searched: Optuna's own distributions under the full names of hyperparameters.

The same string, "task.width" or "recipe.lr", stands in the study file, the storage, the plots and the errors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.plain import nearest, plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Distribution = CategoricalDistribution | FloatDistribution | IntDistribution  # their base has no bounds
Choice = bool | int | float | str | None
LARGEST = 1e300  # of a bound: the width of a range must be a finite number too
EXACT = 2**53  # the largest whole number up to which every one has a float of its own


@dataclass(frozen=True)
class When:
    """A parameter that exists only where another one took a certain value."""

    parent: str
    value: Choice
    distribution: Distribution


Space = Mapping[str, Distribution | When]


@plain.register
def _(value: BaseDistribution) -> str:
    return describe(value)


@plain.register
def _(value: When) -> dict[str, Any]:
    return {"when": value.parent, "is": value.value, "then": describe(value.distribution)}


def log(low: float, high: float) -> FloatDistribution:
    """A positive number whose logarithm is uniform on [log low, log high]."""
    _bounds("log", low, high)
    if low <= 0:
        raise ValueError(f"log: low must be above 0; got low={low!r}, high={high!r}")
    return FloatDistribution(float(low), float(high), log=True)


def uniform(low: float, high: float) -> FloatDistribution:
    """A number uniform on [low, high]."""
    _bounds("uniform", low, high)
    return FloatDistribution(float(low), float(high))


def integer(low: int, high: int, *, step: int = 1) -> IntDistribution:
    """A whole number: low, low + step, ... high."""
    _bounds("integer", low, high)
    if any(not isinstance(value, int) or isinstance(value, bool) for value in (low, high, step)):
        raise ValueError(f"integer: bounds and step must be whole numbers; got {low=}, {high=}, {step=}")
    if max(abs(low), abs(high)) > EXACT:
        raise ValueError(f"integer: bounds must lie within +-2**53, which a storage keeps exactly; got {low=}, {high=}")
    if step < 1 or (high - low) % step:
        raise ValueError(f"integer: step must be at least 1 and divide high - low; got {low=}, {high=}, {step=}")
    return IntDistribution(low, high, step=step)


def choose(*choices: Choice) -> CategoricalDistribution:
    """One of these values: numbers, strings, booleans or None, all different."""
    _choices("choose", choices)
    return CategoricalDistribution(choices)


def when(parent: str, value: Choice, distribution: Distribution) -> When:
    """`distribution` where `parent` took `value`; elsewhere the default holds and nothing is searched."""
    if not isinstance(distribution, BaseDistribution):
        raise ValueError(f"when: the third argument must be log, uniform, integer or choose; got {distribution!r}")
    return When(parent, value, distribution)


def distribution_of(entry: Distribution | When) -> Distribution:
    return entry.distribution if isinstance(entry, When) else entry


def check(space: Space, owners: Mapping[str, Any]) -> None:
    """Refuse a space that a study could not be run with.

    `owners` maps "task" and "recipe" to the dataclass values that own the fields. Raises ValueError naming the key,
    what was given, and what is allowed.
    """
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f"space: must map at least one hyperparameter to its range; got {space!r}")
    known = known_names(owners)
    for name, entry in space.items():
        if name not in known:
            raise ValueError(f"space: unknown hyperparameter {name!r}{nearest(name, known)}")
        if not isinstance(entry, BaseDistribution | When):
            raise ValueError(f"space[{name!r}]: must be log, uniform, integer, choose or when; got {entry!r}")
        distribution = distribution_of(entry)
        _check_distribution(name, distribution)
        if isinstance(entry, When):
            _check_condition(name, entry, space)
        default = defaults({name: entry}, owners)[name]
        if not contains(distribution, default):
            raise ValueError(
                f"space[{name!r}]: the default {default!r} must lie in the space; allowed: {describe(distribution)}"
            )
        for value in extremes(distribution):
            try:
                put({**_conditions(name, space), name: value}, owners)
            except ValueError as error:
                raise ValueError(f"space[{name!r}]: {value!r} lies in the space and is refused: {error}") from error


def extremes(distribution: Distribution) -> tuple[Any, ...]:
    """Every choice, or both ends of a range: what a task or a recipe must accept."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return distribution.low, distribution.high


def contains(distribution: Distribution, value: Any) -> bool:
    """Whether a trial could have drawn `value`."""
    if isinstance(distribution, CategoricalDistribution):
        return any(value == choice and type(value) is type(choice) for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if isinstance(distribution, IntDistribution):
        on_grid = isinstance(value, int) and (value - distribution.low) % distribution.step == 0
        return on_grid and distribution.low <= value <= distribution.high
    steps = (value - distribution.low) / distribution.step if distribution.step else 0
    return distribution.low <= value <= distribution.high and abs(steps - round(steps)) < 1e-8


def describe(distribution: BaseDistribution) -> str:
    """A distribution as the study file writes it, to the last digit: a fingerprint is taken of this."""
    if isinstance(distribution, CategoricalDistribution):
        return f"choose{distribution.choices!r}"
    if isinstance(distribution, IntDistribution) and not distribution.log:
        return f"integer({distribution.low}, {distribution.high}, step={distribution.step})"
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        return f"{'log' if distribution.log else 'uniform'}({distribution.low!r}, {distribution.high!r})"
    return repr(distribution)


def suggest(
    trial: optuna.Trial, space: Space, sampler: Callable[[str], optuna.samplers.BaseSampler] | None = None
) -> dict[str, Any]:
    """Suggest every parameter of the space, before anything is trained: a trial that ends early must not shrink the
    space that TPE models jointly.

    With `sampler`, a parameter that is not drawn jointly is drawn by `sampler(name)`, one of its own. What it draws
    then does not depend on which others have been drawn already, by a process that was killed in between.
    """
    values: dict[str, Any] = {}
    if sampler:
        _ = trial.relative_params  # drawn jointly and once, by the sampler that the trial was asked with
    for name, entry in space.items():
        if isinstance(entry, When) and values.get(entry.parent, _ABSENT) != entry.value:
            continue
        if sampler:
            trial.study.sampler = sampler(name)
        values[name] = _draw(trial, name, distribution_of(entry))
    return values


def _draw(trial: optuna.Trial, name: str, distribution: Distribution) -> Choice:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    low, high, step, log = distribution.low, distribution.high, distribution.step, distribution.log
    return float(trial.suggest_float(name, low, high, step=step, log=log))  # a default may be a whole number


def put(values: Mapping[str, Any], owners: Mapping[str, T]) -> dict[str, T]:
    """The owners with these values in their fields; an unknown name is refused with the known ones."""
    known = known_names(owners)
    changed: dict[str, dict[str, Any]] = {owner: {} for owner in owners}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"unknown hyperparameter {name!r}{nearest(name, known)}")
        owner, _, attribute = name.partition(".")
        changed[owner][attribute] = value
    return {owner: replace(value, **changed[owner]) if changed[owner] else value for owner, value in owners.items()}


def defaults(space: Space, owners: Mapping[str, Any]) -> dict[str, Any]:
    """The default configuration, in the names of the space and without what its own conditions switch off."""
    values: dict[str, Any] = {}
    for name, entry in space.items():
        if isinstance(entry, When) and entry.parent in space and values.get(entry.parent, _ABSENT) != entry.value:
            continue
        owner, _, attribute = name.partition(".")
        values[name] = getattr(owners[owner], attribute)
    return values


def known_names(owners: Mapping[str, Any]) -> list[str]:
    return [f"{owner}.{field.name}" for owner, value in owners.items() for field in dataclasses.fields(value)]


_ABSENT = object()


def _check_condition(name: str, entry: When, space: Space) -> None:
    names = list(space)
    if entry.parent not in space:
        raise ValueError(
            f"space[{name!r}]: its condition names {entry.parent!r}, which is not searched"
            f"{nearest(entry.parent, names)}"
        )
    if names.index(entry.parent) >= names.index(name):
        raise ValueError(f"space[{name!r}]: must stand after {entry.parent!r}, which it depends on")
    parent = distribution_of(space[entry.parent])
    if not isinstance(parent, CategoricalDistribution) or not contains(parent, entry.value):
        raise ValueError(
            f"space[{name!r}]: its condition {entry.parent} = {entry.value!r} can never hold; "
            f"allowed: {describe(parent)}"
        )


def _conditions(name: str, space: Space) -> dict[str, Any]:
    """The values of other parameters under which this one exists."""
    entry = space[name]
    return {**_conditions(entry.parent, space), entry.parent: entry.value} if isinstance(entry, When) else {}


def _check_distribution(name: str, distribution: Distribution) -> None:
    """What log, uniform, integer and choose refuse, for a distribution that was made without them."""
    if isinstance(distribution, CategoricalDistribution):
        _choices(f"space[{name!r}]", distribution.choices)
    else:
        _bounds(f"space[{name!r}]", distribution.low, distribution.high)


def _choices(kind: str, choices: tuple[Choice, ...]) -> None:
    if not choices:
        raise ValueError(f"{kind}: needs at least one choice; got none")
    for choice in choices:
        if not isinstance(choice, Choice) or (isinstance(choice, float) and not math.isfinite(choice)):
            raise ValueError(f"{kind}: a choice is a finite number, a string, a boolean or None; got {choice!r}")
    twice = [a for i, a in enumerate(choices) if a in choices[:i]]  # == on purpose: Optuna cannot tell 1 from True
    if twice:
        raise ValueError(f"{kind}: choices must differ; {twice[0]!r} stands twice in {choices!r}")


def _bounds(kind: str, low: float, high: float) -> None:
    for bound in (low, high):
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not abs(bound) < math.inf:
            raise ValueError(f"{kind}: bounds must be finite numbers; got low={low!r}, high={high!r}")
    if low >= high:
        raise ValueError(f"{kind}: low must be below high; got low={low!r}, high={high!r}")
    if max(abs(low), abs(high)) > LARGEST:
        raise ValueError(f"{kind}: bounds must lie within +-{LARGEST:g}; got low={low!r}, high={high!r}")
