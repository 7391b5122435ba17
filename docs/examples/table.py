"""A table: is a tumour malignant? A small network, and gradient boosting that it has to beat."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from hpo import Fidelity, Recipe, StudySpec, Task, choose, log, uniform

FIRST = {"train": 0, "val": 280, "test": 420}
LAST = {"train": 280, "val": 420, "test": 569}


class Batch(NamedTuple):
    x_BF: Tensor
    malignant_B: Tensor


class Standardised(nn.Module):
    def __init__(self, mean, spread):
        super().__init__()
        self.register_buffer("mean_F", torch.tensor(mean))
        self.register_buffer("spread_F", torch.tensor(spread))

    def forward(self, x_BF):
        return (x_BF - self.mean_F) / self.spread_F


@dataclass(frozen=True)
class Tumours(Task[Batch]):
    width: int = 32
    dropout: float = 0.0
    mean: tuple[float, ...] = (0.0,) * 30  # this and the next follow from the training data
    spread: tuple[float, ...] = (1.0,) * 30

    goal, direction, bounds = "auc", "maximize", {"auc": (0, 1)}
    inputs, labels = ("x_BF",), ("malignant_B",)

    def rows(self, split, fidelity):
        x_NF, y_N = (torch.tensor(array).float() for array in load_breast_cancer(return_X_y=True))
        order_N = torch.randperm(len(x_NF), generator=torch.Generator().manual_seed(0))
        rows = order_N[FIRST[split] : LAST[split]][: fidelity.limit(split)]
        return x_NF[rows], 1 - y_N[rows]

    def from_data(self, fidelity):
        x_NF, _ = self.rows("train", fidelity)
        return replace(self, mean=tuple(x_NF.mean(0).tolist()), spread=tuple(x_NF.std(0).tolist()))

    def batches(self, split, fidelity, batch_size, rng):
        x_NF, malignant_N = self.rows(split, fidelity)
        order = torch.randperm(len(x_NF), generator=rng) if split == "train" else torch.arange(len(x_NF))
        for rows in order.split(batch_size):
            yield Batch(x_NF[rows], malignant_N[rows])

    def model(self):
        hidden = nn.Sequential(nn.Linear(30, self.width), nn.ReLU(), nn.Dropout(self.dropout))
        return nn.Sequential(Standardised(self.mean, self.spread), hidden, nn.Linear(self.width, 1))

    def loss(self, model, batch, at):
        return {"bce": nn.functional.binary_cross_entropy_with_logits(model(batch.x_BF)[:, 0], batch.malignant_B)}

    def score(self, model, batch):
        return {"logit": model(batch.x_BF)[:, 0], "malignant": batch.malignant_B}

    def metrics(self, columns):
        return {"auc": roc_auc_score(columns["malignant"], columns["logit"])}

    def baselines(self, fidelity):
        x_NF, malignant_N = self.rows("train", fidelity)
        boosting = HistGradientBoostingClassifier(random_state=0).fit(x_NF.numpy(), malignant_N.numpy())

        def boosted(batch):
            logit_B = boosting.decision_function(batch.x_BF.cpu().numpy())
            return {"logit": torch.from_numpy(logit_B), "malignant": batch.malignant_B}

        return {"gradient boosting": boosted}


study = StudySpec(
    name="table",
    task=Tumours(),
    recipe=Recipe(lr=3e-3, batch_size=16),
    space={
        "recipe.lr": log(1e-4, 3e-2),
        "recipe.weight_decay": log(1e-5, 1e-1),
        "task.width": choose(8, 32, 128),
        "task.dropout": uniform(0, 0.5),
    },
    smoke=Fidelity(train=64, val=64, epochs=2),
    cheap=Fidelity(train=140, epochs=8),
    full=Fidelity(epochs=30),
    trials=12,
)
