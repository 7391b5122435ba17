"""A LightningModule, fitted an epoch at a time by its own Trainer: hpo searches, Lightning trains."""

from dataclasses import dataclass

import pytorch_lightning as lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hpo import Fidelity, OwnEpoch, OwnTraining, StudySpec, choose, log

FIRST = {"train": 0, "val": 900, "test": 1300}
digits = load_digits()


class Digits(lightning.LightningModule):
    def __init__(self, width: int, rate: float):
        super().__init__()
        self.rate, self.net = rate, nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def training_step(self, batch):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


@dataclass(frozen=True)
class LightningDigits(OwnTraining):
    width: int = 32
    rate: float = 1e-3
    goal, direction, bounds = "accuracy", "maximize", {"accuracy": (0, 1)}

    def rows(self, split, fidelity):
        rows = slice(FIRST[split], FIRST[split] + fidelity.examples(split))
        return TensorDataset(torch.tensor(digits.data[rows] / 16).float(), torch.tensor(digits.target[rows]))

    def train(self, recipe, fidelity, seed, folder):
        lightning.seed_everything(seed % 2**32, verbose=False)
        module, loader = Digits(self.width, self.rate), DataLoader(self.rows("train", fidelity), 32, shuffle=True)
        trainer = lightning.Trainer(
            max_epochs=0,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        for epoch in range(fidelity.epochs):
            trainer.fit_loop.max_epochs = epoch + 1
            trainer.fit(module, loader)
            yield OwnEpoch(
                epoch,
                validation=self.columns(module, "val", fidelity),
                test=lambda: self.columns(module, "test", fidelity),
                export=lambda folder: trainer.save_checkpoint(folder / "model.ckpt"),
            )

    @torch.no_grad()
    def columns(self, module, split, fidelity):
        x, y = self.rows(split, fidelity).tensors
        return {"accuracy": module.net(x).argmax(1) == y}


study = StudySpec(
    name="lightning_digits",
    task=LightningDigits(),
    space={"task.rate": log(1e-4, 1e-1), "task.width": choose(8, 32, 128)},
    smoke=Fidelity(size=8, train=64, val=64, epochs=2),
    cheap=Fidelity(size=8, train=300, val=400, epochs=5),
    full=Fidelity(size=8, train=900, val=400, epochs=15, test=497),
    trials=12,
)
