"""How far does a patient's diabetes progress? The task of a finished Optuna study, so that its best can be promoted."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from hpo import Fidelity, Recipe, StudySpec, Task, choose, log

ROWS = {"train": slice(240), "val": slice(240, 340), "test": slice(340, None)}
MEAN, SPREAD = 150, 75


class Batch(NamedTuple):
    x_BF: Tensor
    progression_B: Tensor


@dataclass(frozen=True)
class Progression(Task[Batch]):
    width: int = 16

    goal, direction, bounds = "rmse", "minimize", {"rmse": (0, float("inf"))}
    inputs, labels = ("x_BF",), ("progression_B",)

    def batches(self, split, fidelity, batch_size, rng):
        x_NF, y_N = (torch.tensor(array).float() for array in load_diabetes(return_X_y=True))
        rows_N = torch.randperm(len(x_NF), generator=torch.Generator().manual_seed(0))[ROWS[split]]
        rows_N = rows_N[: fidelity.limit(split)]
        order = torch.randperm(len(rows_N), generator=rng) if split == "train" else torch.arange(len(rows_N))
        for rows in rows_N[order].split(batch_size):
            yield Batch(20 * x_NF[rows], y_N[rows])

    def model(self):
        return nn.Sequential(nn.Linear(10, self.width), nn.Tanh(), nn.Linear(self.width, 1))

    def loss(self, model, batch, at):
        return {"squared": (model(batch.x_BF)[:, 0] - (batch.progression_B - MEAN) / SPREAD).square().mean()}

    def score(self, model, batch):
        return {"squared": (MEAN + SPREAD * model(batch.x_BF)[:, 0] - batch.progression_B) ** 2}

    def metrics(self, columns):
        return {"rmse": columns["squared"].mean().sqrt()}


study = StudySpec(
    name="progression",
    task=Progression(),
    recipe=Recipe(lr=1e-2, batch_size=16),
    space={"recipe.lr": log(1e-4, 1e-1), "task.width": choose(4, 16, 64)},
    smoke=Fidelity(train=64, val=50, epochs=2),
    cheap=Fidelity(epochs=6),
    full=Fidelity(epochs=30),
    trials=20,
)
