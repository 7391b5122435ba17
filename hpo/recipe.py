"""How a model is trained: the settings that all tasks share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch

OptimizerName = Literal["adamw", "adam", "nadam", "radam", "adamax", "adagrad", "adafactor", "rmsprop", "sgd", "muon"]
ScheduleName = Literal["cosine", "constant", "linear", "onecycle", "step", "plateau"]

OPTIMIZERS: Mapping[str, str] = {  # their names in torch.optim
    "adamw": "AdamW",
    "adam": "Adam",
    "nadam": "NAdam",
    "radam": "RAdam",
    "adamax": "Adamax",
    "adagrad": "Adagrad",
    "adafactor": "Adafactor",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
    "muon": "Muon",
}
SCHEDULES: tuple[str, ...] = get_args(ScheduleName)


class OnlyWith(NamedTuple):
    """A setting has an effect only where `field` of the recipe has one of these values."""

    field: Literal["optimizer", "schedule"]
    values: tuple[str, ...]


ONLY_WITH: Mapping[str, OnlyWith] = {
    "betas": OnlyWith("optimizer", ("adamw", "adam", "nadam", "radam", "adamax", "muon")),
    "eps": OnlyWith("optimizer", ("adamw", "adam", "nadam", "radam", "adamax", "adagrad", "rmsprop", "muon")),
    "momentum": OnlyWith("optimizer", ("sgd", "rmsprop", "muon")),
    "nesterov": OnlyWith("optimizer", ("sgd",)),
    "final_lr": OnlyWith("schedule", ("cosine", "linear", "onecycle", "step", "plateau")),
    "drop": OnlyWith("schedule", ("step", "plateau")),
    "drop_every": OnlyWith("schedule", ("step",)),
    "drop_patience": OnlyWith("schedule", ("plateau",)),
}


@dataclass(frozen=True)
class Recipe:
    """How a model is trained, whatever the task. Searched as `recipe.<field>`. Durations are shares of the run.

    The optimizers are torch's own. "muon" is Muon for matrices, with its step scaled to that of AdamW, and AdamW for
    all else: embeddings, biases, norms and convolutions. Weight decay is decoupled in adamw, muon and adafactor; the
    others add it to the gradient, as torch does.

    Raises ValueError naming the field, what it allows and what was given.
    """

    lr: float = 1e-3  # the highest that the schedule comes to
    batch_size: int = 32  # examples a step
    optimizer: OptimizerName = "adamw"  # of torch.optim; Task.optimizer makes any other
    weight_decay: float = 1e-4  # how much of the weights a step takes away, times the rate
    decay_norms: bool = True  # False: no weight decay on norms, biases, other vectors, and embeddings
    betas: tuple[float, float] = (0.9, 0.999)  # of the adam family, and of the AdamW beside Muon
    eps: float = 1e-8  # added to a denominator; not in sgd and adafactor
    momentum: float = 0.9  # of sgd, rmsprop and muon
    nesterov: bool = False  # of sgd
    schedule: ScheduleName = "cosine"  # how the rate goes on after the warm-up
    warmup: float = 0.05  # share of the steps; in onecycle that of the rise
    final_lr: float = 0.0  # where the rate ends, or what it does not fall below, as a factor of lr
    drop: float = 0.1  # what step and plateau multiply the rate by
    drop_every: float = 1 / 3  # step: share of the steps after the warm-up from one drop to the next
    drop_patience: int = 3  # plateau: epochs without a better score that are waited for before a drop
    clip: float = 1.0  # largest norm of the whole gradient; infinity: no clipping
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the forward pass; the weights are always fp32
    channels_last: bool = False  # the memory layout of images, which may be faster
    ema: float = 0.0  # decay of the weights' running average, which is then what is scored; 0: off
    patience: int | None = None  # epochs without a better score before the run stops; None: never
    accumulate: int = 1  # pieces that a batch is computed in: same step, less memory

    def __post_init__(self) -> None:
        self._require("lr", _is_finite(self.lr) and self.lr > 0, "a finite number above 0")
        self._require("batch_size", _is_whole(self.batch_size, least=1), "a whole number of at least 1")
        is_decay = _is_finite(self.weight_decay) and self.weight_decay >= 0
        self._require("weight_decay", is_decay, "a finite number of at least 0")
        self._require("betas", _are_betas(self.betas), "two numbers in [0, 1)")
        self._require("warmup", _is_share(self.warmup), "a share of the run, in [0, 1)")
        self._check_optimizer()
        self._check_schedule()
        is_factor = _is_number(self.final_lr) and 0 <= self.final_lr <= 1
        self._require("final_lr", is_factor, "a factor in [0, 1]")
        is_norm = _is_number(self.clip) and self.clip > 0
        self._require("clip", is_norm, "a number above 0 (infinity: no clipping)")
        self._require("precision", self.precision in ("fp32", "bf16", "fp16"), "fp32, bf16 or fp16")
        self._require("ema", _is_share(self.ema), "a number in [0, 1)")
        is_patience = self.patience is None or _is_whole(self.patience, least=1)
        self._require("patience", is_patience, "None or a whole number of at least 1")
        is_count = _is_whole(self.accumulate, least=1) and self.accumulate <= self.batch_size
        self._require("accumulate", is_count, f"a whole number between 1 and batch_size = {self.batch_size}")

    def _check_optimizer(self) -> None:
        self._require("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}")
        name, version = OPTIMIZERS[self.optimizer], torch.__version__
        self._require("optimizer", hasattr(torch.optim, name), f"in this torch, {version}, which has no {name}")
        self._require("decay_norms", isinstance(self.decay_norms, bool), "True or False")
        self._require("eps", _is_finite(self.eps) and self.eps > 0, "a finite number above 0")
        self._require("momentum", _is_share(self.momentum), "a number in [0, 1)")
        self._require("nesterov", isinstance(self.nesterov, bool), "True or False")

    def _check_schedule(self) -> None:
        self._require("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        self._require("drop", _is_share(self.drop) and self.drop > 0, "a factor in (0, 1)")
        is_every = _is_number(self.drop_every) and 0 < self.drop_every <= 1
        self._require("drop_every", is_every, "a share of the run, in (0, 1]")
        self._require("drop_patience", _is_whole(self.drop_patience, least=0), "a whole number of at least 0")

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ValueError(f"recipe.{name} must be {allowed}; got {getattr(self, name)!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and abs(value) < math.inf  # math.isfinite raises for a whole number above all floats


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_whole(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_betas(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_share(beta) for beta in value)
