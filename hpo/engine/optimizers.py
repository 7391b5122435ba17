"""The optimizer of a run: the one that the task makes, or else the one that the recipe names.

Each is torch's own, with torch's own defaults for what the recipe does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hpo.recipe import ONLY_WITH, OPTIMIZERS, Recipe
from hpo.task import Task

FUSED = ("adamw", "adam")  # take one fused step on CUDA
NORMS = (nn.LayerNorm, nn.RMSNorm)  # those whose weights need not be vectors
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)

Group = dict[str, Any]  # as torch takes it: its parameters and their settings


class Together(Optimizer):
    """Several optimizers that take a step together. Its parameter groups are theirs."""

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts
        super().__init__(self._groups(), {})

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002  # the engine has none
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = self._groups()

    def _groups(self) -> list[Group]:
        return [group for part in self.parts for group in part.param_groups]


def optimizer_of(
    task: Task[Any], recipe: Recipe, model: nn.Module, groups: Mapping[str, list[nn.Parameter]], device: torch.device
) -> Optimizer:
    """The task's own optimizer, or else the recipe's. Each of its groups has a `name` and an `initial_lr`.

    Raises ValueError where the task's own optimizer does not hold every parameter in a group of its name.
    """
    named = _named_groups(recipe, model, groups)
    optimizer = task.optimizer([dict(group) for group in named], recipe)
    if optimizer is None:
        optimizer = _of_recipe(recipe, model, named, device)
    else:
        _check_own(task, optimizer, groups)
    for group in optimizer.param_groups:
        group["initial_lr"] = group.setdefault("lr", recipe.lr)
    return optimizer


def _of_recipe(recipe: Recipe, model: nn.Module, groups: list[Group], device: torch.device) -> Optimizer:
    if recipe.optimizer == "muon":
        return _muon(recipe, model, groups, device)
    return _make(recipe.optimizer, recipe, groups, device)


def _make(name: str, recipe: Recipe, groups: list[Group], device: torch.device) -> Optimizer:
    settings = {
        setting: getattr(recipe, setting)
        for setting in ("betas", "eps", "momentum", "nesterov")
        if name in ONLY_WITH[setting].values
    }
    if "nesterov" in settings:
        settings["nesterov"] = recipe.nesterov and recipe.momentum > 0  # without momentum there is nothing to look at
    if name in FUSED:
        settings["fused"] = device.type == "cuda"
    kind: Callable[..., Optimizer] = getattr(torch.optim, OPTIMIZERS[name])
    return kind(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, **settings)


def _muon(recipe: Recipe, model: nn.Module, groups: list[Group], device: torch.device) -> Optimizer:
    """Muon for the matrices, and AdamW for all else: embeddings, biases, norms and convolutions.

    Muon's steps are scaled to the size of AdamW's, so that one learning rate and one weight decay serve both.
    """
    embeddings = _parameters_of(model, EMBEDDINGS)
    matrices, rest = _split(groups, lambda p: p.dim() == 2 and not p.is_complex() and id(p) not in embeddings)
    parts: list[Optimizer] = []
    if matrices:
        momentum = recipe.momentum
        parts.append(torch.optim.Muon(matrices, lr=recipe.lr, momentum=momentum, adjust_lr_fn="match_rms_adamw"))
    if rest:
        parts.append(_make("adamw", recipe, rest, device))
    return Together(*parts)


def _named_groups(recipe: Recipe, model: nn.Module, groups: Mapping[str, list[nn.Parameter]]) -> list[Group]:
    """The groups as torch takes them. Without `decay_norms`, a group of two kinds of parameters is split in two."""
    named = [
        {"params": parameters, "name": name, "weight_decay": recipe.weight_decay} for name, parameters in groups.items()
    ]
    if recipe.decay_norms:
        return named
    spared = _parameters_of(model, (*NORMS, *EMBEDDINGS))
    decayed, undecayed = _split(named, lambda p: p.dim() >= 2 and id(p) not in spared)
    return [*decayed, *({**group, "weight_decay": 0.0} for group in undecayed)]


def _split(groups: list[Group], first: Callable[[nn.Parameter], bool]) -> tuple[list[Group], list[Group]]:
    """The groups with the parameters for which `first` holds, and those with the others; none of them is empty."""
    firsts = [{**group, "params": [p for p in group["params"] if first(p)]} for group in groups]
    others = [{**group, "params": [p for p in group["params"] if not first(p)]} for group in groups]
    return [group for group in firsts if group["params"]], [group for group in others if group["params"]]


def _parameters_of(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> set[int]:
    """The ids of the parameters that modules of these kinds own."""
    modules = [module for module in model.modules() if isinstance(module, kinds)]
    return {id(parameter) for module in modules for parameter in module.parameters()}


def _check_own(task: Task[Any], optimizer: Any, groups: Mapping[str, list[nn.Parameter]]) -> None:
    name = f"{type(task).__name__}.optimizer"
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"{name} must return a torch.optim.Optimizer or None; got {optimizer!r}")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(f"{name} must not return LBFGS, which computes the loss several times a step")
    held = [(group.get("name"), id(p)) for group in optimizer.param_groups for p in group["params"]]
    wanted = [(group, id(p)) for group, parameters in groups.items() for p in parameters]
    if sorted(held, key=str) != sorted(wanted, key=str):
        raise ValueError(
            f"{name} must keep the groups that it is given, each with its name and all its parameters: "
            f"torch.optim.SGD(groups, lr=recipe.lr)"
        )
