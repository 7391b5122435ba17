"""How a model is trained: the settings that all tasks share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """How a model is trained, whatever the task. Searched as `recipe.<field>`. Durations are shares of the run.

    Raises ValueError naming the field, what it allows and what was given.
    """

    lr: float = 1e-3
    batch_size: int = 32
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.05  # share of the steps
    final_lr: float = 0.0  # where the cosine ends, as a factor of lr
    clip: float = 1.0  # largest norm of the whole gradient; infinity: no clipping
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
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
