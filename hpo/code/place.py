"""The line of the task that an error is about, and the value in a few words."""

from __future__ import annotations

import inspect
import reprlib
from types import FunctionType
from typing import Any

from hpo.errors import ContractError


def broken(task: Any, source: str, must: str, place: str = "") -> ContractError:
    """The error of a method that does not do what it must; `place` is where the method is, unless it is given.

    `source` begins with the name of the method: "baselines (zero)".

    A task that stands for one of the user's, as that of the overfit check, names it in `stands_for`.
    """
    task = getattr(task, "stands_for", task)
    place = place or method_place(type(task), source.partition(" ")[0])
    return ContractError(f"{type(task).__name__}.{source} {must}", place)


def method_place(owner: type, method: str) -> str:
    """file:line of a method, or else of its class; "" where neither has a file."""
    function = inspect.unwrap(getattr(owner, method))
    return _function_place(function) if isinstance(function, FunctionType) else class_place(owner)


def class_place(owner: type) -> str:
    """file:line of a class; in a notebook, where it has no file, of its first method."""
    try:
        return f"{inspect.getsourcefile(owner)}:{inspect.getsourcelines(owner)[1]}"
    except (OSError, TypeError):
        functions = [member for member in vars(owner).values() if isinstance(member, FunctionType)]
        places = [_function_place(function) for function in functions]
        return next((place for place in places if not place.startswith("<string>")), "")


def _function_place(function: FunctionType) -> str:
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"


def described(value: object) -> str:
    """A value in a few words: its kind, and what it is."""
    if value is None:
        return "None (is a `return` missing?)"
    if isinstance(value, type):
        return f"the class {value.__name__} instead of a value of it"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    return f"{reprlib.repr(value)}, which is of type {type(value).__name__}"
