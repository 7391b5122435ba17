"""Tasks over real Datasets and DataLoaders, in a module of their own: worker processes import it."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from hpo.engine.training import fit
from hpo.recipe import Recipe
from hpo.seeds import generator
from hpo.task import Columns, Fidelity, Moment, Overfit, Split, means
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


WORDS = 31  # of which 0 is padding


class Sentences(NamedTuple):
    """A batch as text comes: names first, padded words of two lengths a batch, a mask, ragged parts, and a label."""

    name_B: list[str]
    words: dict[str, Tensor]  # "ids" [B, T], "mask" [B, T]
    parts: Tensor  # nested: [B, t, 1]
    weights_B: list[Tensor]  # of any length
    note: None
    label_B: Tensor  # int64


@dataclass(frozen=True)
class Bags(Toy):
    """Which of three kinds of words a sentence has most of: a bag of words, padded batch by batch."""

    inputs = ("words",)
    labels = ("label_B",)
    goal = "error"
    overfit = Overfit(go=0.05, caution=0.2, measure="error", samples=64, epochs=30, pinned={"recipe.lr": 0.1})

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Sentences]:
        source = generator("bags", split)
        lengths = torch.randint(7, 20, (fidelity.examples(split),), generator=source).tolist()
        sentences = [torch.randint(1, WORDS, (length,), generator=source) for length in lengths]
        yield from DataLoader(
            list(enumerate(sentences)),
            batch_size,
            shuffle=split == "train",
            generator=rng,
            collate_fn=padded,
        )

    def model(self) -> nn.Module:
        return nn.EmbeddingBag(WORDS, 3, mode="mean", padding_idx=0)

    def logits(self, model: nn.Module, batch: Sentences) -> Tensor:
        assert batch.words["ids"].shape == batch.words["mask"].shape
        assert len(batch.name_B) == len(batch.words["ids"]) == len(batch.weights_B) == batch.parts.size(0)
        return model(batch.words["ids"])

    def loss(self, model: nn.Module, batch: Sentences, at: Moment) -> dict[str, Tensor]:
        return {"nll": nn.functional.cross_entropy(self.logits(model, batch), batch.label_B)}

    def score(self, model: nn.Module, batch: Sentences) -> Columns:
        return {"error": self.logits(model, batch).argmax(1) != batch.label_B}

    def metrics(self, columns: Columns) -> dict[str, float]:
        return means(columns)

    def baselines(self, fidelity: Fidelity) -> dict:
        return {}


def padded(rows: list[tuple[int, Tensor]]) -> Sentences:
    """Sentences of different lengths as one batch."""
    ids = nn.utils.rnn.pad_sequence([words for _, words in rows], batch_first=True)
    counts = torch.stack([(words % 3).bincount(minlength=3) for _, words in rows])
    return Sentences(
        name_B=[f"sentence {number}" for number, _ in rows],
        words={"ids": ids, "mask": ids > 0},
        parts=torch.nested.nested_tensor([words[:, None].float() for _, words in rows], layout=torch.jagged),
        weights_B=[torch.ones(len(words)) for _, words in rows],
        note=None,
        label_B=counts.argmax(1),
    )


def values(
    task: Toy, fidelity: Fidelity, folder: Path | None = None, epochs: int | None = None, **recipe
) -> list[float]:
    """The losses and validation scores of a run, of which at most `epochs` epochs are trained now."""
    run = fit(task, Recipe(**{"lr": 0.1, "batch_size": 16, **recipe}), fidelity, seed=3, device="cpu", resume=folder)
    return [number for epoch in islice(run, epochs) for number in (epoch.loss, epoch.value)]
