"""A run that is broken off and resumed on the same card comes to what an unbroken one comes to.

A kernel may differ from call to call. So the unbroken run is done twice, and their distance is the measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from hpo.engine.training import fit
from hpo.recipe import Recipe
from hpo.task import Fidelity, Task
from objectives.lowlight import SMOKE, LowLight
from tests.benchmarks.gpu.claim import Claim, distance, result, scratch
from tests.toy import INPUTS, Toy

FIDELITY = Fidelity(size=INPUTS, train=128, val=128, epochs=6)
LEAST = 1e-6  # relative distance that is allowed where two unbroken runs agree


def check(device: str) -> Iterator[Claim]:
    for precision in ("fp32", "fp16"):
        recipe = Recipe(lr=0.05, batch_size=16, precision=precision, ema=0.9)
        yield same(f"linear, dropout, EMA, {precision}", Toy(dropout=0.1), recipe, FIDELITY, device)
    recipe = Recipe(lr=1e-3, batch_size=8, channels_last=True, precision="bf16")
    yield same("lowlight's network, bf16, channels_last", LowLight(), recipe, SMOKE, device)


def same(name: str, task: Task[Any], recipe: Recipe, fidelity: Fidelity, device: str) -> Claim:
    """Compare the validation scores of all epochs."""
    unbroken, again = (scores(task, recipe, fidelity, device) for _ in range(2))
    with scratch() as folder:
        for _ in islice(fit(task, recipe, fidelity, seed=1, device=device, resume=folder), fidelity.epochs // 2):
            pass
        resumed = [e.value for e in fit(task, recipe, fidelity, seed=1, device=device, resume=folder)]
    noise, apart = farthest(unbroken, again), farthest(unbroken, resumed)
    holds = len(resumed) == len(unbroken) and apart <= max(LEAST, 3 * noise)
    return result(holds, f"{name}: resumed within {apart:.1e}, unbroken twice within {noise:.1e} (relative)")


def scores(task: Task[Any], recipe: Recipe, fidelity: Fidelity, device: str) -> list[float]:
    """The validation score after each epoch."""
    return [e.value for e in fit(task, recipe, fidelity, seed=1, device=device)]


def farthest(one: list[float], two: list[float]) -> float:
    """The largest relative distance of two curves."""
    return max(distance(a, b) for a, b in zip(one, two, strict=True))
