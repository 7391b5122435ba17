"""What inference alone reads is chosen anew after full training, on validation: what helps a short training may hurt a
long one, and trying it costs no training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from hpo import space
from hpo.engine import evaluate, place, resolve_device
from hpo.seeds import generator
from hpo.task import Check, Fidelity, Task


@dataclass(frozen=True)
class Rescored:
    """The settings chosen on validation, and what the others came to."""

    value: float  # the goal on validation with all choices made
    chosen: Mapping[str, Any] = field(default_factory=dict)  # by full name
    tried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # name -> setting as text -> goal


def rescore(task: Task, model: nn.Module, fidelity: Fidelity, value: float, *, device: str, precision: str) -> Rescored:
    """Choose each of `task.rescored()` in turn, the ones before it already chosen; a tie keeps what was there.

    `value` is the goal that the trained model has on validation with the settings it was trained with.
    """
    chosen: dict[str, Any] = {}
    tried: dict[str, dict[str, float]] = {}
    where = resolve_device(device)
    model = model.to(where)
    batches = [place(batch, where) for batch in task.batches("val", fidelity, 128, generator("validation"))] \
        if task.rescored() else []  # fmt: skip
    sign = 1 if task.direction == "minimize" else -1
    for name, settings in task.rescored().items():
        tried[name] = {}
        for setting in settings:
            variant = with_settings(task, {**chosen, name: setting})
            tried[name][repr(setting)] = goal = evaluate(variant, model, batches, precision=precision)[task.goal]
            if sign * goal < sign * value:
                value, chosen[name] = goal, setting
    return Rescored(value, chosen, tried)


def with_settings(task: Task, chosen: Mapping[str, Any]) -> Task:
    """The task with settings by their full names."""
    return space.put(chosen, {"task": task})["task"]


def inertness(tried: Mapping[str, Mapping[str, float]], noise: float) -> list[Check]:
    """For each re-scored name: what its settings came to, and whether they differ by more than training seeds do."""
    found = []
    for name, goals in tried.items():
        span = max(goals.values()) - min(goals.values())
        seen = ", ".join(f"{setting}: {goal:.4g}" for setting, goal in goals.items())
        inert = span <= noise
        found.append(Check(f"re-scored: {name}", "caution" if inert else "go", seen,
                           f"a span above the noise of the seeds, {noise:.2g}",
                           "inert at this fidelity: set it by what it costs" if inert else ""))  # fmt: skip
    return found
