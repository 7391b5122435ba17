"""Does a point belong to the inner or to the outer circle? A task, and a study that searches its hyperparameters.

It works as it stands. Put your own data, model, loss and score in the places of these, one after the other, and keep
test_starter.py passing. What each method has to promise is said in the docstrings of hpo.Task.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hpo import (
    Columns,
    Fidelity,
    Method,
    Moment,
    Overfit,
    Recipe,
    Split,
    StudySpec,
    Task,
    generator,
    integer,
    log,
)

RADII, NOISE = (1.0, 2.0), 0.3


class Batch(NamedTuple):
    """Tensors whose first dimension B is the example."""

    x_BI: Tensor  # points in the plane
    y_B: Tensor  # 1.0 where a point belongs to the outer circle, else 0.0


@dataclass(frozen=True)
class Starter(Task[Batch]):
    """What is learned, and how it is judged. The fields are the hyperparameters; their defaults are tried first."""

    width: int = 32
    layers: int = 2

    goal = "error"  # the score that is optimised
    direction = "minimize"
    bounds = {"error": (0, 1)}  # what a score cannot leave
    size_unit = "coordinates"  # what Fidelity.size counts
    inputs, labels = ("x_BI",), ("y_B",)  # what the model may see, and what it may not
    overfit = Overfit(go=0.1, caution=0.2, measure="error", samples=256, epochs=60)

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        """One pass over a split: always the same examples, those of "train" in an order that `rng` draws."""
        count, source = fidelity.examples(split), generator("starter", split)
        y_N = torch.randint(2, (count,), generator=source).float()
        angle_N = 2 * torch.pi * torch.rand(count, generator=source)
        radius_N = torch.tensor(RADII)[y_N.long()] + NOISE * torch.randn(count, generator=source)
        x_NI = torch.stack([radius_N * angle_N.cos(), radius_N * angle_N.sin()], dim=1)
        order = torch.randperm(count, generator=rng) if split == "train" else torch.arange(count)
        for rows in torch.split(order, batch_size):
            yield Batch(x_NI[rows], y_N[rows])

    def model(self) -> nn.Module:
        """A fresh model."""
        widths = [2, *[self.width] * self.layers]
        hidden = [layer for ends in pairwise(widths) for layer in (nn.Linear(*ends), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(self.width, 1))

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        """The terms whose sum is minimised."""
        return {"bce": nn.functional.binary_cross_entropy_with_logits(model(batch.x_BI)[:, 0], batch.y_B)}

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        """What each example came to. The mean of a column is the score of its name."""
        return {"error": (model(batch.x_BI)[:, 0] > 0) != (batch.y_B > 0.5)}

    def baselines(self, fidelity: Fidelity) -> Mapping[str, Method[Batch]]:
        """Classical methods that the model has to beat, judged on the same examples."""
        return {"a circle between the two": beyond_a_circle}


def beyond_a_circle(batch: Batch) -> Columns:
    """Who knows how the points are drawn needs no network."""
    return {"error": (batch.x_BI.norm(dim=1) > sum(RADII) / 2) != (batch.y_B > 0.5)}


study = StudySpec(
    name="starter",
    task=Starter(),
    recipe=Recipe(lr=1e-2, batch_size=16),
    space={"recipe.lr": log(1e-3, 1e-1), "task.width": integer(8, 64, step=8), "task.layers": integer(1, 3)},
    smoke=Fidelity(size=2, train=64, val=64, epochs=2),  # shows in seconds that everything works: --smoke
    cheap=Fidelity(size=2, train=256, val=256, epochs=10),  # what the sweep searches at
    full=Fidelity(size=2, train=1024, val=512, epochs=30, test=1024),  # what the best are trained at again
    trials=16,
)
