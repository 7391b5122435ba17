"""Re-tune inference-only settings on validation, after full training.

What helps a short training may hurt a long one, and trying a setting costs no training.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import nn

from hpo import space
from hpo.data.passes import one_pass
from hpo.direction import Direction
from hpo.engine.evaluation import evaluate, place, resolve_device
from hpo.seeds import generator
from hpo.task import Check, Fidelity, Task

T = TypeVar("T", bound=Task[Any])
ROUNDS = 4  # rounds over all names; later ones take as long as the first, and change less


@dataclass(frozen=True)
class Retuned:
    """The settings that were chosen on validation, and the scores of all that were tried."""

    value: float  # the goal on validation with the chosen settings
    chosen: Mapping[str, Any] = field(default_factory=dict)  # by full name; without names that kept their setting
    tried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # name -> setting as text -> goal


def retune(
    task: Task[Any], model: nn.Module, fidelity: Fidelity, value: float, *, device: str, precision: str
) -> Retuned:
    """Choose a setting for each name of `task.rescored()` in turn, with the other names as they are chosen so far.

    The rounds over all names end when one changes nothing: the best setting of a name may depend on a name that is
    chosen after it. A tie keeps the setting that was there.

    `value` is the goal of the trained model on validation, with the settings that it was trained with.
    """
    if not task.rescored():
        return Retuned(value)
    resolved = resolve_device(device)
    model = model.to(resolved)
    batches = [place(batch, resolved) for batch in one_pass(task, "val", fidelity, 128, generator("validation"))]

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
                value = goals[best]
                chosen[name] = best
        if chosen == before:
            break
    return Retuned(value, chosen, tried)


def with_settings(task: T, chosen: Mapping[str, Any]) -> T:
    """Return the task with settings given by full name: {"task.threshold": 0.5}."""
    return space.put(chosen, {"task": task})["task"]


def check_retuned(tried: Mapping[str, Mapping[str, float]], noise: float) -> list[Check]:
    """One check for each re-tuned name: whether its settings differ by more than training seeds do.

    `noise` is the standard deviation of the goal on validation over the seeds.
    """
    return [_check_span(name, goals, noise) for name, goals in tried.items()]


def _check_span(name: str, goals: Mapping[str, float], noise: float) -> Check:
    span = max(goals.values()) - min(goals.values())
    is_inert = span <= noise
    return Check(
        name=f"re-scored: {name}",
        status="caution" if is_inert else "go",
        seen=", ".join(f"{setting}: {goal:.4g}" for setting, goal in goals.items()),
        allowed=f"a span above the noise of the seeds, {noise:.2g}",
        look_at="inert at this fidelity: choose the cheapest setting" if is_inert else "",
    )
