"""What the class of a task and its fields must be, looked at when a study is loaded."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hpo.code.place import class_place, described
from hpo.direction import Direction
from hpo.errors import ContractError
from hpo.task import Overfit, Task


def check_task(task: Task[Any]) -> None:
    """Raise ContractError unless the task is a dataclass that declares what Task asks for, and whose fields JSON keeps:
    a winner is rebuilt from its fields."""
    if not dataclasses.is_dataclass(task):
        raise _refused(task, "task", "must be a dataclass; write @dataclass(frozen=True) above its class")
    for owner in _classes(task):
        _check_decorated(task, owner)
    for name in DECLARED:
        _check_declared(task, name)
    for field in dataclasses.fields(task):
        _check_name(task, field.name)
        if field.init:
            _check_value(task, field.name)


def _refused(task: Task[Any], key: str, must: str, owner: type | None = None) -> ContractError:
    owner = owner or type(task)
    return ContractError(f"{key}: {owner.__name__} {must}", class_place(owner))


def _classes(task: Task[Any]) -> list[type]:
    """The user's classes of a task, itself first."""
    return [owner for owner in type(task).__mro__ if issubclass(owner, Task) and owner is not Task]


# -- its class -------------------------------------------------------------------------------------------------------
def _check_decorated(task: Task[Any], owner: type) -> None:
    """A class that names fields is a dataclass itself: what it would add or change is ignored otherwise."""
    annotations = vars(owner).get("__annotations__", {})
    if "__dataclass_params__" not in vars(owner):
        forgotten = [name for name, kind in annotations.items() if "ClassVar" not in str(kind)]
        if forgotten:
            must = f"adds {_listed(forgotten)} and is no dataclass; write @dataclass(frozen=True) above it"
            raise _refused(task, "task", must, owner)
    fields = set(getattr(owner, "__dataclass_fields__", ()))  # its own and those of its bases
    ignored = sorted(fields & set(vars(owner)) - set(annotations))
    if ignored:
        must = f"sets {_listed(ignored)} without a type, which changes no field; write `{ignored[0]}: TYPE = ...`"
        raise _refused(task, "task", must, owner)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(_is_name(name) for name in value)


DECLARED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {  # what it must be, and whether a value is that
    "goal": ('the name of the score that is optimised, such as "error"', _is_name),
    "direction": ("'minimize' or 'maximize'", lambda value: value in tuple(Direction)),
    "size_unit": ('what Fidelity.size counts, such as "pixels"', lambda value: isinstance(value, str)),
    "inputs": ('a tuple of names of batch fields, such as ("x",)', _are_names),
    "labels": ('a tuple of names of batch fields, such as ("y",)', _are_names),
    "cluster": ("None or the name of a batch field", lambda value: value is None or _is_name(value)),
    "overfit": ("an Overfit, such as Overfit(go=0.05, caution=0.15)", lambda value: isinstance(value, Overfit)),
}


def _check_declared(task: Task[Any], name: str) -> None:
    allowed, holds = DECLARED[name]
    if not hasattr(task, name):
        raise ContractError(
            f"task.{name}: must be {allowed}; {type(task).__name__} has no {name}: write `{name} = ...` in it",
            class_place(type(task)),
        )
    value = getattr(task, name)
    if not holds(value):
        raise ContractError(f"task.{name}: must be {allowed}; got {described(value)}", class_place(type(task)))


# -- its fields ------------------------------------------------------------------------------------------------------
TAKEN = frozenset(name for name in {*dir(Task), *Task.__annotations__} if not name.startswith("_"))


def _check_name(task: Task[Any], name: str) -> None:
    if name not in TAKEN:
        return
    if callable(getattr(Task, name, None)):
        raise _refused(task, f"task.{name}", f"has a field with the name of the method {name}(); rename the field")
    must = f"has a field with the name of what Task declares; write `{name} = ...` without a type, or rename the field"
    raise _refused(task, f"task.{name}", must)


def _check_value(task: Task[Any], name: str) -> None:
    value = getattr(task, name)
    if not comes_back(value):
        must = (
            f"has a value of type {type(value).__name__} there, which does not come back from JSON as it was, and the "
            f"winner is rebuilt from JSON; {_advice(value)}; got {reprlib.repr(value)}"
        )
        raise _refused(task, f"task.{name}", must)


def comes_back(value: Any) -> bool:
    """Whether JSON brings a value back as it was: a list comes back as a tuple."""
    if type(value) is tuple:
        return all(comes_back(item) for item in value)
    if type(value) is dict:
        return all(type(key) is str and comes_back(item) for key, item in value.items())
    if isinstance(value, float):
        return math.isfinite(value)
    return type(value) in (bool, int, str, type(None))


def _advice(value: Any) -> str:
    if isinstance(value, Enum):
        return "use its value, a string or a number, instead of the member"
    if isinstance(value, dict):
        return "keys must be strings, and values must come back too (a tuple, no list)"
    if isinstance(value, list | set | frozenset | tuple):
        return "use a plain tuple of numbers, strings or tuples"
    if isinstance(value, float):
        return "use a finite number, or None"
    if isinstance(value, np.generic):
        return "use value.item()"
    if isinstance(value, Path):
        return "use a string"
    if isinstance(value, Tensor | np.ndarray):
        return "make it in model() or batches(), or use a tuple of numbers"
    if callable(value):
        return "use a name, and look the function up by it"
    if dataclasses.is_dataclass(value):
        return "make its fields fields of the task"
    return "use numbers, strings, booleans, None, and tuples or dicts of these; or compute it, with field(init=False)"


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
