"""What a study may limit, or have as a goal, beside the task's own goal: what a configuration costs when it is used."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

# Each by its name, with what it counts, for the model of the full fidelity and one example. The smaller, the better.
COSTS = {
    "parameters": "numbers in the model's parameters, frozen ones too",
    "flops": "floating-point operations of matrix products, convolutions and attention",
    "milliseconds": "the fastest of several passes, on the study's device",
    "memory_mb": "weights, buffers and the most that a pass holds beside them, in 10^6 bytes",
}
EXACT = frozenset(COSTS) - {"milliseconds"}  # those that are the same whenever they are measured
UNITS = {"parameters": "parameters", "flops": "flops", "milliseconds": "milliseconds", "memory_mb": "MB of memory"}

Costs = Mapping[str, float]


def check_limits(limits: Any) -> None:
    """Raise ValueError unless each limit is a positive number for a cost that is measured."""
    if not isinstance(limits, Mapping):
        raise ValueError(f"limits: must be a mapping such as {{'milliseconds': 5}}; got {reprlib.repr(limits)}")
    for name, most in limits.items():
        if name not in COSTS:
            raise ValueError(f"limits[{name!r}]: is no cost that is measured; allowed: {', '.join(COSTS)}")
        is_number = isinstance(most, int | float) and not isinstance(most, bool)
        if not is_number or not math.isfinite(most) or most <= 0:
            raise ValueError(f"limits[{name!r}]: must be a positive number, {COSTS[name]}; got {reprlib.repr(most)}")


def check_goals(goals: Any, goal: str) -> None:
    """Raise ValueError unless there are none, or they are the task's goal and some costs, each once."""
    allowed = f"the task's goal first, here {goal!r}, and then costs: {', '.join(COSTS)}"
    if not isinstance(goals, tuple) or not all(isinstance(name, str) for name in goals):
        raise ValueError(f"goals: must be a tuple of names; got {reprlib.repr(goals)}")
    if not goals:
        return
    unknown = [name for name in goals[1:] if name not in COSTS]
    if goals[0] != goal or len(goals) < 2 or unknown or len(set(goals)) < len(goals):
        raise ValueError(f"goals: must be {allowed}; got {goals!r}")


def excesses(limits: Costs, costs: Costs) -> dict[str, float]:
    """By which share of its limit each cost is above it: negative where it is below, and 0 at the limit itself."""
    return {name: costs[name] / most - 1 for name, most in limits.items() if name in costs}


def over_limits(limits: Costs, costs: Costs) -> dict[str, float]:
    """The costs that are above their limits."""
    return {name: costs[name] for name, excess in excesses(limits, costs).items() if excess > 0}
