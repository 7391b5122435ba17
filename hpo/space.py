"""What may be searched: Optuna's own distributions under the full names of hyperparameters.

The same string, "task.width" or "recipe.lr", stands in the study file, the storage, the plots and the errors.
"""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.plain import nearest, plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Distribution = CategoricalDistribution | FloatDistribution | IntDistribution  # not BaseDistribution: it has no bounds
Choice = bool | int | float | str | None
LARGEST = 1e300  # limit of a bound: the width of a range must be a finite number too
EXACT = 2**53  # every whole number up to this one is exact as a float


@dataclass(frozen=True)
class When:
    """A hyperparameter that is searched only where another one took a certain value."""

    parent: str
    value: Choice
    distribution: Distribution


Space = Mapping[str, Distribution | When]
_ABSENT = object()  # differs from every value that a hyperparameter can have


@plain.register
def _(value: BaseDistribution) -> str:
    return describe(value)


@plain.register
def _(value: When) -> dict[str, Any]:
    return {"when": value.parent, "is": value.value, "then": describe(value.distribution)}


def log(low: float, high: float) -> FloatDistribution:
    """A positive number whose logarithm is uniform on [log low, log high]. Raises ValueError for unusable bounds."""
    low, high = _python(low), _python(high)
    check_bounds("log", low, high)
    if low <= 0:
        raise ValueError(f"log: low must be above 0; got low={low!r}, high={high!r}")
    return FloatDistribution(float(low), float(high), log=True)


def uniform(low: float, high: float) -> FloatDistribution:
    """A number that is uniform on [low, high]. Raises ValueError for unusable bounds."""
    low, high = _python(low), _python(high)
    check_bounds("uniform", low, high)
    return FloatDistribution(float(low), float(high))


def integer(low: int, high: int, *, step: int = 1) -> IntDistribution:
    """A whole number: low, low + step, ... high. Raises ValueError for unusable bounds, or a step that misses high."""
    low, high, step = _python(low), _python(high), _python(step)
    check_bounds("integer", low, high)
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in (low, high, step)):
        raise ValueError(f"integer: bounds and step must be whole numbers; got {low=}, {high=}, {step=}")
    if max(abs(low), abs(high)) > EXACT:
        raise ValueError(f"integer: bounds must lie within +-2**53, which a storage keeps exactly; got {low=}, {high=}")
    if step < 1 or (high - low) % step:
        raise ValueError(f"integer: step must be at least 1 and divide high - low; got {low=}, {high=}, {step=}")
    return IntDistribution(low, high, step=step)


def choose(*choices: Choice) -> CategoricalDistribution:
    """One of these values: finite numbers, strings, booleans or None, all different. Raises ValueError for others.

    NumPy's scalars become Python's.
    """
    choices = tuple(_python(choice) for choice in choices)
    check_choices("choose", choices)
    return CategoricalDistribution(choices)


def when(parent: str, value: Choice, distribution: Distribution) -> When:
    """`distribution` where `parent` took `value`; elsewhere the default stays and nothing is searched.

    `parent` is searched by choose or integer.
    """
    if not isinstance(distribution, BaseDistribution):
        raise ValueError(f"when: the third argument must be log, uniform, integer or choose; got {distribution!r}")
    return When(parent, _python(value), distribution)


def _python(value: Any) -> Any:
    """The value as Python has it: numbers that NumPy made, as of np.linspace, have types of their own."""
    return value.item() if isinstance(value, np.generic) else value


def distribution_of(entry: Distribution | When) -> Distribution:
    """The distribution of an entry, whatever its condition."""
    return entry.distribution if isinstance(entry, When) else entry


def distributions(space: Space) -> dict[str, Distribution]:
    """The distributions of a space by name, whatever their conditions."""
    return {name: distribution_of(entry) for name, entry in space.items()}


