"""What the methods of a task return, looked at where it first arrives. Cheap: nothing here reads from a device."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hpo.code.place import broken, described
from hpo.task import Check, Columns, Held, Task


def made_model(task: Task[Any]) -> nn.Module:
    """A fresh model of the task. Raises ContractError unless it is a module."""
    model: object = task.model()
    if not isinstance(model, nn.Module):
        raise broken(task, "model", f"must return an nn.Module; got {described(model)}")
    return model


# -- loss, groups, rates ---------------------------------------------------------------------------------------------
def checked_terms(task: Task[Any], terms: object) -> dict[str, Tensor]:
    """The terms of a loss, each a scalar tensor; a plain number, as of a term that is switched off, becomes one.

    Raises ContractError for anything else, and, where gradients are on, unless some term has a gradient.
    """
    if not isinstance(terms, Mapping) or not terms:
        must = 'must return a dict of scalar tensors by name, such as {"mse": loss}'
        raise broken(task, "loss", f"{must}; got {described(terms)}")
    device = next((term.device for term in terms.values() if isinstance(term, Tensor)), None)
    checked: dict[str, Tensor] = {}
    for name, term in terms.items():
        if not isinstance(name, str):
            raise broken(task, "loss", f"must name each term by a string; got {described(name)}")
        if isinstance(term, int | float):
            term = torch.tensor(float(term), device=device)
        if not isinstance(term, Tensor):
            raise broken(
                task, "loss", f"returned the term {name!r}, which must be a scalar tensor; got {described(term)}"
            )
        if term.dim() != 0:
            raise broken(task, "loss", f"returned the term {name!r}, which must be a scalar; got {described(term)}")
        checked[name] = term
    if torch.is_grad_enabled() and not any(term.requires_grad for term in checked.values()):
        must = (
            "must return a term that depends on parameters that are being trained; none of the terms has a gradient "
            "(look for detach(), item(), no_grad(), argmax(), or rates() that freeze every group)"
        )
        raise broken(task, "loss", must)
    return checked


def checked_groups(task: Task[Any], model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The task's groups of parameters. Raises ContractError unless they are lists of parameters by name."""
    groups: object = task.groups(model)
    must = 'must return lists of parameters by name, such as {"all": list(model.parameters())}'
    if not isinstance(groups, Mapping):
        raise broken(task, "groups", f"{must}; got {described(groups)}")
    checked: dict[str, list[nn.Parameter]] = {}
    for name, parameters in groups.items():
        if not isinstance(name, str) or not isinstance(parameters, Iterable):
            raise broken(task, "groups", f"{must}; got {name!r}: {described(parameters)}")
        checked[name] = list(parameters)
        for parameter in checked[name]:
            if not isinstance(parameter, nn.Parameter):
                raise broken(task, "groups", f"{must}; got {name!r} with {described(parameter)}")
    return checked


def checked_rates(task: Task[Any], rates: object, groups: Collection[str]) -> Mapping[str, float | Held]:
    """The task's rates. Raises ContractError unless each is of a group, and a finite number of at least 0 or Held."""
    if not isinstance(rates, Mapping):
        must = 'must return factors by the name of a group, such as {"all": 1.0}'
        raise broken(task, "rates", f"{must}; got {described(rates)}")
    unknown = [name for name in rates if name not in groups]
    if unknown:
        raise broken(task, "rates", f"names no group: {unknown}; groups: {sorted(groups)}")
    return {name: _rate(task, name, rate) for name, rate in rates.items()}


def _rate(task: Task[Any], name: str, rate: Any) -> float | Held:
    try:
        number = float(rate.lr if isinstance(rate, Held) else rate)
    except (TypeError, ValueError, RuntimeError):  # torch raises RuntimeError for a tensor of several numbers
        number = math.nan
    if not 0 <= number < math.inf:
        must = f"must give {name!r} a finite number of at least 0, or Held of one"
        raise broken(task, "rates", f"{must}; got {described(rate)}")
    return Held(number) if isinstance(rate, Held) else number


# -- columns and scores ----------------------------------------------------------------------------------------------
def checked_columns(task: Task[Any], columns: object, examples: int, *, source: str) -> Columns:
    """The columns of a batch of so many examples. Raises ContractError unless each has one row an example.

    `source` names the method that gave them.
    """
    if not isinstance(columns, Mapping) or not columns:
        must = 'must return columns by name with one row an example, such as {"error": wrong_B}'
        raise broken(task, source, f"{must}; got {described(columns)}")
    for name, column in columns.items():
        if not isinstance(name, str):
            raise broken(task, source, f"must name each column by a string; got {described(name)}")
        if not isinstance(column, Tensor) or column.dim() == 0 or column.size(0) != examples:
            must = f"must give columns with a row for each of the {examples} examples"
            raise broken(task, source, f"{must}; {name!r} is {described(column)}")
    return columns


def checked_scores(task: Task[Any], scores: object) -> dict[str, float]:
    """The task's metrics as numbers. Raises ContractError unless each of them is one."""
    if not isinstance(scores, Mapping):
        raise broken(task, "metrics", f'must return scores by name, such as {{"rmse": 0.5}}; got {described(scores)}')
    return {name: _number(task, name, score) for name, score in scores.items()}


def _number(task: Task[Any], name: object, score: Any) -> float:
    if not isinstance(name, str):
        raise broken(task, "metrics", f"must name each score by a string; got {described(name)}")
    try:
        return float(score)
    except (TypeError, ValueError, RuntimeError) as error:  # what float() raises for None, text, and many elements
        must = f"returned the score {name!r}, which must be a number"
        raise broken(task, "metrics", f"{must}; got {described(score)}") from error


def require_goal(task: Task[Any], scores: Mapping[str, float]) -> None:
    """Raise ContractError unless the goal is among the scores. Where metrics() is not the task's own, score() lacks it:
    each of its columns gives one score."""
    if task.goal in scores:
        return
    users = getattr(task, "stands_for", task)  # the overfit check has a goal of its own
    role = "goal" if users.goal == task.goal else "measure of the overfit check"
    if type(users).metrics is Task.metrics:
        must = f"must give a column for the {role} {task.goal!r}, or metrics() must make that score"
        raise broken(task, "score", f"{must}; got {sorted(scores)}")
    raise broken(task, "metrics", f"must contain the {role} {task.goal!r}; got {sorted(scores)}")


def checked_methods(task: Task[Any], methods: object) -> Mapping[str, Callable[[Any], Any]]:
    """The task's classical methods. Raises ContractError unless they are functions by name."""
    must = "must return functions from a batch to columns, by name"
    if not isinstance(methods, Mapping):
        raise broken(task, "baselines", f"{must}; got {described(methods)}")
    for name, method in methods.items():
        if not isinstance(name, str) or not callable(method):
            raise broken(task, "baselines", f"{must}; got {name!r}: {described(method)}")
    return methods


# -- the rest --------------------------------------------------------------------------------------------------------
def checked_checks(task: Task[Any], checks: object) -> list[Check]:
    """The task's own checks. Raises ContractError unless they are Check values."""
    if not isinstance(checks, Iterable):
        raise broken(task, "checks", f"must return a list of Check; got {described(checks)}")
    listed = list(checks)
    for check in listed:
        if not isinstance(check, Check):
            raise broken(task, "checks", f"must return a list of Check; got {described(check)}")
    return listed
