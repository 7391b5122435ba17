"""How to descend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """How to descend. Shared by all tasks; searched as `recipe.<field>`. Durations are fractions of the run."""

    lr: float = 1e-3
    batch_size: int = 32
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.05  # share of the steps
    final_lr: float = 0.0  # where the cosine ends, as a factor of lr
    clip: float = 1.0  # norm of the whole gradient
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    ema: float = 0.0  # decay of the weights' running average, which is then what is scored; 0: off
    patience: int | None = None  # epochs without a better score before the run stops; None: never
    accumulate: int = 1  # pieces that a batch is computed in: same step, less memory

    def __post_init__(self) -> None:
        _require(self, "lr", _number(self.lr) and 0 < self.lr < math.inf, "a finite number above 0")
        _require(self, "batch_size", _whole(self.batch_size) and self.batch_size >= 1, "a whole number of at least 1")
        decay = self.weight_decay
        _require(self, "weight_decay", _number(decay) and 0 <= decay < math.inf, "a finite number of at least 0")
        _require(
            self,
            "betas",
            isinstance(self.betas, tuple)
            and len(self.betas) == 2
            and all(_number(beta) and 0 <= beta < 1 for beta in self.betas),
            "two numbers in [0, 1)",
        )
        _require(self, "warmup", _number(self.warmup) and 0 <= self.warmup < 1, "a share of the run, in [0, 1)")
        _require(self, "final_lr", _number(self.final_lr) and 0 <= self.final_lr <= 1, "a factor in [0, 1]")
        _require(self, "clip", _number(self.clip) and self.clip > 0, "a number above 0 (infinity: no clipping)")
        _require(self, "precision", self.precision in ("fp32", "bf16", "fp16"), "fp32, bf16 or fp16")
        _require(self, "ema", _number(self.ema) and 0 <= self.ema < 1, "a number in [0, 1)")
        patience, pieces = self.patience, self.accumulate
        _require(
            self,
            "patience",
            patience is None or (_whole(patience) and patience >= 1),
            "None or a whole number of at least 1",
        )
        _require(
            self,
            "accumulate",
            _whole(pieces) and 1 <= pieces <= self.batch_size,
            f"a whole number between 1 and batch_size = {self.batch_size}",
        )


def _require(recipe: Recipe, name: str, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"recipe.{name} must be {allowed}; got {getattr(recipe, name)!r}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
