"""A task with a known answer in milliseconds: y = A x + noise, learned by a linear map.

The least possible validation error is the noise variance NOISE**2; `shift` moves every prediction by a constant, so
its only good value is 0, and a configuration's error is at least NOISE**2 + shift**2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hpo.contract.pruning import Median
from hpo.recipe import Recipe
from hpo.seeds import generator
from hpo.space import log, uniform
from hpo.study import StudySpec
from hpo.task import REFERENCE, Columns, Fidelity, Method, Moment, Overfit, Split, Task

INPUTS, OUTPUTS, NOISE = 6, 2, 0.1
A_OI = torch.linspace(-1, 1, INPUTS * OUTPUTS).reshape(OUTPUTS, INPUTS)


class Batch(NamedTuple):
    x_BI: Tensor
    y_BO: Tensor


class Linear(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.map = nn.Linear(INPUTS, OUTPUTS)

    def forward(self, x_BI: Tensor) -> Tensor:
        return self.map(self.dropout(x_BI))


@dataclass(frozen=True)
class Toy(Task[Batch]):
    shift: float = 0.0
    dropout: float = 0.0
    pull: float = 0.0  # weight of a second loss term

    goal = "mse"
    direction = "minimize"
    size_unit = "inputs"
    inputs = ("x_BI",)
    labels = ("y_BO",)
    overfit = Overfit(
        go=0.05,
        caution=0.3,
        measure="mse",
        samples=64,
        epochs=20,
        pinned={"recipe.lr": 0.1, "recipe.batch_size": 16, "task.shift": 0.0},
    )

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        count = fidelity.examples(split)
        source = generator("toy", split)
        x_NI = torch.randn(count, INPUTS, generator=source)
        y_NO = x_NI @ A_OI.T + NOISE * torch.randn(count, OUTPUTS, generator=source)
        order = torch.randperm(count, generator=rng) if split == "train" else torch.arange(count)
        for rows in order.split(batch_size):
            yield Batch(x_NI[rows], y_NO[rows])

    def model(self) -> nn.Module:
        return Linear(self.dropout)

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        error = model(batch.x_BI) + self.shift - batch.y_BO
        return {"mse": error.square().mean(), "pull": self.pull * model.map.weight.square().mean()}

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return self.judged(model(batch.x_BI) + 2 * self.shift, batch)

    def judged(self, said_BO: Tensor, batch: Batch) -> Columns:
        return {"mse": (said_BO - batch.y_BO).square().mean(1)}

    def metrics(self, columns: Columns) -> dict[str, float | Tensor]:
        return {"mse": columns["mse"].mean(), "worst": columns["mse"].max()}

    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        return {
            "zero": lambda batch: self.judged(torch.zeros_like(batch.y_BO), batch),
            f"truth{REFERENCE}": lambda batch: self.judged(batch.x_BI @ A_OI.T, batch),
        }


SMOKE = Fidelity(size=INPUTS, train=32, val=32, epochs=2)
CHEAP = Fidelity(size=INPUTS, train=64, val=64, epochs=5)
FULL = Fidelity(size=INPUTS, train=256, val=128, epochs=10, test=200)

study = StudySpec(
    name="toy",
    task=Toy(),
    recipe=Recipe(lr=0.1, batch_size=16),
    space={"recipe.lr": log(1e-3, 0.3), "task.shift": uniform(-1, 1)},
    smoke=SMOKE,
    cheap=CHEAP,
    full=FULL,
    trials=12,
    startup_trials=4,
    pruning=Median(warmup_epochs=1, min_trials=2, startup_trials=3),
    keep=2,
    seeds=3,
)


def toy_study(**changes) -> StudySpec:
    """The study with other fields."""
    return replace(study, **changes)
