"""The task: its hyperparameters, the stages of a run, and the wiring of data, model, loss, checks and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from hpo import Check, Columns, Evidence, Fidelity, Held, Method, Moment, Overfit, Picture, Split, Task
from objectives.common.fields import require
from objectives.common.perceptual import BACKENDS, Backend
from objectives.lowlight import baseline, data, loss, pictures
from objectives.lowlight.checks import checks
from objectives.lowlight.data import Batch, Examples
from objectives.lowlight.model import CurveBlendNet
from objectives.lowlight.pairs import Pairing
from objectives.lowlight.pictures import View
from objectives.lowlight.scenes import TEST

GROUPS = ("curve", "mask")  # parameter groups with the names of their modules; all others learn at the common rate


@dataclass(frozen=True)
class LowLight(Task[Batch]):
    """Brighten a dark, noisy picture so that it matches the same view in good light."""

    # the network
    width: int = 16  # channels of the curve estimator
    restore_width: int = 16  # half the channels of the outermost layers of the restoring network
    iterations: int = 8  # of the curve
    attention: bool = True  # in the restoring network, in windows of 8 x 8 at a quarter of the size
    dither: float = 0.0  # standard deviation of noise on the mask in training
    identity_clamp: float = 0.15  # the largest distance of the colour matrix from the identity
    # the three stages
    stage1: float = 0.25  # share of the epochs
    stage3: float = 0.20
    ramp_share: float = 0.33  # of stage 2, in which its new terms rise
    mask_frozen: float = 0.15  # share of the epochs in which the mask is frozen, from the start of stage 2
    mask_lr: float = 2e-5  # constant learning rate of the mask after that
    curve_lr: float = 2.0  # learning-rate factor of the curve estimator
    # the loss
    ssim_factor: float = 1.0
    edge_factor: float = 1.0
    color_factor: float = 1.0  # of both colour terms
    perceptual_weight: float = 0.06  # in stage 3
    perceptual: Backend = "pged"  # "stlpips" needs its weights; neither replaces the other silently
    # the data
    flip: bool = True  # mirror half of the training examples
    pool: int = 16  # each epoch draws its crops from so many times as many, or from as many as all epochs would take
    fold: int = 0  # the scenes that are tested on, by number
    data: str | None = None  # a folder of the user's own pairs
    pairing: Pairing = "flexible"

    goal: ClassVar[str] = "score"
    direction: ClassVar[Literal["minimize", "maximize"]] = "maximize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = ("low_B3SS",)
    labels: ClassVar[tuple[str, ...]] = ("high_B3SS",)
    cluster: ClassVar[str | None] = "scene_B"
    overfit: ClassVar[Overfit] = Overfit(
        measure="psnr_db",
        go=26.0,
        caution=22.0,
        samples=4,
        epochs=100,
        size=64,  # 8 dB untrained, 31 when learned
        pinned={
            "recipe.lr": 3e-3,
            "recipe.weight_decay": 0.0,
            "recipe.batch_size": 2,
            "task.stage1": 1.0,
            "task.stage3": 0.0,
            "task.color_factor": 0.0,
            "task.flip": False,
        },
    )

    def __post_init__(self) -> None:
        require(
            "stage1, stage3",
            min(self.stage1, self.stage3) >= 0 and self.stage1 + self.stage3 <= 1,
            "shares that sum to at most 1",
            (self.stage1, self.stage3),
        )
        for name in ("ramp_share", "mask_frozen"):
            require(name, 0 <= getattr(self, name) <= 1, "a share, in [0, 1]", getattr(self, name))
        for name in ("width", "restore_width", "iterations", "pool"):
            require(name, getattr(self, name) >= 1, "at least 1", getattr(self, name))
        for name in (
            "dither",
            "identity_clamp",
            "curve_lr",
            "ssim_factor",
            "edge_factor",
            "color_factor",
            "perceptual_weight",
        ):
            require(name, getattr(self, name) >= 0, "at least 0", getattr(self, name))
        require("mask_lr", self.mask_lr > 0, "above 0", self.mask_lr)
        require("perceptual", self.perceptual in BACKENDS, f"one of {', '.join(BACKENDS)}", self.perceptual)

    # -- data ----------------------------------------------------------------------------------------------------
    @property
    def folds(self) -> int:  # type: ignore[override]  # the data decides: a user's folder has one test split
        """How many test splits there are, which the runs of a promotion take in turn."""
        return 1 if self.data else len(TEST)

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        count = fidelity.examples(split)
        if split == "train":
            crops = self._examples(split, fidelity.size, count * min(self.pool, fidelity.epochs))
            order = torch.randperm(crops.count, generator=rng)[:count]
        else:
            crops = self._examples(split, fidelity.size, count)
            order = torch.arange(count)
        for rows in order.split(batch_size):
            batch = crops.batch(rows.tolist())
            yield data.mirrored(batch, rng) if split == "train" and self.flip else batch

    def files(self) -> list[Path]:
        return [] if self.data is None else [Path(self.data)]

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        return data.origins(split, fold=self.fold, folder=self.data, pairing=self.pairing)

    def _examples(self, split: Split, size: int, count: int) -> Examples:
        return data.examples(split, size, count, fold=self.fold, folder=self.data, pairing=self.pairing)

    # -- model and loss ------------------------------------------------------------------------------------------
    def model(self) -> nn.Module:
        return CurveBlendNet(
            self.width, self.restore_width, self.iterations, attention=self.attention, dither=self.dither
        )

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        groups: dict[str, list[nn.Parameter]] = {name: [] for name in (*GROUPS, "rest")}
        for name, parameter in model.named_parameters():
            module = name.split(".")[0]
            groups[module if module in GROUPS else "rest"].append(parameter)
        return groups

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return {"curve": self.curve_lr, "mask": self.mask_rate(at.epoch, at.epochs)}

    def mask_rate(self, epoch: int, epochs: int) -> float | Held:
        """Learning rate of the mask: the common one in stage 1, 0 from the start of stage 2, and then `mask_lr`."""
        freeze = self.edges(epochs)[0]
        thaw = freeze + max(1, round(self.mask_frozen * epochs))
        if epoch < freeze:
            return 1.0
        if epoch < thaw:
            return 0.0
        return Held(self.mask_lr)

    def edges(self, epochs: int) -> tuple[int, int]:
        """The epochs at which stages 2 and 3 begin."""
        second_start = round(self.stage1 * epochs)
        third_start = max(second_start, epochs - round(self.stage3 * epochs))
        return second_start, third_start

    def weights(self, epoch: int, epochs: int) -> dict[str, float]:
        """The weights of the loss terms at an epoch."""
        factors = {"ssim": self.ssim_factor, "edge": self.edge_factor, "color": self.color_factor}
        first, second, third = (loss.multiplied(stage, **factors) for stage in loss.STAGES)
        third["perceptual"] = self.perceptual_weight
        return loss.weights_at(epoch, self.edges(epochs), epochs, (first, second, third), self.ramp_share)

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        out = model(batch.low_B3SS)
        weights = self.weights(at.epoch, at.epochs)
        return loss.terms(out.enhanced_B3HW, batch.high_B3SS, out.mask_B1HW, weights, self.perceptual)

    def project(self, model: nn.Module) -> None:
        cast(CurveBlendNet, model).project(self.identity_clamp)

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return loss.model_scores(model, batch, self.perceptual)

    def metrics(self, columns: Columns) -> Mapping[str, float]:
        return loss.finite_means(columns)

    def baselines(self, fidelity: Fidelity) -> Mapping[str, Method[Batch]]:
        return baseline.methods(self.perceptual)

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture]:
        batches = list(batches)
        rival = baseline.best_shown(self.perceptual, batches)
        return pictures.drawn(model, list(self._views(batches)), rival, baseline.SHOWN[rival])

    def _views(self, batches: Sequence[Batch]) -> Iterator[View]:
        """Whole views of the scenes that the batches were cut from."""
        if self.data:
            return pictures.views_of_pairs(data.split_pairs(self.data, self.pairing).test)
        numbers = torch.cat([batch.scene_B for batch in batches]).unique().tolist()
        return pictures.views_of_scenes(numbers)

    def checks(self, evidence: Evidence) -> list[Check]:
        pairs = data.split_pairs(self.data, self.pairing) if self.data else None
        return checks(evidence, pairs)
