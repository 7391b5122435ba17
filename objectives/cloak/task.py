"""The task: its hyperparameters, and how photographs, encoders, splits, loss, checks and pictures fit together.

No network is trained: the "weights" are raw noise and warps, a set for each photograph, and an epoch is a few steps on
each of them. The train split *is* the photographs of the run, and its loss uses the critic, the encoder that is
attacked. Val and test are the same photographs, scored by the judge, an encoder that no step uses. A sweep holds the
photographs of val alone; a promotion also holds those of test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from hpo import Chart, Check, Columns, Evidence, Fidelity, Held, Method, Moment, Overfit, Picture, Split, Task
from objectives.cloak import baseline, data, loss
from objectives.cloak.checks import Bounds, EncoderState, Setup, checks
from objectives.cloak.data import Batch, Part, Photographs
from objectives.cloak.encoders import calibration, check_name, critic, encoder_identity
from objectives.cloak.loss import Weights
from objectives.cloak.model import GRID, NOISE, Cloak
from objectives.common.fields import require
from objectives.common.perceptual import BACKENDS, Backend


@dataclass(frozen=True)
class Cloaking(Task[Batch]):
    """Change one's own photograph hardly visibly, so that encoders no longer match it with the original."""

    # learning rates of Adam on the raw parameters; recipe.lr is 1
    noise_lr: float = 0.1
    grid_lr: float = 0.05
    # weights of the loss
    identity_weight: float = 5.0
    visible_weight: float = 40.0
    rough_weight: float = 0.02
    vertical_weight: float = 0.5  # of the vertical part of the warp
    margin: float = 0.0  # cosine below which the identity term is 0; 0.35 is about the matching threshold
    # form of the change
    grid: int = 12  # grid points a side of the warp
    start: float = 0.2  # raw noise begins uniform in +- this
    textured: bool = False  # noise mostly where the photograph has texture
    centred: bool = False  # warp only around the middle
    anchoring: float = 0.8  # how narrow that region is, in [0, 1]
    handled: bool = False  # the loss sees photographs that were shrunk and made noisy at random
    # the visibility budget: policy, not searched
    noise_limit: float = 0.05
    warp_limit: float = 0.03  # of half a side: 1.5 % of the side
    visible_limit: float = 0.05
    # encoders and perceptual distance
    critic: str = "tinyface"  # the encoder that is attacked; or siglip:DIR
    judge: str = "tinyface-wide"  # the encoder that scores; never attacked
    perceptual: Backend = "pged"  # or "stlpips" where its weights are installed; neither replaces the other
    # size and number of the photographs that a run holds: each fidelity pins them, see `tier`
    size: int = 96
    val_photos: int = 8
    test_photos: int = 0
    data: str | None = None  # a folder of the user's own photographs

    goal: ClassVar[str] = "exposure"
    direction: ClassVar[Literal["minimize", "maximize"]] = "minimize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = ("photo_B3SS",)
    labels: ClassVar[tuple[str, ...]] = ("reference_B3SS",)
    cluster: ClassVar[str | None] = "photograph_B"
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"exposure": (0.0, math.inf)}
    # A visible change up to 0.8 leaves room to learn, but not to become another photograph.
    overfit: ClassVar[Overfit] = Overfit(
        measure="match_in_limit",
        go=0.45,
        caution=0.65,
        samples=4,
        epochs=30,
        size=96,
        pinned={
            "task.size": 96,
            "task.val_photos": 4,
            "task.test_photos": 0,
            "task.perceptual": "pged",
            "task.visible_limit": 0.8,
            "task.visible_weight": 0.0,
            "task.rough_weight": 0.0,
            "task.vertical_weight": 0.0,
            "recipe.batch_size": 4,
        },
    )

    def __post_init__(self) -> None:
        for name in ("noise_lr", "grid_lr", "noise_limit", "warp_limit", "visible_limit", "start"):
            require(name, getattr(self, name) > 0, "above 0", getattr(self, name))
        for name in ("identity_weight", "visible_weight", "rough_weight", "vertical_weight"):
            require(name, getattr(self, name) >= 0, "at least 0", getattr(self, name))
        for name in ("margin", "anchoring"):
            require(name, 0 <= getattr(self, name) <= 1, "in [0, 1]", getattr(self, name))
        require("grid", self.grid >= 2, "at least 2", self.grid)
        require("perceptual", self.perceptual in BACKENDS, f"one of {', '.join(BACKENDS)}", self.perceptual)
        for name in (self.critic, self.judge):
            check_name(name)

    # -- data ----------------------------------------------------------------------------------------------------
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        self._check_tier(fidelity)
        if split != "train":
            first = 0 if split == "val" else self.val_photos
            photographs = self.photographs(split, fidelity.examples(split))
            for rows in torch.arange(len(photographs.names)).split(batch_size):
                yield data.make_batch(photographs, rows, first)
            return
        held = self.held()
        order = torch.randperm(len(held.names), generator=rng)  # one order an epoch, so no batch has a photograph twice
        examples = fidelity.examples("train")
        rounds = -(-examples // len(order))
        for rows in order.repeat(rounds)[:examples].split(batch_size):
            yield data.make_batch(held, rows, 0)

    def photographs(self, split: Part, count: int) -> Photographs:
        """`count` photographs of val or test."""
        if self.data is None:
            return data.load_shipped(split, self.size, count)
        return data.load_own(self.data, split, self.size, count)

    def held(self) -> Photographs:
        """All photographs that the model holds, in the order of their numbers: those of val, then those of test."""
        parts = [self.photographs("val", self.val_photos)]
        if self.test_photos:
            parts.append(self.photographs("test", self.test_photos))
        return Photographs(
            torch.cat([part.rgb_N3SS for part in parts]),
            tuple(name for part in parts for name in part.names),
            tuple(origin for part in parts for origin in part.origins),
        )

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        """Photograph and encoder together.

        Each photograph is changed on its own. So training and scoring must not share the encoder, and val and test must
        not share a photograph.
        """
        if split == "train":
            photographs, encoder = self.held(), encoder_identity(self.critic)
        else:
            photographs = self.photographs(split, fidelity.examples(split))
            encoder = encoder_identity(self.judge)
        return {f"{origin} {encoder}" for origin in photographs.origins}

    # -- model and loss ------------------------------------------------------------------------------------------
    def model(self) -> nn.Module:
        return Cloak(
            self.val_photos + self.test_photos,
            self.size,
            grid=self.grid,
            noise_limit=self.noise_limit,
            warp_limit=self.warp_limit,
            start=self.start,
            textured=self.textured,
            centred=self.centred,
            anchoring=self.anchoring,
        )

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        cloak = cast(Cloak, model)
        return {NOISE: list(cloak.noise), GRID: list(cloak.grid)}

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return {NOISE: self.noise_lr, GRID: self.grid_lr}

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        attacked = critic(self.critic, batch.photo_B3SS.device)
        with torch.no_grad():
            identity = attacked.embed(batch.reference_B3SS)
            unit = loss.unit_distance(self.perceptual, batch.reference_B3SS)
        cloaked = model(batch.photo_B3SS, batch.number_B)
        image = loss.degrade(cloaked.image_B3SS) if self.handled else cloaked.image_B3SS
        match_B = loss.match(attacked, image, identity)
        visible_B = loss.visible_change(self.perceptual, cloaked.image_B3SS, batch.reference_B3SS, unit)
        return loss.terms(cloaked, match_B, visible_B, self.weights)

    @property
    def weights(self) -> Weights:
        return Weights(
            self.identity_weight,
            self.visible_weight,
            self.rough_weight,
            self.vertical_weight,
            self.margin,
            self.visible_limit,
            self.noise_limit,
            self.warp_limit,
        )

    def project(self, model: nn.Module) -> None:
        cast(Cloak, model).project()

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batch: Batch) -> Columns:
        cloak = cast(Cloak, model)
        cloaked = cloak(batch.photo_B3SS, batch.number_B)
        of_change = loss.change_scores(cloaked, self.noise_limit, cloak.raw_max(batch.number_B))
        return self.image_scores(cloaked.image_B3SS, batch) | of_change

    def metrics(self, columns: Columns) -> Mapping[str, float]:
        return loss.means_and_maxima(columns)

    def image_scores(self, image: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Scores of each photograph, [B], by whatever method it was changed."""
        device = batch.photo_B3SS.device
        return loss.image_scores(
            image,
            batch,
            critic=critic(self.critic, device),
            judge=critic(self.judge, device),
            backend=self.perceptual,
            threshold=calibration(self.judge).match_threshold,
            visible_limit=self.visible_limit,
        )

    def baselines(self, fidelity: Fidelity) -> Mapping[str, Method[Batch]]:
        return {name: partial(self._scored, method) for name, method in self.methods().items()}

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        from objectives.cloak.pictures import RIVAL, Judgement, pictures  # imports plotly, which no trial needs

        judgement = Judgement(
            self.image_scores,
            self.judge,
            calibration(self.judge).match_threshold,
            self.perceptual,
            self.visible_limit,
        )
        return pictures(model, list(batches), self.methods()[RIVAL], judgement)

    def checks(self, evidence: Evidence) -> list[Check]:
        setup = Setup(
            critic=_encoder_state("critic", self.critic),
            judge=_encoder_state("judge", self.judge),
            bounds=Bounds(self.noise_limit, self.warp_limit, self.visible_limit, self.perceptual),
            first_gradients=replace(self, size=48, val_photos=2, test_photos=0).first_gradients(),
            own_photographs=None if self.data is None else self.held().origins,
        )
        return checks(setup, evidence)

    def first_gradients(self) -> dict[str, float]:
        """The gradient's norm at the first step on the photographs of val, by parameter group."""
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            model = self.model()
            batch = data.make_batch(self.photographs("val", self.val_photos), torch.arange(self.val_photos), 0)
            torch.stack(list(self.loss(model, batch, Moment(0, 1, 0, 1)).values())).sum().backward()
        return {name: _gradient_norm(parameters) for name, parameters in self.groups(model).items()}

    def methods(self) -> dict[str, baseline.Method]:
        """Changes that use no encoder, by name."""

        def visible(image_3SS: Tensor, photo_3SS: Tensor) -> float:
            unit = loss.unit_distance(self.perceptual, photo_3SS[None])
            return float(loss.visible_change(self.perceptual, image_3SS[None], photo_3SS[None], unit))

        return baseline.methods(self.noise_limit, self.warp_limit, visible, self.visible_limit)

    def _scored(self, method: baseline.Method, batch: Batch) -> dict[str, Tensor]:
        return self.image_scores(torch.stack([method(photo) for photo in batch.photo_B3SS]), batch)

    def _check_tier(self, fidelity: Fidelity) -> None:
        if fidelity.size != self.size or fidelity.examples("val") > self.val_photos:
            raise ValueError(
                f"cloak: a fidelity must be made by objectives.cloak.tier(), which pins task.size and "
                f"task.val_photos; got size {fidelity.size} and val {fidelity.val} for a task with "
                f"{self.size} and {self.val_photos}"
            )


def _encoder_state(role: str, name: str) -> EncoderState:
    return EncoderState(role, name, encoder_identity(name), calibration(name), critic(name).untouched())


def _gradient_norm(parameters: Sequence[nn.Parameter]) -> float:
    norms = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def tier(
    *,
    size: int,
    val: int,
    steps: int,
    epochs: int,
    test: int = 0,
    batch: int = 8,
    pinned: Mapping[str, Any] | None = None,
) -> Fidelity:
    """A fidelity of `steps` steps for each photograph in `epochs` epochs.

    A run holds `val` photographs of val and `test` of test. It steps on `batch` of them at a time, which changes only
    how much memory it takes. Raises ValueError where epochs does not divide steps.
    """
    if steps % epochs:
        raise ValueError(f"cloak: steps must be a multiple of epochs; got {steps} and {epochs}")
    held = val + test
    fixed = {"task.size": size, "task.val_photos": val, "task.test_photos": test, "recipe.batch_size": min(batch, held)}
    return Fidelity(
        size=size,
        train=held * (steps // epochs),
        val=val,
        test=test or val,
        epochs=epochs,
        fixed=fixed | dict(pinned or {}),
    )
