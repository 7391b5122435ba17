"""Re-tune inference-only settings on validation, after full training.

What helps a short training may hurt a long one, and trying it costs no training.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from hpo import space
from hpo.direction import Direction
from hpo.engine.evaluation import evaluate, place, resolve_device
from hpo.seeds import generator
from hpo.task import Check, Fidelity, Task

ROUNDS = 4  # enough: each one takes time, and changes less


@dataclass(frozen=True)
class Retuned:
    """The settings chosen on validation, and what the others came to."""

    value: float  # the goal on validation with all choices made
    chosen: Mapping[str, Any] = field(default_factory=dict)  # by full name
    tried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # name -> setting as text -> goal


def retune(task: Task, model: nn.Module, fidelity: Fidelity, value: float, *, device: str, precision: str) -> Retuned:
    """Choose each of `task.rescored()` in turn, beside what is chosen of the others, until a round changes nothing:
    the best of one may depend on another that is chosen after it. A tie keeps what was there.

    `value` is the goal that the trained model has on validation with the settings it was trained with.
    """
    where = resolve_device(device)
    model = model.to(where)
    batches = (
        [place(batch, where) for batch in task.batches("val", fidelity, 128, generator("validation"))]
        if task.rescored()
        else []
    )

    @functools.cache
    def goal(settings: frozenset[tuple[str, Any]]) -> float:
        return evaluate(with_settings(task, dict(settings)), model, batches, precision=precision)[task.goal]

    direction = Direction(task.direction)
    chosen: dict[str, Any] = {}
    tried: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        before = dict(chosen)
        for name, settings in task.rescored().items():
            goals = {setting: goal(frozenset({**chosen, name: setting}.items())) for setting in settings}
            tried[name] = {repr(setting): reached for setting, reached in goals.items()}
            best = direction.best(goals, key=goals.__getitem__)
            if direction.better(goals[best], value):
                value, chosen[name] = goals[best], best
        if chosen == before:
            break
    return Retuned(value, chosen, tried)


def with_settings(task: Task, chosen: Mapping[str, Any]) -> Task:
    """The task with settings by their full names."""
    return space.put(chosen, {"task": task})["task"]


def check_retuned(tried: Mapping[str, Mapping[str, float]], noise: float) -> list[Check]:
    """For each re-scored name: what its settings came to, and whether they differ by more than training seeds do."""
    found = []
    for name, goals in tried.items():
        span = max(goals.values()) - min(goals.values())
        seen = ", ".join(f"{setting}: {goal:.4g}" for setting, goal in goals.items())
        inert = span <= noise
        found.append(
            Check(
                f"re-scored: {name}",
                "caution" if inert else "go",
                seen,
                f"a span above the noise of the seeds, {noise:.2g}",
                "inert at this fidelity: set it by what it costs" if inert else "",
            )
        )
    return found
