"""A training script as it was, with its loop and its checkpoint: one function became a method that yields."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_diabetes
from torch import nn

from hpo import Fidelity, OwnEpoch, OwnTraining, StudySpec, choose, log

FIRST = {"train": 0, "val": 240, "test": 340}


@dataclass(frozen=True)
class Script(OwnTraining):
    width: int = 16
    rate: float = 1e-2
    goal, direction = "rmse", "minimize"

    def rows(self, split, fidelity):
        x, y = (torch.tensor(array).float() for array in load_diabetes(return_X_y=True))
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[FIRST[split] :]
        return 20 * x[rows[: fidelity.examples(split)]], y[rows[: fidelity.examples(split)]] / 100

    def train(self, recipe, fidelity, seed, folder):
        torch.manual_seed(seed % 2**32)
        model = nn.Sequential(nn.Linear(10, self.width), nn.Tanh(), nn.Linear(self.width, 1))
        optimizer, first, saved = torch.optim.Adam(model.parameters(), self.rate), 0, folder / "last.pt"
        if saved.exists():
            state = torch.load(saved)
            first = state["epoch"] + 1
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        x, y = self.rows("train", fidelity)
        for epoch in range(first, fidelity.epochs):
            for rows in torch.randperm(len(x), generator=torch.Generator().manual_seed(seed + epoch)).split(16):
                loss = (model(x[rows])[:, 0] - y[rows]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield OwnEpoch(
                epoch,
                validation=self.columns(model, "val", fidelity),
                test=lambda: self.columns(model, "test", fidelity),
                export=lambda folder: torch.save(model.state_dict(), folder / "model.pt"),
                loss=loss.item(),
            )
            state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, saved)  # after the epoch was taken: at most this one is trained again

    @torch.no_grad()
    def columns(self, model, split, fidelity):
        x, y = self.rows(split, fidelity)
        return {"squared": (100 * (model(x)[:, 0] - y)) ** 2}

    def metrics(self, columns):
        return {"rmse": columns["squared"].mean().sqrt()}


study = StudySpec(
    name="plain_loop",
    task=Script(),
    space={"task.rate": log(1e-4, 1e-1), "task.width": choose(4, 16, 64)},
    smoke=Fidelity(size=10, train=64, val=64, epochs=2),
    cheap=Fidelity(size=10, train=120, val=100, epochs=6),
    full=Fidelity(size=10, train=240, val=100, epochs=30, test=102),
    trials=12,
)
