"""The task: what is searched, how photographs, critics and splits fit together, and what is looked at afterwards.

No network is trained: the "weights" are raw noise and warps, a set for each photograph, and an epoch is a few steps of
them all. So a run's train split *is* its photographs, seen through the critic that is attacked; val and test are those
photographs seen through the judge, a critic that no step has ever looked at. What a sweep learns is settings: it holds
the photographs of val alone, and a promotion those of test besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hpo.direction import Direction
from hpo.task import Chart, Check, Evidence, Fidelity, Held, Moment, Overfit, Picture, Split, Task
from objectives.cloak import baseline, data, loss
from objectives.cloak.checks import checks
from objectives.cloak.data import Batch, Part, Photographs
from objectives.cloak.encoders import calibration, check_name, critic, identity_of
from objectives.cloak.loss import Weights
from objectives.cloak.model import GRID, NOISE, Cloak
from objectives.common.fields import require
from objectives.common.perceptual import BACKENDS, Backend


@dataclass(frozen=True)
class Cloaking(Task[Batch]):
    """Change one's own photograph, hardly visibly, so that encoders no longer match it with the original."""

    # how to descend: recipe.lr is 1, and these are the rates of Adam on the raw parameters
    noise_lr: float = 0.1
    grid_lr: float = 0.05
    # weights
    identity_weight: float = 5.0
    visible_weight: float = 40.0
    rough_weight: float = 0.02
    vertical_weight: float = 0.5  # of the warp across lines of the face; 0: none
    margin: float = 0.0  # cosine below which a photograph is left alone; 0.35 is about the matching threshold
    # form
    grid: int = 12  # points a side of the warp
    start: float = 0.2  # raw noise begins uniform in +- this
    textured: bool = False  # noise mostly where the photograph is rough
    centred: bool = False  # warp only around the middle
    anchoring: float = 0.8  # how closely, in [0, 1]
    handled: bool = False  # descend on photographs that were shrunk and made noisy at random
    # the visibility budget: policy, not searched
    noise_limit: float = 0.05
    warp_limit: float = 0.03  # of half a side: 1.5 % of the side
    visible_limit: float = 0.05
    # who looks
    critic: str = "tinyface"  # attacked; or siglip:DIR
    judge: str = "tinyface-wide"  # judges, and is never attacked
    perceptual: Backend = "pged"  # "stlpips" where its weights are installed; never swapped for one another
    # how many photographs a run holds: pinned by each fidelity, see `tier`
    size: int = 96
    val_photos: int = 8
    test_photos: int = 0
    data: str | None = None  # a folder of the user's own photographs

    goal: ClassVar[str] = "exposure"
    direction: ClassVar[Direction] = "minimize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = ("photo_B3SS",)
    labels: ClassVar[tuple[str, ...]] = ("reference_B3SS",)
    overfit: ClassVar[Overfit] = Overfit(  # with the visible change let loose; another's photograph is still too far
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
            found = self.photographs(split, fidelity.examples(split))
            yield from (data.batch_of(found, rows, first) for rows in torch.arange(len(found.names)).split(batch_size))
            return
        held = self.held()
        order = torch.randperm(len(held.names), generator=rng)  # one order an epoch, so that none comes twice in a row
        rounds = -(-fidelity.train // len(order))
        yield from (data.batch_of(held, rows, 0) for rows in order.repeat(rounds)[: fidelity.train].split(batch_size))

    def photographs(self, split: Part, count: int) -> Photographs:
        """`count` photographs of val or test."""
        if self.data is None:
            return data.shipped(split, self.size, count)
        return data.own(self.data, split, self.size, count)

    def held(self) -> Photographs:
        """All photographs that the model holds, by their numbers in it: those of val, then those of test."""
        parts = [self.photographs("val", self.val_photos)]
        if self.test_photos:
            parts.append(self.photographs("test", self.test_photos))
        return Photographs(
            torch.cat([part.rgb_N3SS for part in parts]),
            sum((part.names for part in parts), ()),
            sum((part.origins for part in parts), ()),
        )

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        """Photograph and critic together. A photograph is changed for itself alone, so what must not be shared is the
        critic, between descending and judging; and, between val and test, the photograph."""
        found = self.held() if split == "train" else self.photographs(split, fidelity.examples(split))
        looks = identity_of(self.critic if split == "train" else self.judge)
        return {f"{origin} {looks}" for origin in found.origins}

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
        return {NOISE: list(model.noise), GRID: list(model.grid)}

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return {NOISE: self.noise_lr, GRID: self.grid_lr}

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        attacked = critic(self.critic, batch.photo_B3SS.device)
        with torch.no_grad():
            identity = attacked.embed(batch.reference_B3SS)
            unit = loss.unit_distance(self.perceptual, batch.reference_B3SS)
        made = model(batch.photo_B3SS, batch.number_B)
        image = loss.roughly_handled(made.image_B3SS) if self.handled else made.image_B3SS
        matched = loss.match(attacked, image, identity)
        seen = loss.visible_change(self.perceptual, made.image_B3SS, batch.reference_B3SS, unit)
        return loss.terms(made, matched, seen, self.weights)

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
        model.project()

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        parts = []
        for batch in batches:
            made = model(batch.photo_B3SS, batch.number_B)
            parts.append(
                self.image_scores(made.image_B3SS, batch)
                | loss.change_scores(made, self.noise_limit, model.raw_max(batch.number_B))
            )
        return loss.mean_scores(parts)

    def image_scores(self, image: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Scores of each photograph, [B], whoever made it."""
        where = batch.photo_B3SS.device
        return loss.image_scores(
            image,
            batch,
            critic=critic(self.critic, where),
            judge=critic(self.judge, where),
            backend=self.perceptual,
            threshold=calibration(self.judge).match_threshold,
            visible_limit=self.visible_limit,
        )

    def baselines(self, batches: Iterable[Batch]) -> dict[str, dict[str, float]]:
        batches = list(batches)
        return {
            name: loss.mean_scores([self._scored(method, batch) for batch in batches])
            for name, method in self._methods().items()
        }

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        from objectives.cloak.pictures import pictures  # brings plotly, which no trial needs

        return pictures(self, model, list(batches), self._methods())

    def checks(self, evidence: Evidence) -> list[Check]:
        return checks(self, evidence)

    def _methods(self) -> dict[str, baseline.Method]:
        def visible(image_3SS: Tensor, photo_3SS: Tensor) -> float:
            unit = loss.unit_distance(self.perceptual, photo_3SS[None])
            return float(loss.visible_change(self.perceptual, image_3SS[None], photo_3SS[None], unit))

        return baseline.methods(self.noise_limit, self.warp_limit, visible, self.visible_limit)

    def _scored(self, method: baseline.Method, batch: Batch) -> dict[str, Tensor]:
        return self.image_scores(torch.stack([method(photo) for photo in batch.photo_B3SS]), batch)

    def _check_tier(self, fidelity: Fidelity) -> None:
        if fidelity.size != self.size or fidelity.val > self.val_photos:
            raise ValueError(
                f"cloak: a fidelity must be made by objectives.cloak.tier(), which pins task.size and "
                f"task.val_photos; got size {fidelity.size} and val {fidelity.val} for a task with "
                f"{self.size} and {self.val_photos}"
            )


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
    """A fidelity of `steps` steps for each photograph, scored after each of `epochs` equal parts of them.

    A run holds the `val` photographs, and with `test` those too; `batch` of them at a time, which changes how much
    memory it takes and nothing else. Raises ValueError where epochs does not divide steps.
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
