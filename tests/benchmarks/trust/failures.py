"""Regions that kill the worker: how often a sweep still proposes them, and whether it ends before its time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo.errors import SweepFailed
from hpo.space import Space, integer, uniform
from tests.benchmarks.trust.experiment import Experiment, Row
from tests.benchmarks.trust.planted import Planted, World, planted_study, sweep_planted

TRIALS, LEARNT = 75, 25  # of a sweep; those from which it should know the region
LUCK = 0.05  # standard deviation of a score
EDGE, PRODUCT = 0.625, 3000
Params = Mapping[str, Any]

UNIT: Space = {name: uniform(0, 1) for name in ("task.a", "task.b", "task.c", "task.d")}
SIZES: Space = {
    "task.width": integer(8, 128, step=8),
    "task.batch": integer(8, 128, step=8),
    "task.b": uniform(0, 1),
    "task.c": uniform(0, 1),
}


def bowl(params: Params) -> float:
    return float(0.3 * (params["task.b"] - 0.4) ** 2 + 0.3 * (params["task.c"] - 0.7) ** 2)


def tempting(params: Params) -> float:
    """The better, the nearer to the region and beyond it."""
    return bowl(params) - float(params["task.a"])


def large(params: Params) -> float:
    """The better, the larger width and batch are."""
    return bowl(params) - math.log(params["task.width"] * params["task.batch"] / 64) / math.log(256)


def beyond_edge(params: Params) -> str:
    return "its worker died 3 times" if params["task.a"] > EDGE else ""


def too_large(params: Params) -> str:
    return "its worker died 3 times" if params["task.width"] * params["task.batch"] > PRODUCT else ""


WORLDS = {
    "tempting": (UNIT, tempting, beyond_edge),
    "neutral": (UNIT, bowl, beyond_edge),
    "width-x-batch": (SIZES, large, too_large),
}


def once(seed: int) -> dict[str, float]:
    """A sweep in each world: the share of its later trials that were killed, and whether it aborted."""
    figures, aborted = {}, []
    for name, (space, goal, failure) in WORLDS.items():
        luck = np.random.default_rng(seed).normal(0, LUCK, TRIALS)
        world = World(lambda params, number, goal=goal, luck=luck: [goal(params) + luck[number]], failure)
        study = planted_study(space, seed=seed, trials=TRIALS, task=Planted(a=0.3, width=32, batch=32))
        try:
            outcomes = sweep_planted(study, world).outcomes
        except SweepFailed:
            aborted.append(1.0)
            figures[f"failures-{name}"] = math.nan
            continue
        aborted.append(0.0)
        figures[f"failures-{name}"] = float(np.mean([outcome.state == "failed" for outcome in outcomes[LEARNT:]]))
    return {**figures, "failures-aborted-sweeps": max(aborted)}


def experiments() -> tuple[Experiment, ...]:
    """The rows of this part."""
    experiment = Experiment(
        once,
        (
            *(Row(f"failures-{name}", most=0.08, is_share=False) for name in WORLDS),
            Row("failures-aborted-sweeps", most=0.01),
        ),
    )
    return (experiment,)
