"""Toy tasks that command-line tests write into study files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hpo.task import Check, Evidence, Fidelity, Method, Moment, Split
from tests.toy import Batch, Toy

__all__ = [
    "Bracketed",
    "Doubting",
    "Either",
    "Hopeless",
    "Ignorant",
    "QuitsReading",
    "Quitting",
    "Reader",
    "Refusing",
    "Seeded",
    "Talkative",
    "Unreadable",
    "Upward",
]


class Unreadable(Toy):
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        raise ZeroDivisionError("the disk is round")


@dataclass(frozen=True)
class Quitting(Toy):
    """Leaves when its model is asked for."""

    by: str = "SystemExit"

    def model(self) -> nn.Module:
        raise {"SystemExit": SystemExit, "GeneratorExit": GeneratorExit, "KeyboardInterrupt": KeyboardInterrupt}[
            self.by
        ]


class QuitsReading(Toy):
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        sys.exit()


class Talkative(Toy):
    """Prints, once from Python and once as C does."""

    def model(self) -> nn.Module:
        print("a model is made")
        os.write(1, b"a model is made in C\n")
        return super().model()


class Bracketed(Toy):
    """Has names that rich would take for markup."""

    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        zero = super().baselines(fidelity)["zero"]
        return {"mean [/of train]": zero, "[red]:warning:": zero}

    def checks(self, evidence: Evidence) -> list[Check]:
        return [Check("range [/0, 1]", "caution", "[bold]2", "[0, 1]", "[link]")]


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


class Refusing(Toy):
    """Demands of what is exported what nothing can be."""

    def checks(self, evidence: Evidence) -> list[Check]:
        return [Check("weights", "no-go" if evidence.stage == "promotion" else "go", "large", "small")]


class Either(Toy):
    """The toy under another name, to be compared with itself upside down."""


class Upward(Toy):
    direction = "maximize"
    overfit = replace(Toy.overfit, go=0.3, caution=0.05)


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
