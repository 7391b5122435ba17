"""An image classifier: which digit is on the picture? scikit-learn's digits, 8 pixels a side."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hpo import Fidelity, Recipe, StudySpec, Task, choose, log, uniform

ROWS = {"train": slice(1000), "val": slice(1000, 1400), "test": slice(1400, None)}


class Batch(NamedTuple):
    image_B1HW: Tensor  # in [0, 1]
    digit_B: Tensor


@cache
def pictures():
    """All images and their digits, in one order: read once in a process, not in each epoch."""
    data = load_digits()
    order_N = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(data.images[order_N, None] / 16).float(), torch.tensor(data.target[order_N])


@dataclass(frozen=True)
class Digits(Task[Batch]):
    channels: int = 16
    dropout: float = 0.1

    goal, direction, bounds = "accuracy", "maximize", {"accuracy": (0, 1)}
    inputs, labels = ("image_B1HW",), ("digit_B",)

    def batches(self, split, fidelity, batch_size, rng):
        images_N1HW, digits_N = (part[ROWS[split]][: fidelity.limit(split)] for part in pictures())
        dataset = TensorDataset(images_N1HW, digits_N)
        for image_B1HW, digit_B in DataLoader(dataset, batch_size, shuffle=split == "train", generator=rng):
            yield Batch(image_B1HW, digit_B)

    def model(self):
        return nn.Sequential(
            nn.Conv2d(1, self.channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(self.channels, 2 * self.channels, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(self.dropout),
            nn.Linear(8 * self.channels, 10),
        )

    def loss(self, model, batch, at):
        return {"cross_entropy": nn.functional.cross_entropy(model(batch.image_B1HW), batch.digit_B)}

    def score(self, model, batch):
        return {"accuracy": model(batch.image_B1HW).argmax(1) == batch.digit_B}


study = StudySpec(
    name="digits",
    task=Digits(),
    recipe=Recipe(lr=3e-3, batch_size=32),
    space={"recipe.lr": log(3e-4, 3e-2), "task.channels": choose(8, 16, 32), "task.dropout": uniform(0, 0.5)},
    smoke=Fidelity(train=128, val=100, epochs=2),
    cheap=Fidelity(train=400, epochs=6),
    full=Fidelity(epochs=15),
    trials=12,
)
