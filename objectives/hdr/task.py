"""The task: what is searched, what is learned from, and what is looked at afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from hpo.task import Chart, Check, Evidence, Fidelity, Moment, Overfit, Picture, Split, Task
from objectives.common.fields import require
from objectives.common.perceptual import BACKENDS, Backend
from objectives.hdr import baseline, data, frames, loss, pictures
from objectives.hdr.checks import NEAR_PERFECT_DB, checks
from objectives.hdr.data import Batch
from objectives.hdr.fill import FILLS, Fill
from objectives.hdr.loss import LOG_LOSSES, LogLoss
from objectives.hdr.model import BOUNDS, HARD_CLAMP, SCALE_RANGE, WIDTHS, Filled, LogResidualUNet

PROOF_SAMPLES, PROOF_SIZE = 4, 64  # what is learned by heart
UNITS, NORMS, GATES = ("local", "patch", "log"), ("standard", "minmax"), ("full", "single")


@dataclass(frozen=True)
class HDR(Task[Batch]):
    """Fill the holes of a frame that was warped from the one before: a bounded residual in the log domain."""

    # the residual
    bound: str = "tanh"  # what bounds it: tanh, softsign or clamp
    alpha: float = 1.0  # the cap is alpha x abs_max, a factor of e^6 = 403 on the light
    abs_max: float = 6.0
    learn_scale: bool = False  # the cap is where a learnable scale begins, instead of fixed
    units: Literal["local", "patch", "log"] = "local"  # of the output: contrast around the pixel, of the patch, or 1
    ring_scale: float = 0.5  # how much of it is added in the ring around a hole
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
    wide_weight: float = 1.0  # on residuals beyond 6: nothing below that cap, so it is not searched
    perceptual_weight: float = 0.0
    perceptual: Backend = "pged"  # "stlpips" where its weights are installed; never swapped for one another
    # the data
    base: Fill = "harmonic"  # how holes are filled before the network sees them
    flip: bool = True  # mirror training examples, across and down, half of the time each
    data: str | None = None  # a folder of the user's own frames

    goal: ClassVar[str] = "score"
    direction: ClassVar[str] = "maximize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = ("warped_B3SS", "hole_B1SS", "occluder_B1SS", "motion_B2SS", "base_log_B3SS")
    labels: ClassVar[tuple[str, ...]] = ("target_B3SS",)

    def __post_init__(self) -> None:
        low, high = SCALE_RANGE
        require(
            "alpha x task.abs_max",
            low <= self.cap <= high,
            f"{low:g} to {high:g}: beyond the clamp at {HARD_CLAMP:g} there is no gradient",
            self.cap,
        )
        for name, choices in (
            ("bound", tuple(BOUNDS)),
            ("units", UNITS),
            ("gate", GATES),
            ("input_norm", NORMS),
            ("base", FILLS),
            ("perceptual", BACKENDS),
        ):
            require(name, getattr(self, name) in choices, f"one of {', '.join(choices)}", getattr(self, name))
        require(
            "log_loss",
            self.log_loss in LOG_LOSSES,
            f"one of {', '.join(LOG_LOSSES)} (a KL divergence compares distributions, and a residual is none)",
            self.log_loss,
        )
        require("depth", 2 <= self.depth <= len(WIDTHS), f"2 to {len(WIDTHS)}", self.depth)
        require("width", self.width >= 4 and self.width % 4 == 0, "a multiple of 4", self.width)
        require("ring_kernel", self.ring_kernel >= 1 and self.ring_kernel % 2 == 1, "odd", self.ring_kernel)
        require("huber_delta", self.huber_delta > 0, "above 0", self.huber_delta)
        for name in ("log_weight", "hole_weight", "edge_weight", "wide_weight", "perceptual_weight", "ring_scale"):
            require(name, getattr(self, name) >= 0, "at least 0", getattr(self, name))

    @property
    def cap(self) -> float:
        """What the log residual is bounded by; e^cap is the largest factor on the light."""
        return self.alpha * self.abs_max

    @property
    def overfit(self) -> Overfit:
        """Four patches, 8 dB better than they are filled before the network sees them, or nearly perfect."""
        first = Batch(*(field.float() for field in self._examples("train", PROOF_SIZE, PROOF_SAMPLES)))
        filled = torch.exp(first.base_log_B3SS) - data.EPS
        base_db = float(loss.light_scores(filled, *judged_by(first))["psnr_mu_hole"].mean())
        return Overfit(
            measure="psnr_mu_hole",
            go=min(base_db + 8, NEAR_PERFECT_DB),
            caution=min(base_db + 5, NEAR_PERFECT_DB - 3),
            samples=PROOF_SAMPLES,
            epochs=120,
            size=PROOF_SIZE,
            pinned={
                "recipe.lr": 5e-3,
                "recipe.weight_decay": 0.0,
                "recipe.batch_size": PROOF_SAMPLES,
                "task.flip": False,
            },
        )

    # -- data ----------------------------------------------------------------------------------------------------
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        examples = self._examples(split, fidelity.size, fidelity.examples(split))
        count = len(examples.hole)
        order = torch.randperm(count, generator=rng) if split == "train" else torch.arange(count)
        for rows in order.split(batch_size):
            batch = Batch(*(field[rows].float() for field in examples))
            if split == "train" and self.flip:
                batch = mirrored(mirrored(batch, 0, rng), 1, rng)
            yield batch

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        return data.origins(split, folder=self.data)

    def _examples(self, split: Split, size: int, count: int) -> data.Examples:
        return data.examples(split, size, count, base=self.base, folder=self.data)

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
        out = predicted(model, batch)
        return loss.terms(out, batch.base_log_B3SS, batch.hole_B1SS, batch.target_B3SS, weights, self.perceptual)

    def project(self, model: nn.Module) -> None:
        model.project()

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        parts = []
        for batch in batches:
            out = predicted(model, batch)
            of = judged_by(batch)
            parts.append(loss.light_scores(out.light_B3HW, *of) | loss.health(out, *of, model.scale))
        return loss.mean_scores(parts)

    def baselines(self, batches: Iterable[Batch]) -> dict[str, dict[str, float]]:
        batches = [Batch(*(field.cpu() for field in batch)) for batch in batches]
        return {
            name: loss.mean_scores(
                [loss.light_scores(baseline.filled_light(method, batch), *judged_by(batch)) for batch in batches]
            )
            for name, method in baseline.methods().items()
        }

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        return pictures.drawn(self, model, list(batches))

    def checks(self, evidence: Evidence) -> list[Check]:
        found = str(frames.sequence(self.data)) if self.data else None
        return checks(evidence, self.unreachable(), self.cap, found)

    def unreachable(self) -> float:
        """Share of pixels in the holes of 64 training examples whose residual would have to exceed the cap."""
        examples = self._examples("train", 64, 64)
        needed = (data.log_light(examples.target) - examples.base_log).abs()
        return float((needed[examples.hole.expand_as(needed)] > self.cap).float().mean())


def predicted(model: nn.Module, batch: Batch) -> Filled:
    """What the model makes of a batch's inputs; it is never shown the target."""
    return model(batch.warped_B3SS, batch.hole_B1SS, batch.occluder_B1SS, batch.motion_B2SS, batch.base_log_B3SS)


def judged_by(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Holes, the filled picture and the target, as the scores take them."""
    return batch.hole_B1SS, batch.base_log_B3SS, batch.target_B3SS


def mirrored(batch: Batch, axis: int, rng: torch.Generator) -> Batch:
    """Half of the examples mirrored, across (0) or down (1), and their motion along that axis with them."""
    chosen = (torch.rand(len(batch[0]), generator=rng) < 0.5).view(-1, 1, 1, 1)
    turned = Batch(*(torch.where(chosen, field.flip(-1 - axis), field) for field in batch))
    sign = torch.ones(len(chosen), 2, 1, 1)
    sign[:, axis] = torch.where(chosen[:, 0], -1.0, 1.0)
    return turned._replace(motion_B2SS=turned.motion_B2SS * sign)
