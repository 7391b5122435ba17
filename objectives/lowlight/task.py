"""The task: what is searched, how a run is staged, and what is looked at afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hpo.task import REFERENCE, Check, Evidence, Fidelity, Held, Moment, Overfit, Picture, Split, Task
from objectives.common.colour import as_float, as_uint8, linear_from_srgb, luma
from objectives.common.fields import require
from objectives.common.perceptual import BACKENDS, Backend
from objectives.lowlight import baseline, data, loss
from objectives.lowlight.checks import checks
from objectives.lowlight.data import Batch
from objectives.lowlight.model import CurveBlendNet, Enhanced
from objectives.lowlight.pairs import Pairing

GROUPS = ("curve", "mask")  # parameter groups by the module's name; all others learn at the common rate


@dataclass(frozen=True)
class LowLight(Task[Batch]):
    """Brighten a dark, noisy picture so that it matches the same view in good light."""

    # the network
    width: int = 16  # channels of the curve estimator
    restore_width: int = 16  # half the channels of the restoring network's outermost layers
    iterations: int = 8  # of the curve
    attention: bool = True  # in the restoring network, in windows of 8 x 8 at a quarter of the size
    dither: float = 0.0  # standard deviation of noise on the mask in training
    identity_clamp: float = 0.15  # how far the colour matrix may go from the identity
    # the three stages
    stage1: float = 0.25  # share of the epochs
    stage3: float = 0.20
    ramp_share: float = 0.33  # of stage 2, in which its new terms rise
    mask_frozen: float = 0.15  # share of the epochs that the mask rests, from the start of stage 2
    mask_lr: float = 2e-5  # of the mask ever after, constant
    curve_lr: float = 2.0  # learning-rate factor of the curve estimator
    # the loss
    ssim_factor: float = 1.0
    edge_factor: float = 1.0
    color_factor: float = 1.0  # of both colour terms
    perceptual_weight: float = 0.06  # in stage 3
    perceptual: Backend = "pged"  # "stlpips" where its weights are installed; never swapped for one another
    # the data
    flip: bool = True  # mirror half of the training examples
    fold: int = 0  # which photographs are held out
    data: str | None = None  # a folder of the user's own pairs
    pairing: Pairing = "flexible"

    goal: ClassVar[str] = "score"
    direction: ClassVar[str] = "maximize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = ("low_B3SS",)
    labels: ClassVar[tuple[str, ...]] = ("high_B3SS",)
    overfit: ClassVar[Overfit] = Overfit(
        measure="psnr_db",
        go=26.0,
        caution=22.0,
        samples=4,
        epochs=100,
        size=64,  # 8 dB untrained, 31 by heart
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
        for name in ("width", "restore_width", "iterations"):
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
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        examples = self._examples(split, fidelity.size, fidelity.examples(split))
        count = len(examples.low_N3SS)
        order = torch.randperm(count, generator=rng) if split == "train" else torch.arange(count)
        for rows in order.split(batch_size):
            low, high = as_float(examples.low_N3SS[rows]), as_float(examples.high_N3SS[rows])
            if split == "train" and self.flip:
                mirrored = (torch.rand(len(rows), generator=rng) < 0.5).view(-1, 1, 1, 1)
                low, high = (torch.where(mirrored, x.flip(-1), x) for x in (low, high))
            yield Batch(low, high)

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        return data.origins(split, fold=self.fold, folder=self.data, pairing=self.pairing)

    def _examples(self, split: Split, size: int, count: int) -> data.Examples:
        return data.examples(split, size, count, fold=self.fold, folder=self.data, pairing=self.pairing)

    # -- model and loss ------------------------------------------------------------------------------------------
    def model(self) -> nn.Module:
        return CurveBlendNet(
            self.width, self.restore_width, self.iterations, attention=self.attention, dither=self.dither
        )

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        split: dict[str, list[nn.Parameter]] = {name: [] for name in (*GROUPS, "rest")}
        for name, parameter in model.named_parameters():
            split[name.split(".")[0] if name.startswith(GROUPS) else "rest"].append(parameter)
        return split

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return {"curve": self.curve_lr, "mask": self.mask_rate(at.epoch, at.epochs)}

    def mask_rate(self, epoch: int, epochs: int) -> float | Held:
        """The mask learns with the others in stage 1, rests from the start of stage 2, and then goes on at `mask_lr`,
        held: decided by the epoch alone, so nothing is switched twice."""
        start = self.edges(epochs)[0]
        if epoch < start:
            return 1.0
        return 0.0 if epoch < start + max(1, round(self.mask_frozen * epochs)) else Held(self.mask_lr)

    def edges(self, epochs: int) -> tuple[int, int]:
        """The epochs at which stages 2 and 3 begin."""
        second = round(self.stage1 * epochs)
        return second, max(second, epochs - round(self.stage3 * epochs))

    def weights(self, epoch: int, epochs: int) -> dict[str, float]:
        """Of the loss terms at an epoch."""
        factors = {"ssim": self.ssim_factor, "edge": self.edge_factor, "color": self.color_factor}
        first, second, third = (loss.multiplied(stage, **factors) for stage in loss.STAGES)
        third["perceptual"] = self.perceptual_weight
        return loss.weights_at(epoch, self.edges(epochs), epochs, (first, second, third), self.ramp_share)

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        out = model(batch.low_B3SS)
        weights = self.weights(at.epoch, at.epochs)
        return loss.terms(out.enhanced_B3HW, batch.high_B3SS, out.mask_B1HW, weights, self.perceptual)

    def project(self, model: nn.Module) -> None:
        model.project(self.identity_clamp)

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        parts = []
        for batch in batches:
            out = model(batch.low_B3SS)
            scores = loss.image_scores(out.enhanced_B3HW, batch.high_B3SS, self.perceptual)
            parts.append(scores | health(out))
        return loss.mean_scores(parts)

    def baselines(self, batches: Iterable[Batch]) -> dict[str, dict[str, float]]:
        batches = list(batches)
        return {
            name: loss.mean_scores([self._scored(method, batch) for batch in batches])
            for name, method in self._methods().items()
        }

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture]:
        batches = list(batches)
        scored = self.baselines(batches)
        rivals = [name for name in scored if not name.endswith(REFERENCE)]
        best = max(rivals, key=lambda name: scored[name]["score"])
        low, high = (torch.cat([batch[field] for batch in batches]).cpu() for field in range(2))
        for row in torch.linspace(0, len(low) - 1, min(6, len(low))).round().int().unique().tolist():
            device = next(model.parameters()).device
            ours = model(low[row : row + 1].to(device)).enhanced_B3HW[0].float().cpu()
            classical = self._methods()[best](low[row], high[row])
            panels = {"input": low[row], best: classical, "network": ours, "target": high[row]}
            quality = {
                name: loss.image_scores(panel[None], high[row][None], "pged")["psnr_db"].item()
                for name, panel in panels.items()
                if name != "target"
            }
            yield Picture(
                f"Low light, example {row}",
                {name: _pixels(panel) for name, panel in panels.items()},
                ", ".join(f"{name} {value:.1f} dB" for name, value in quality.items()),
            )

    def checks(self, evidence: Evidence) -> list[Check]:
        found = data.split_pairs(self.data, self.pairing) if self.data else None
        return checks(evidence, found)

    def _methods(self) -> Mapping[str, baseline.Method]:
        high = as_float(self._examples("train", 64, 64).high_N3SS)
        return baseline.methods(float(high.mean()), float(luma(linear_from_srgb(high)).mean()))

    def _scored(self, method: baseline.Method, batch: Batch) -> dict[str, Tensor]:
        low, high = batch.low_B3SS.cpu(), batch.high_B3SS.cpu()
        made = torch.stack([method(*pair) for pair in zip(low, high, strict=True)])
        return loss.image_scores(made, high, self.perceptual)


def health(out: Enhanced) -> dict[str, Tensor]:
    """Signs of a network that has collapsed, of each picture, [B]."""
    return {
        "output_std": out.enhanced_B3HW.float().flatten(1).std(1),
        "alpha": out.alpha_BAHW.float().abs().mean((1, 2, 3)),
        "mask": out.mask_B1HW.float().mean((1, 2, 3)),
    }


def _pixels(rgb_3HW: Tensor):
    return as_uint8(rgb_3HW).permute(1, 2, 0).numpy()
