"""Toy tasks that command-line tests write into study files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpo.task import Check, Evidence, Fidelity, Moment, Split
from tests.toy import Batch, Toy

__all__ = ["Doubting", "Either", "Hopeless", "Ignorant", "Reader", "Seeded", "Unreadable", "Upward"]


class Unreadable(Toy):
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        raise ZeroDivisionError("the disk is round")


class Hopeless(Toy):
    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        raise ValueError("nothing can be learned here")


class Ignorant(Toy):
    """A loss that does not look at the labels."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return {"mse": (model(batch.x_BI) + self.shift).square().mean()}


class Doubting(Toy):
    def checks(self, evidence: Evidence) -> list[Check]:
        return [Check("weights", "caution", "large", "small"), Check("bias", "go", "small", "small")]


class Either(Toy):
    """The toy under another name, to be compared with itself upside down."""


class Upward(Toy):
    direction = "maximize"


@dataclass(frozen=True)
class Reader(Toy):
    """Could read the user's data."""

    data: str | None = None


@dataclass(frozen=True)
class Seeded(Toy):
    """Data of a seed."""

    seed: int = 0

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        for batch in super().batches(split, fidelity, batch_size, rng):
            yield batch._replace(y_BO=batch.y_BO + 0.01 * self.seed)
