"""Preflight against data that leak, that fall short, that cannot be read, or that differ between processes; and against
healthy data that look like it.

Every task is a subclass of the toy task. Shape suffixes: B batch, N examples, I inputs, O outputs.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import hpo
from hpo.checking.data import check_splits
from hpo.checking.leaks import Neighbours
from hpo.seeds import generator
from hpo.task import Check, Fidelity, Split
from tests.test_preflight import Spoiled, check, failed, run_preflight
from tests.toy import FULL, INPUTS, Batch, Toy, toy_study


# -- copies of training examples in other splits ---------------------------------------------------------------------
class Rescaled(Spoiled):
    """Validation is training, times 0.999."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        if split != "val":
            return super().examples(split, count, rng)
        x_NI, y_NO = super().examples("train", count, rng)
        return 0.999 * x_NI, y_NO


class Noisy(Spoiled):
    """Training inputs get other noise in every epoch."""

    noise = 0.01

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        return (x_NI + self.noise * torch.randn(x_NI.shape, generator=rng) if split == "train" else x_NI), y_NO


class NoisyLeak(Noisy):
    """Validation lies in training, which noise hides from a comparison bit for bit."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return super().examples(split, count, rng) if split != "val" else Spoiled.examples(self, "train", count, rng)


class Flipped(Spoiled):
    """Half of the training inputs are mirrored, others in every epoch; validation lies in training."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples("train" if split == "val" else split, count, rng)
        if split != "train":
            return x_NI, y_NO
        mirrored = torch.rand(count, 1, generator=rng) < 0.5
        return torch.where(mirrored, x_NI.flip(1), x_NI), y_NO


class DrawnAnew(Spoiled):
    """Every epoch has examples of its own: nobody can see whether validation lies among them."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        return (torch.randn(x_NI.shape, generator=rng) if split == "train" else x_NI), y_NO


class DrawnAnewAndSaid(DrawnAnew):
    """The same, and the task says what its examples come from."""

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        return {split}


@pytest.mark.parametrize(
    ("task", "seen"),
    [
        (Rescaled, "cheap: 64 examples of val are near copies of examples of train"),
        (NoisyLeak, "cheap: 64 examples of val are near copies of examples of train"),
        (Flipped, "cheap: train and val share"),
    ],
)
def test_a_copy_of_a_training_example_is_found_though_it_differs_in_its_bits(task: type[Toy], seen: str) -> None:
    disjoint = _disjoint(task())
    assert disjoint.status == "no-go"
    assert seen in disjoint.seen


def test_where_copies_cannot_be_told_preflight_asks_for_origins() -> None:
    disjoint = _disjoint(DrawnAnew())
    assert disjoint.status == "caution"
    assert "define origins()" in disjoint.look_at
    assert _disjoint(DrawnAnewAndSaid()).status == "go"


class Table(Spoiled):
    """Rows of three whole numbers: those of validation are often equal to some of training, as they are to each
    other."""

    values = 4

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        y_NO = super().examples(split, count, rng)[1]
        digits = torch.randint(self.values, (count, 3), generator=generator("table", split)).float()
        return torch.cat([digits, torch.zeros(count, 3)], 1), y_NO


class Text(Spoiled):
    """Windows of six characters of a text of two letters and spaces."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        y_NO = super().examples(split, count, rng)[1]
        text = torch.randint(3, (count + INPUTS,), generator=generator("text", split)).float()
        return text.unfold(0, INPUTS, 1)[:count].clone(), y_NO


class Groups(Spoiled):
    """Four near copies of each training example, as crops of one photograph are; validation has others."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        return x_NI[::4].repeat_interleave(4, 0)[:count] + 0.001 * x_NI, y_NO


class Images(Spoiled):
    """More numbers than are compared, most of them 0 everywhere."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        return torch.cat([x_NI, torch.zeros(count, 500)], 1), y_NO


LOOKALIKES = (Spoiled, Noisy, Table, Text, Groups, Images)


@pytest.mark.parametrize("task", LOOKALIKES, ids=lambda task: task.__name__)
def test_healthy_splits_raise_no_alarm(task: type[Toy]) -> None:
    disjoint = _disjoint(task())
    assert (disjoint.status, disjoint.seen[:11]) == ("go", "none shared")


