"""A trained model as files: its weights, and a JSON card that rebuilds it."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar, overload

from torch import nn

from hpo.code.place import class_place
from hpo.errors import ContractError
from hpo.plain import plain
from hpo.task import Task
from hpo.trial.weights import WEIGHTS, unpacked

T = TypeVar("T", bound=Task[Any])

CARD = "card.json"


class TrainedTask(NamedTuple, Generic[T]):
    """A task and the trained model that belongs to it."""

    task: T
    model: nn.Module


def card_of(task: Task[Any]) -> dict[str, Any]:
    """What rebuilds a task: where its class is defined, and its fields.

    Raises ContractError where the class stands in a function, which no other process can look into.
    """
    kind = type(task)
    if "<locals>" in kind.__qualname__:
        must = "is defined in a function, and a winner cannot be rebuilt from there; move it out of the function"
        raise ContractError(f"task: {kind.__name__} {must}", class_place(kind))
    return {
        "task": f"{type(task).__module__}:{type(task).__qualname__}",
        "fields": plain({field.name: getattr(task, field.name) for field in fields(task) if field.init}),
    }


@overload
def load_winner(folder: Path) -> TrainedTask[Task[Any]]: ...
@overload
def load_winner(folder: Path, of: type[T]) -> TrainedTask[T]: ...
def load_winner(folder: Path, of: type[Task[Any]] = Task) -> TrainedTask[Any]:
    """Rebuild a task and its trained model from an exported folder.

    The task is imported by its name: the folder of its file must be on sys.path. Raises ValueError where it cannot be
    found or is not an `of`, and where the weights are not those that the card was written for.
    """
    if not (folder / CARD).is_file():
        raise ValueError(f"{folder} must be a winner's folder, as `hpo promote` writes it; there is no {CARD} in it")
    card = json.loads((folder / CARD).read_text())
    if "sha256" not in card:
        raise ValueError(f"{folder} is of a task that trains itself: load its files as the task's export() wrote them")
    weights = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(weights).hexdigest() != card["sha256"]:
        raise ValueError(f"{folder / WEIGHTS} is not the file that {CARD} describes: its sha256 differs")
    winner = rebuild(card, weights)
    if not isinstance(winner.task, of):
        raise ValueError(f"{folder} holds a {type(winner.task).__name__}; an exported {of.__name__} is needed")
    return winner


def rebuild(card: Mapping[str, Any], weights: bytes) -> TrainedTask[Task[Any]]:
    """The task that a card describes, and its model with these weights.

    Raises ValueError where the task cannot be found, or the card names anything but a task: a card may come from
    anywhere, so nothing else is called.
    """
    return rebuild_as(task_class(card["task"]), card, weights)


def rebuild_as(kind: type[T], card: Mapping[str, Any], weights: bytes) -> TrainedTask[T]:
    """The same, where the class of the task is known. Raises ValueError where the weights are of another network."""
    task = kind(**{key: _tuples(value) for key, value in card["fields"].items()})
    model = task.model()
    try:
        model.load_state_dict(unpacked(weights))
    except RuntimeError as error:
        raise ValueError(
            f"the weights are of another network than {kind.__name__} makes now: train and export it anew ({error})"
        ) from None
    return TrainedTask(task, model.eval())


def task_class(name: str) -> type[Task[Any]]:
    """The class that a card names, as module:Class. Raises ValueError where it is not found, or is no task."""
    module, _, path = name.partition(":")
    kind: Any = _module(module)
    for part in path.split("."):  # a class may stand in another one
        kind = getattr(kind, part, None)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise ValueError(f"{CARD}: must name a task, as module:Class; got {name!r}")
    return kind


def _module(name: str) -> ModuleType:
    """The module of a task. Raises ValueError where it cannot be found from here."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise ValueError(
            f"the model needs the module {name!r}, and no module {missing!r} is found from here; name the folder in "
            f"which {missing.rpartition('.')[2]}.py lies: PYTHONPATH=FOLDER, or sys.path.append(FOLDER)"
        ) from error


def _tuples(value: Any) -> Any:
    """JSON has lists where a frozen task has tuples."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
