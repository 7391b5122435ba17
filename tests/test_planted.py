"""The sweeps in memory of tests/benchmarks/trust are those of `hpo sweep`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

import hpo
from hpo import Fidelity, Median, OwnEpoch, OwnTraining, Recipe, choose, uniform, when
from tests.benchmarks.trust.planted import Planted, World, planted_study, sweep_planted
from tests.sweeper import rows


def curve(params: Mapping[str, Any], number: int = 0) -> list[float]:
    return [abs(params["task.a"] - 0.3) + params.get("task.b", 0.2) + 1 / (1 + epoch) for epoch in range(4)]


def failure(params: Mapping[str, Any]) -> str:
    return "RuntimeError: killed" if params["task.a"] > 0.6 else ""


class Trained(OwnTraining, Planted):
    """The same world, trained for real."""

    goal, direction, cluster = "mse", "minimize", None

    def train(self, recipe: Recipe, fidelity: Fidelity, seed: int, folder: Path) -> Iterator[OwnEpoch]:
        params = {"task.a": self.a, **({"task.b": self.b} if self.kind == "rich" else {})}
        if failure(params):
            raise RuntimeError("killed")
        for epoch, value in enumerate(curve(params)):
            yield OwnEpoch(epoch, {"mse": np.full(2, value)}, test=dict)

    def metrics(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        return hpo.means(columns)


def test_a_planted_sweep_is_a_real_one(tmp_path: Path) -> None:
    """With failures, pruning and a parameter that not every trial has."""
    space = {
        "task.a": uniform(0, 1),
        "task.kind": choose("plain", "rich"),
        "task.b": when("task.kind", "rich", uniform(0, 1)),
    }
    study = planted_study(space, trials=30, epochs=4, startup_trials=8, pruning=Median(startup_trials=3))
    planted = sweep_planted(study, World(curve, failure))
    hpo.sweep(replace(study, task=Trained()), runs=tmp_path, force=True, backend="inline", workers=1)
    real = rows(tmp_path / "planted", "planted")
    assert [row(trial) for trial in planted.trials] == [
        {key: value for key, value in trial.items() if key != "attributes"} for trial in real
    ]
    assert {"COMPLETE", "PRUNED"} == {trial["state"] for trial in real}
    assert any(trial["constraints"]["failed"] > 0 for trial in real)


def row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "intermediate": trial.intermediate_values,
        "constraints": trial.constraints,
    }
