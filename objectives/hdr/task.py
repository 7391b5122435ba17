"""The task: its hyperparameters, and the wiring of data, model, loss, checks and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from hpo import Chart, Check, Columns, Evidence, Fidelity, Method, Moment, Overfit, Picture, Recipe, Split, Task
from objectives.common.fields import require
from objectives.common.perceptual import BACKENDS, Backend
from objectives.hdr import baseline, data, frames, loss, pictures, splits
from objectives.hdr.checks import NEAR_PERFECT_DB, checks
from objectives.hdr.data import Batch, Examples, mirrored, without_layers
from objectives.hdr.fill import FILLS, Fill
from objectives.hdr.loss import LOG_LOSSES, LogLoss
from objectives.hdr.model import BOUNDS, HARD_CLAMP, SCALE_RANGE, WIDTHS, LogResidualUNet, predict
from objectives.hdr.splits import JUDGING, SCENES, Scenes

OVERFIT_SAMPLES = 4
OVERFIT_SIZE = 64  # pixels a side
REACH_SAMPLES = 32  # training examples in which the reach of the residual is measured
REACH_SIZE = 64  # pixels a side
CHOICES = {
    "bound": tuple(BOUNDS),
    "units": ("local", "patch", "log"),
    "gate": ("full", "single"),
    "input_norm": ("standard", "minmax"),
    "base": FILLS,
    "scenes": SCENES,
    "perceptual": BACKENDS,
}


@dataclass(frozen=True)
class HDR(Task[Batch]):
    """Fill the holes of a frame that was warped from the one before: a bounded residual in the log domain."""

    # the residual
    bound: str = "tanh"  # the function that bounds it: tanh, softsign or clamp
    alpha: float = 1.0  # the cap is alpha x abs_max, a factor of e^6 = 403 on the light
    abs_max: float = 6.0
    learn_scale: bool = False  # the scale is learned, and starts at the cap
    units: Literal["local", "patch", "log"] = (
        "local"  # of the output: contrast around the pixel, contrast of the patch, or 1
    )
    ring_scale: float = 0.5  # share of it that is added in the ring around a hole
    ring_kernel: int = 3  # the ring is (ring_kernel - 1) / 2 pixels wide
    # the network
    width: int = 12  # channels at full size
    depth: int = 3  # levels
    gate: Literal["full", "single"] = "full"
    input_norm: Literal["standard", "minmax"] = "standard"  # of the log of each patch
    # the loss
    log_weight: float = 2.0
    log_loss: LogLoss = "huber"
    huber_delta: float = 0.2  # natural logarithms of light
    hole_weight: float = 5.0
    edge_weight: float = 0.5
    wide_weight: float = 1.0  # on residuals beyond 6: without effect up to that cap, so it is not searched
    perceptual_weight: float = 0.0
    perceptual: Backend = "pged"  # "stlpips" needs its weights; neither replaces the other silently
    # the descent
    beta2: float | None = None  # of AdamW's second moment; None: that of the recipe
    # the data
    base: Fill = "layered"  # the method that fills holes before the network
    flip: bool = True  # mirror half of the training examples across, and half of them down
    layers_absent: float = 0.5  # share of the training examples whose layers and motion are hidden from the network
    scenes: Scenes = "both"  # half of the frames composed and half a path tracer's, or all of one kind
    fold: int = 0  # which of the groups of panoramas is the test split
    data: str | None = None  # a folder of the user's own frames

    goal: ClassVar[str] = "score"
    direction: ClassVar[Literal["minimize", "maximize"]] = "maximize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = (
        "warped_B3SS",
        "hole_B1SS",
        "occluder_B1SS",
        "motion_B2SS",
        "base_log_B3SS",
        "plain_log_B3SS",
    )
    labels: ClassVar[tuple[str, ...]] = ("target_B3SS",)
    cluster: ClassVar[str | None] = "source_B"
    folds: ClassVar[int] = len(JUDGING)

    def __post_init__(self) -> None:
        low, high = SCALE_RANGE
        require(
            "alpha x task.abs_max",
            low <= self.cap <= high,
            f"{low:g} to {high:g}: beyond the clamp at {HARD_CLAMP:g} there is no gradient",
            self.cap,
        )
        for name, choices in CHOICES.items():
            require(name, getattr(self, name) in choices, f"one of {', '.join(choices)}", getattr(self, name))
        require(
            "log_loss",
            self.log_loss in LOG_LOSSES,
            f"one of {', '.join(LOG_LOSSES)} (a KL divergence compares distributions; a residual is not one)",
            self.log_loss,
        )
        require("layers_absent", 0 <= self.layers_absent <= 1, "0 to 1", self.layers_absent)
        require("fold", self.fold in range(len(JUDGING)), f"0 to {len(JUDGING) - 1}", self.fold)
        require("depth", 2 <= self.depth <= len(WIDTHS), f"2 to {len(WIDTHS)}", self.depth)
        require("width", self.width >= 4 and self.width % 4 == 0, "a multiple of 4", self.width)
        require("ring_kernel", self.ring_kernel >= 1 and self.ring_kernel % 2 == 1, "odd", self.ring_kernel)
        require("beta2", self.beta2 is None or 0 <= self.beta2 < 1, "in [0, 1), or None", self.beta2)
        require("huber_delta", self.huber_delta > 0, "above 0", self.huber_delta)
        for name in ("log_weight", "hole_weight", "edge_weight", "wide_weight", "perceptual_weight", "ring_scale"):
            require(name, getattr(self, name) >= 0, "at least 0", getattr(self, name))

    @property
    def cap(self) -> float:
        """The bound of the log residual; e^cap is the largest factor on the light."""
        return self.alpha * self.abs_max

    @property
    def overfit(self) -> Overfit:  # type: ignore[override]  # a class attribute elsewhere; here it depends on the data
        """Four patches, to be learned 8 dB better than their fill, or nearly perfectly."""
        batch = self._examples("train", OVERFIT_SIZE, OVERFIT_SAMPLES).batch()
        fill = torch.exp(batch.base_log_B3SS) - data.EPS
        base_db = float(loss.light_scores(fill, *loss.score_references(batch))["psnr_mu_hole"].mean())
        return Overfit(
            measure="psnr_mu_hole",
            go=min(base_db + 8, NEAR_PERFECT_DB),
            caution=min(base_db + 5, NEAR_PERFECT_DB - 3),
            samples=OVERFIT_SAMPLES,
            epochs=120,
            size=OVERFIT_SIZE,
            pinned={
                "recipe.lr": 5e-3,
                "recipe.weight_decay": 0.0,
                "recipe.batch_size": OVERFIT_SAMPLES,
                "task.flip": False,
                "task.layers_absent": 0.0,
            },
        )

    # -- data ----------------------------------------------------------------------------------------------------
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        examples = self._examples(split, fidelity.size, fidelity.examples(split))
        count = len(examples.hole)
        order = torch.randperm(count, generator=rng) if split == "train" else torch.arange(count)
        for rows in order.split(batch_size):
            batch = examples.batch(rows)
            if split == "train":
                batch = without_layers(batch, torch.rand(len(rows), generator=rng) < self.layers_absent)
            if split == "train" and self.flip:
                batch = mirrored(mirrored(batch, 0, rng), 1, rng)
            yield batch

    def files(self) -> list[Path]:
        return [] if self.data is None else [Path(self.data)]

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        return splits.origins(split, fold=self.fold, folder=self.data)

    def _examples(self, split: Split, size: int, count: int) -> Examples:
        return splits.examples(split, size, count, scenes=self.scenes, fold=self.fold, base=self.base, folder=self.data)

    # -- model and loss ------------------------------------------------------------------------------------------
    def model(self) -> nn.Module:
        return LogResidualUNet(
            self.width,
            self.depth,
            bound=self.bound,
            cap=self.cap,
            learn_scale=self.learn_scale,
            units=self.units,
            gate=self.gate,
            input_norm=self.input_norm,
            ring_kernel=self.ring_kernel,
            ring_scale=self.ring_scale,
            eps=data.EPS,
        )

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        weights = loss.Weights(
            log=self.log_weight,
            edge=self.edge_weight,
            wide=self.wide_weight,
            perceptual=self.perceptual_weight,
            hole=self.hole_weight,
            log_loss=self.log_loss,
            huber_delta=self.huber_delta,
        )
        out = predict(model, batch)
        return loss.terms(out, batch.hole_B1SS, batch.target_B3SS, weights, self.perceptual)

    def optimizer(self, groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer | None:
        if self.beta2 is None:
            return None
        if recipe.optimizer != "adamw":
            raise ValueError(f"task.beta2 needs recipe.optimizer = 'adamw'; got {recipe.optimizer!r}")
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.betas[0], self.beta2), eps=recipe.eps)

    def project(self, model: nn.Module) -> None:
        cast(LogResidualUNet, model).project()

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return loss.model_scores(model, batch)

    def metrics(self, columns: Columns) -> Mapping[str, float]:
        return loss.measured_means(columns)

    def baselines(self, fidelity: Fidelity) -> Mapping[str, Method[Batch]]:
        return baseline.rivals()

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        return pictures.drawn(model, list(batches), base=self.base, cap=self.cap)

    def checks(self, evidence: Evidence) -> list[Check]:
        sequence = frames.read_sequence(self.data) if self.data else None
        return checks(evidence, unreachable=self.unreachable(), cap=self.cap, sequence=sequence)

    def unreachable(self) -> float:
        """Share of pixels in the training holes whose residual would have to exceed the cap."""
        examples = self._examples("train", REACH_SIZE, REACH_SAMPLES)
        needed = (data.log_light(examples.target) - examples.base_log).abs()
        return float((needed[examples.hole.expand_as(needed)] > self.cap).float().mean())
