"""Scores that are no mean of examples, each with a world to measure it in.

A world draws the columns of some examples from three normal numbers an example, which its caller correlates as it
likes: between runs, between configurations. `luck` is what a training seed adds; at 0 the score has its true value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from hpo.task import Columns
from tests.toy import Toy


class Auc(Toy):
    goal = "auc"
    direction = "maximize"

    def metrics(self, columns: Columns) -> dict[str, float]:
        """The rank-sum form, Mann and Whitney 1947."""
        rank_N = columns["said"].argsort().argsort().double() + 1
        ill = columns["is_ill"].double()
        pairs = ill.sum() * (1 - ill).sum()
        return {"auc": float(((rank_N * ill).sum() - ill.sum() * (ill.sum() + 1) / 2) / pairs)}


class Perplexity(Toy):
    goal = "perplexity"

    def metrics(self, columns: Columns) -> dict[str, Tensor]:
        return {"perplexity": (columns["nll"].sum() / columns["tokens"].sum()).exp()}


class Rmse(Toy):
    goal = "rmse"

    def metrics(self, columns: Columns) -> dict[str, Tensor]:
        return {"rmse": columns["squared"].mean().sqrt()}


class MacroF1(Toy):
    goal = "f1"
    direction = "maximize"

    def metrics(self, columns: Columns) -> dict[str, float]:
        counts = torch.bincount(5 * columns["digit"] + columns["said"], minlength=25).reshape(5, 5).double()
        return {"f1": float((2 * counts.diag() / (counts.sum(0) + counts.sum(1))).mean())}


class MedianError(Toy):
    goal = "median"

    def metrics(self, columns: Columns) -> dict[str, Tensor]:
        return {"median": columns["error"].median()}


@dataclass(frozen=True)
class Examples:
    """What is the same for every model: a label and a size of each example, as numbers between 0 and 1."""

    label_N: np.ndarray
    size_N: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, count: int) -> Examples:
        return cls(rng.random(count), rng.random(count))


World = Callable[[Examples, np.ndarray, float], Columns]  # examples, a model's errors [N] ~ N(0, 1), luck -> columns


def _auc(examples: Examples, errors_N: np.ndarray, luck: float) -> Columns:
    ill_N = examples.label_N < 0.4
    return {"is_ill": torch.tensor(ill_N), "said": torch.tensor(errors_N + (1 + luck) * ill_N)}


def _perplexity(examples: Examples, errors_N: np.ndarray, luck: float) -> Columns:
    tokens_N = np.floor(5 + 55 * examples.size_N)
    return {"tokens": torch.tensor(tokens_N), "nll": torch.tensor(tokens_N * (2.5 + luck + 0.4 * errors_N))}


def _rmse(examples: Examples, errors_N: np.ndarray, luck: float) -> Columns:
    return {"squared": torch.tensor(((1 + luck) * errors_N) ** 2)}


def _f1(examples: Examples, errors_N: np.ndarray, luck: float) -> Columns:
    digit_N = np.floor(5 * examples.label_N).astype(int)
    wrong_N = special.ndtr(errors_N) < 0.2 + luck
    return {"digit": torch.tensor(digit_N), "said": torch.tensor(np.where(wrong_N, (digit_N + 1) % 5, digit_N))}


def _median(examples: Examples, errors_N: np.ndarray, luck: float) -> Columns:
    return {"error": torch.tensor(-(1 + luck) * special.log_ndtr(errors_N))}  # exponential


MEASURES: dict[str, tuple[Toy, World]] = {
    "auc": (Auc(), _auc),
    "perplexity": (Perplexity(), _perplexity),
    "rmse": (Rmse(), _rmse),
    "f1": (MacroF1(), _f1),
    "median": (MedianError(), _median),
}