@pytest.mark.parametrize("dimensions", [2, 6, 60])
def test_neighbours_of_honest_splits_are_no_copies_and_a_tenth_of_copies_is_found(dimensions: int) -> None:
    """Planted truth, in few dimensions and in many, for forty drawings: nobody is copied; then 30 of 300 are."""
    for seed in range(40):
        rng = torch.Generator().manual_seed(seed)
        train, val = (torch.randn(300, dimensions, generator=rng) for _ in range(2))
        neighbours = Neighbours.among(train)
        assert neighbours.copies(val, neighbours.nearness(None)) == 0
        usual = float(neighbours.own.median())
        val[:30] = train[-30:] + 0.01 * usual / dimensions**0.5 * torch.randn(30, dimensions, generator=rng)
        assert neighbours.copies(val, neighbours.nearness(None)) >= 30


def _disjoint(task: Toy) -> Check:
    return next(made for made in check_splits(toy_study(task=task)) if made.name == "splits disjoint")


# -- less than the fidelities ask for --------------------------------------------------------------------------------
class Limited(Spoiled):
    """A data set with 100 examples a split, whatever is asked for."""

    def order(self, split: Split, count: int, rng: torch.Generator) -> Tensor:
        return super().order(split, min(count, 100), rng)


class Endless(Spoiled):
    """Validation that never ends."""

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        once = list(super().batches(split, fidelity, batch_size, rng))
        return itertools.cycle(once) if split == "val" else iter(once)


class Unreadable(Spoiled):
    """A file of the test split is not there."""

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if split == "test":
            Path("no-such-folder/test.pt").read_bytes()
        return super().batches(split, fidelity, batch_size, rng)


COUNTS = {
    Limited: "train: 100 examples, but the full fidelity has 256 (and 2 more)",
    Endless: "must end after the 64 examples of 'val'",
    Unreadable: "no-such-folder/test.pt'; with the test split of the cheap fidelity",
}


@pytest.mark.parametrize("task", COUNTS, ids=lambda task: task.__name__)
def test_every_split_of_every_fidelity_is_read_before_anything_is_trained(task: type[Toy], tmp_path: Path) -> None:
    result = run_preflight(toy_study(task=task()), tmp_path)
    assert check(result, "data").status == "no-go"
    assert COUNTS[task] in check(result, "data").seen
    assert result.overfit is None


class Counted(Spoiled):
    """Counts how often each split is begun."""

    begun: ClassVar[list[tuple[Split, int]]] = []

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        self.begun.append((split, fidelity.examples(split)))
        return super().batches(split, fidelity, batch_size, rng)

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        return {split}


def test_what_fidelities_share_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[Split, int]] = []
    monkeypatch.setattr(Counted, "begun", begun)
    check_splits(toy_study(task=Counted(), full=replace(FULL, val=64)))
    assert begun == [
        *[("train", 64), ("val", 64), ("test", 64)],
        *[("train", 256), ("test", 200)],
        *[("train", 32), ("val", 32), ("test", 32)],
    ]


# -- where trials run, and other processes ---------------------------------------------------------------------------
@dataclass(frozen=True)
class HereAlone(Spoiled):
    """Can be read in one process alone: what it opens does not reach another."""

    process: int = 0

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if os.getpid() != self.process:
            raise OSError("not here")
        return super().batches(split, fidelity, batch_size, rng)


def test_the_checks_run_where_the_trials_of_a_sweep_would(tmp_path: Path) -> None:
    """With one worker as with more: a sweep trains in a process of its own."""
    result = hpo.preflight(toy_study(task=HereAlone(process=os.getpid())), workers=1, runs=tmp_path)
    assert check(result, "data").seen == "OSError: not here; with the train split of the cheap fidelity"


WORDS = ["apple", "banana", "cherry", "date", "elder", "fig", "grape", "honeydew", "iris", "jasmine"]


class SetOrder(Spoiled):
    """Labels are numbered in the order of a set, which is another one in every process."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        number = {word: index for index, word in enumerate(set(WORDS))}
        classes = torch.tensor([number[WORDS[row % len(WORDS)]] for row in range(count)])
        return x_NI, y_NO + 0.01 * classes[:, None]


def test_labels_numbered_in_the_order_of_a_set_are_named(tmp_path: Path) -> None:
    result = run_preflight(toy_study(task=SetOrder()), tmp_path)
    assert failed(result) == {"every process, same batches"}
    seen = check(result, "every process, same batches").seen
    assert seen == "another process makes other batches: train: y_BO, val: y_BO, test: y_BO"
