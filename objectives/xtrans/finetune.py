"""Fine-tuning on patterns that demosaicers get wrong, without forgetting photographs.

A parent network goes on learning from a mixture of crops, the sharpest crops, and patterns. Patterns alone make it
forget photographs. How much a mixture forgets is measured against the parent on the same tiles, and costs 2 dB for each
dB beyond the first 0.3.

Goal: the mean of psnr_srgb on photographs and torture_psnr, less that penalty. By psnr_srgb alone the best run would be
one that never saw a pattern.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from hpo import Check, Columns, Evidence, Fidelity, Held, Moment, Overfit, Split
from objectives.xtrans import data, loss, parent, spectrum
from objectives.xtrans.data import Batch, Crop, model_inputs
from objectives.xtrans.loss import Demosaic
from objectives.xtrans.scenes import Scene, load_scenes
from objectives.xtrans.task import XTrans

MIXTURES = ("100/0/0", "90/0/10", "80/15/5", "0/0/100")  # percent of crops, sharpest crops, patterns
CANDIDATES = 4  # crops of which the sharpest is taken
FORGIVEN_DB, PENALTY = 0.3, 2.0
MAX_GRID_RISE_DB = 2.0
PARENT = "parent"


@dataclass(frozen=True)
class FineTune(XTrans):
    """Train an existing network further: gain on patterns, keep photographs."""

    patterns: float = 0.0  # the mixture says how many
    mixture: str = "90/0/10"
    l2sp: float = 0.0  # weight of the squared distance from the parent's weights (Li et al. 2018)
    rest: int = 0  # how many of the first convolutions keep the parent's weights
    parent: str | None = None  # an exported winner's folder; None: a parent is trained here, once
    parent_train: int = 1600  # crops an epoch of the parent's training
    parent_seed: int = 0

    goal: ClassVar[str] = "score"
    overfit: ClassVar[Overfit] = replace(
        XTrans.overfit, pinned={**XTrans.overfit.pinned, "task.mixture": "100/0/0", "task.l2sp": 0.0, "task.rest": 0}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mixture not in MIXTURES:
            raise ValueError(f"task.mixture must be one of {', '.join(MIXTURES)}; got {self.mixture!r}")
        for name in ("l2sp", "rest"):
            if getattr(self, name) < 0:
                raise ValueError(f"task.{name} must be at least 0; got {getattr(self, name)!r}")

    # -- data ----------------------------------------------------------------------------------------------------
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if split != "train" or self.mixture == "100/0/0":
            yield from super().batches(split, fidelity, batch_size, rng)
            return
        examples = fidelity.examples("train")
        for start in range(0, examples, batch_size):
            yield self._mixed(min(batch_size, examples - start), fidelity.size, rng)

    def _mixed(self, count: int, size: int, rng: torch.Generator) -> Batch:
        """Each example's kind is drawn independently; all kinds get the same augmentation."""
        shares = torch.tensor([float(part) for part in self.mixture.split("/")])
        kinds = torch.multinomial(shares, count, replacement=True, generator=rng).tolist()
        scenes = load_scenes("train", self.source)
        examples = [_draw_example(kind, scenes, size, rng) for kind in kinds]
        return data.measured(examples, self.gain, rng, self.augment)

    # -- model and loss ------------------------------------------------------------------------------------------
    def parent_model(self) -> nn.Module:
        """The network that this one starts from. Shared: do not change it in place."""
        if self.parent is not None:
            return parent.load_parent(self.parent)
        plain = XTrans(
            arch=self.arch,
            width=self.width,
            depth=self.depth,
            base=self.base,
            act=self.act,
            balance=self.balance,
            patterns=0.0,
            down=self.down,
            gain=self.gain,
            fold=self.fold,
            data=self.data,
        )
        return parent.trained_parent(plain, self.parent_train, self.parent_seed)

    def model(self) -> nn.Module:
        return copy.deepcopy(self.parent_model()).requires_grad_(True)

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        parameters = list(model.parameters())  # a weight and a bias of each convolution, in order
        resting = parameters[: 2 * self.rest]
        learning = parameters[2 * self.rest :]
        return {"learn": learning, "rest": resting} if resting else {"learn": learning}

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return {"rest": 0.0} if self.rest else {}

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        terms = super().loss(model, batch, at)
        if not self.l2sp:
            return {**terms, "l2sp": batch.target_B3SS.new_zeros(())}
        start = self.parent_model().state_dict()
        distances = [(weight - start[name].to(weight)).square().sum() for name, weight in model.named_parameters()]
        return {**terms, "l2sp": self.l2sp * sum(distances, start=batch.target_B3SS.new_zeros(()))}

    # -- judgement -----------------------------------------------------------------------------------------------
    def methods(self) -> dict[str, Demosaic]:
        return {PARENT: self._by_parent, **super().methods()}

    def method_columns(self, method: Demosaic, batch: Batch, *, probes: bool) -> Columns:
        """The columns of every demosaicing task, and on full tiles those of the parent on the same tile."""
        columns = super().method_columns(method, batch, probes=probes)
        if "torture_psnr" not in columns:
            return columns  # crops of the overfit check
        rgb = self._by_parent(batch)
        return {
            **columns,
            "parent_psnr_srgb": loss.tile_scores(rgb, batch)["psnr_srgb"],
            "parent_power": loss.error_power(rgb, batch),
        }

    def metrics(self, columns: Columns) -> Mapping[str, float]:
        """The scores of `loss.summary`, and on full tiles

        forgetting_db   how much lower psnr_srgb is than the parent's
        grid_rise_db    how much higher grid_even_db is than the parent's
        score           the goal
        """
        scores = dict(super().metrics(columns))
        if "parent_psnr_srgb" not in columns:
            return scores  # crops of the overfit check
        forgotten = columns["parent_psnr_srgb"] - columns["psnr_srgb"]
        penalty = PENALTY * (forgotten - FORGIVEN_DB).clamp(min=0)
        gained = (columns["psnr_srgb"] + columns["torture_psnr"]) / 2
        return scores | {
            "forgetting_db": float(forgotten.mean()),
            "grid_rise_db": scores["grid_even_db"] - spectrum.grid_db(columns["parent_power"].sum(0))[0],
            "score": float((gained - penalty).mean()),
        }

    def _by_parent(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            rgb: Tensor = _on_device(self.parent_model(), batch.mosaic_B1SS.device)(*model_inputs(batch))
        return rgb

    def checks(self, evidence: Evidence) -> list[Check]:
        results = super().checks(evidence)
        scores = evidence.scores
        if evidence.stage == "promotion" and "forgetting_db" in scores:
            results.append(_check_at_most("photographs are not forgotten", scores["forgetting_db"], FORGIVEN_DB))
            results.append(_check_at_most("no new 6 x 6 grid", scores["grid_rise_db"], MAX_GRID_RISE_DB))
        return results


def _draw_example(kind: int, scenes: tuple[Scene, ...], size: int, rng: torch.Generator) -> Crop:
    """A crop (kind 0), a sharp crop (1) or a pattern (2)."""
    if kind == 0:
        return data.random_balanced_crop(scenes, size, rng)
    if kind == 1:
        return sharpest_crop(scenes, size, rng)
    return data.pattern_crop(size, rng)


def sharpest_crop(scenes: tuple[Scene, ...], size: int, rng: torch.Generator) -> Crop:
    """Of CANDIDATES random crops the one with the largest Laplacian variance."""
    crops = [data.random_balanced_crop(scenes, size, rng) for _ in range(CANDIDATES)]
    return max(crops, key=lambda crop: _sharpness(crop.rgb_3SS))


def _sharpness(rgb_3SS: Tensor) -> float:
    return float(loss.laplacian(rgb_3SS.mean(0, keepdim=True)[None]).var())


@lru_cache(maxsize=2)
def _on_device(model: nn.Module, device: torch.device) -> nn.Module:
    return model if device.type == "cpu" else copy.deepcopy(model).to(device)


def _check_at_most(name: str, value: float, limit: float) -> Check:
    return Check(
        name,
        "go" if value <= limit else "no-go",
        f"{value:+.2f} dB",
        f"at most {limit:g} dB",
        "task.mixture, recipe.lr, task.l2sp, task.rest",
    )