def extremes(distribution: Distribution) -> tuple[Any, ...]:
    """Every choice, or both ends of a range. A task and a recipe must accept each of them."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return distribution.low, distribution.high


def contains(distribution: Distribution, value: Any) -> bool:
    """Whether a trial could have drawn `value`."""
    value = _python(value)
    if isinstance(distribution, CategoricalDistribution):
        return any(value == choice and type(value) is type(choice) for choice in distribution.choices)  # 1 is not True
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if not distribution.low <= value <= distribution.high:
        return False
    if isinstance(distribution, IntDistribution):
        return isinstance(value, int) and (value - distribution.low) % distribution.step == 0
    if distribution.step is None:
        return True
    steps = (value - distribution.low) / distribution.step
    return abs(steps - round(steps)) < 1e-8


def describe(distribution: BaseDistribution) -> str:
    """A distribution as a study file writes it, to the last digit. Identities are hashes of this text."""
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
    """Draw a value for every hyperparameter of the space whose condition holds.

    All are drawn before training begins: a trial that ends early must not shrink the space that TPE models jointly.

    With `sampler`, what is not drawn jointly is drawn by `sampler(name)`, a sampler of its own. The draw then does not
    depend on which other values a process had drawn before it was killed.
    """
    values: dict[str, Any] = {}
    if sampler:
        _ = trial.relative_params  # reading it draws all joint values at once, with the sampler of study.ask()
    for name, entry in space.items():
        if isinstance(entry, When) and values.get(entry.parent, _ABSENT) != entry.value:
            continue
        if sampler and name not in trial.relative_params:
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
    value = trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    return float(value)  # an enqueued default may be a whole number, which the storage keeps as a float


def put(values: Mapping[str, Any], owners: Mapping[str, T]) -> dict[str, T]:
    """Return the owners with these values in their fields; owners without a new value stay the same objects.

    Raises ValueError for an unknown name, and what the owners raise for a value that they refuse.
    """
    known = known_names(owners)
    changes: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"unknown hyperparameter {name!r}{name_hint(name, owners)}")
        owner_name, _, field = name.partition(".")
        changes.setdefault(owner_name, {})[field] = value
    changed = {owner_name: replace(owners[owner_name], **fields) for owner_name, fields in changes.items()}
    return {**owners, **changed}


def defaults(space: Space, owners: Mapping[str, Any]) -> dict[str, Any]:
    """The default configuration in the names of the space, without what the defaults themselves switch off."""
    names = {name: name.partition(".") for name in space}
    return active(space, {name: getattr(owners[owner], field) for name, (owner, _, field) in names.items()})


def active(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a space's hyperparameters, without what the values of others switch off."""
    kept: dict[str, Any] = {}
    for name, entry in space.items():
        if isinstance(entry, When) and entry.parent in space and kept.get(entry.parent, _ABSENT) != entry.value:
            continue
        kept[name] = _python(values[name])
    return kept


def conditions(name: str, space: Space) -> dict[str, Any]:
    """The values that other hyperparameters must have for this one to be searched."""
    entry = space[name]
    if not isinstance(entry, When):
        return {}
    return {**conditions(entry.parent, space), entry.parent: entry.value}


def known_names(owners: Mapping[str, Any]) -> list[str]:
    """The full names of all hyperparameters: "task.width", "recipe.lr"."""
    return [
        f"{owner}.{field.name}" for owner, value in owners.items() for field in dataclasses.fields(value) if field.init
    ]


def name_hint(name: object, owners: Mapping[str, Any]) -> str:
    """A clause that says why a name is not known: it is no field, is written in other characters, or is misspelt."""
    known = known_names(owners)
    owner_name, _, attribute = str(name).partition(".")
    if owner_name in owners and not attribute.startswith("_") and hasattr(owners[owner_name], attribute):
        return f": {_no_hyperparameter(owners[owner_name], attribute)}"
    normal = unicodedata.normalize("NFKC", str(name))
    if normal in known and normal != name:
        return f", which is {name!a}; Python calls that field {normal!a}: write it so in the space"
    return nearest(name, known)


def _no_hyperparameter(owner: DataclassInstance, attribute: str) -> str:
    """Why an attribute that is there cannot be searched."""
    full_name = f"{type(owner).__name__}.{attribute}"
    if attribute in {field.name for field in dataclasses.fields(owner)}:
        return f"{full_name} is computed (init=False), and only what is given can be searched"
    if callable(getattr(owner, attribute)):
        return f"{full_name} is a method, and only fields can be searched"
    return f"{full_name} is no field, and only fields can be searched; a field has a type: `{attribute}: TYPE = ...`"


def check_choices(kind: str, choices: tuple[Choice, ...]) -> None:
    """Raise ValueError, which begins with `kind`, unless the choices are plain values, all different."""
    if not choices:
        raise ValueError(f"{kind}: needs at least one choice; got none")
    for choice in choices:
        if isinstance(choice, Enum):
            raise ValueError(
                f"{kind}: a choice comes back from the storage as a plain value, and never as a member of an "
                f"enumeration; write {choice.value!r} instead of {choice!r}"
            )
        if isinstance(choice, list | tuple | np.ndarray) and len(choices) == 1:
            raise ValueError(
                f"{kind}: a choice is a finite number, a string, a boolean or None; got {choice!r}; "
                f"to choose among its items, write choose(*...)"
            )
        if not isinstance(choice, Choice) or (isinstance(choice, float) and not math.isfinite(choice)):
            raise ValueError(f"{kind}: a choice is a finite number, a string, a boolean or None; got {choice!r}")
    for index, choice in enumerate(choices):
        if choice in choices[:index]:  # compared with ==, as Optuna does, which cannot tell 1 from True
            raise ValueError(f"{kind}: choices must differ; {choice!r} stands twice in {choices!r}")


def check_bounds(kind: str, low: float, high: float) -> None:
    """Raise ValueError, which begins with `kind`, unless these are the bounds of a range."""
    for bound in (low, high):
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not abs(bound) < math.inf:
            raise ValueError(f"{kind}: bounds must be finite numbers; got low={low!r}, high={high!r}")
    if low >= high:
        raise ValueError(f"{kind}: low must be below high; got low={low!r}, high={high!r}")
    if max(abs(low), abs(high)) > LARGEST:
        raise ValueError(f"{kind}: bounds must lie within +-{LARGEST:g}; got low={low!r}, high={high!r}")
