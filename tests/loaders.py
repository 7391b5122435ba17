"""Tasks over real Datasets and DataLoaders, in a module of their own: worker processes import it."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from hpo.engine.training import fit
from hpo.recipe import Recipe
from hpo.seeds import generator
from hpo.task import Fidelity, Split
from tests.toy import A_OI, INPUTS, NOISE, OUTPUTS, Batch, Toy


class Points(Dataset):
    """The toy's examples, one by one. Training examples are augmented with every global generator that there is."""

    def __init__(self, split: Split, size: int, *, augmented: bool = False) -> None:
        source = generator("toy", split)
        self.x_NI = torch.randn(size, INPUTS, generator=source)
        self.y_NO = self.x_NI @ A_OI.T + NOISE * torch.randn(size, OUTPUTS, generator=source)
        self.augmented = augmented

    def __len__(self) -> int:
        return len(self.x_NI)

    def __getitem__(self, row: int) -> Batch:
        x_I = self.x_NI[row]
        if self.augmented:
            noise_I = (
                torch.randn(INPUTS) + torch.from_numpy(np.random.standard_normal(INPUTS)).float() + random.random()
            )
            x_I = x_I + 0.01 * noise_I
        return Batch(x_I, self.y_NO[row])


class Stream(IterableDataset):
    """The same examples as a stream, which may have no end. Each worker process has a part of it."""

    def __init__(self, split: Split, size: int, *, endless: bool) -> None:
        self.points, self.endless = Points(split, size), endless

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Batch]:
        return (self.points[row % len(self)] for row in (count() if self.endless else range(len(self))))


def plain_process() -> int:
    """The exit code of a process that is started as anybody starts one."""
    process = multiprocessing.Process(target=abs, args=(1,))
    process.start()
    process.join()
    return process.exitcode


@dataclass(frozen=True)
class Loaded(Toy):
    """The toy, served by DataLoaders."""

    workers: int = 0
    augmented: bool = False
    own_generator: bool = True

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        data = Points(split, fidelity.examples(split), augmented=self.augmented and split == "train")
        yield from DataLoader(
            data,
            batch_size,
            shuffle=split == "train",
            generator=rng if self.own_generator else None,
            num_workers=self.workers,
        )


@dataclass(frozen=True)
class Streamed(Toy):
    """The toy as a stream: of the splits that are named, without an end."""

    endless: tuple[str, ...] = ()

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        yield from DataLoader(Stream(split, fidelity.examples(split), endless=split in self.endless), batch_size)


def values(task: Toy, fidelity: Fidelity, folder: Path | None = None, epochs: int | None = None) -> list[float]:
    """The losses and validation scores of a run, of which at most `epochs` epochs are trained now."""
    run = fit(task, Recipe(lr=0.1, batch_size=16), fidelity, seed=3, device="cpu", resume=folder)
    return [number for epoch in islice(run, epochs) for number in (epoch.loss, epoch.value)]
