"""Fine-tuning on patterns that demosaicers get wrong, without forgetting photographs.

A parent goes on learning from a mixture of crops, the sharpest crops, and patterns. Patterns alone make it forget; how
much a mixture forgets is measured against the parent on the same tiles, and costs 2 dB a dB beyond the first 0.3.

Goal: the mean of psnr_srgb on photographs and torture_psnr, less that. Of psnr_srgb alone the run that never saw a
pattern would be the best by definition.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hpo.cache import made_once
from hpo.task import Check, Evidence, Fidelity, Moment, Overfit, Split
from objectives.xtrans import cfa, data, loss, parent, torture
from objectives.xtrans.data import Batch
from objectives.xtrans.loss import Demosaic
from objectives.xtrans.task import XTrans, seen_by

MIXTURES = ("100/0/0", "90/0/10", "80/15/5", "0/0/100")  # percent of crops, sharpest crops, patterns
CANDIDATES = 4  # a sharp crop is the sharpest of so many
PATTERNS = 260  # that are drawn from: twenty of each kind
FORGIVEN_DB, PENALTY = 0.3, 2.0
MAX_GRID_RISE_DB = 2.0
PARENT = "parent"


@dataclass(frozen=True)
class FineTune(XTrans):
    """A network that goes on learning: patterns gained, photographs kept."""

    mixture: str = "90/0/10"
    l2sp: float = 0.0  # times the squared distance from the parent's weights (Li et al. 2018)
    rest: int = 0  # how many of the first convolutions keep the parent's weights
    parent: str | None = None  # an exported winner's folder; None: one is trained here, once
    parent_train: int = 1600  # crops an epoch of that one's training
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
        for start in range(0, fidelity.train, batch_size):
            yield self._mixed(min(batch_size, fidelity.train - start), fidelity.size, rng)

    def _mixed(self, count: int, size: int, rng: torch.Generator) -> Batch:
        """Each example's kind is drawn by itself; all go through the same augmentation."""
        shares = torch.tensor([float(part) for part in self.mixture.split("/")])
        kinds = torch.multinomial(shares, count, replacement=True, generator=rng).tolist()
        of = data.photos("train", down=self.down, folder=self.data)
        made = [
            data.balanced_crop(of, size, rng)
            if kind == 0
            else sharpest(of, size, rng)
            if kind == 1
            else (drawn_pattern(size, rng), None)
            for kind in kinds
        ]
        gain_B3 = torch.stack([torch.tensor(self.gain) if gain is None else gain for _, gain in made])
        return data.seen_through(torch.stack([rgb for rgb, _ in made]), gain_B3, rng, self.augment)

    # -- model and loss ------------------------------------------------------------------------------------------
    def parent_model(self) -> nn.Module:
        """The network that this one begins as. Shared: do not change it in place."""
        if self.parent is not None:
            return parent.winner(self.parent)
        plain = XTrans(
            arch=self.arch,
            width=self.width,
            depth=self.depth,
            base=self.base,
            act=self.act,
            down=self.down,
            gain=self.gain,
            data=self.data,
        )
        return parent.trained(plain, self.parent_train, self.parent_seed)

    def model(self) -> nn.Module:
        return copy.deepcopy(self.parent_model()).requires_grad_(True)

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        found = list(model.parameters())  # a weight and a bias of each convolution, in order
        resting = {"rest": found[: 2 * self.rest]} if self.rest else {}
        return {"learn": found[2 * self.rest :], **resting}

    def rates(self, at: Moment) -> dict[str, float]:
        return {"rest": 0.0} if self.rest else {}

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        terms = super().loss(model, batch, at)
        if not self.l2sp:
            return {**terms, "l2sp": batch.target_B3SS.new_zeros(())}
        start = self.parent_model().state_dict()
        far = sum((weight - start[name].to(weight)).square().sum() for name, weight in model.named_parameters())
        return {**terms, "l2sp": self.l2sp * far}

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        return self.tuned_scores(lambda batch: model(*seen_by(batch)), list(batches), probes=True)

    def baselines(self, batches: Iterable[Batch]) -> dict[str, dict[str, float]]:
        batches = list(batches)
        return {name: self.tuned_scores(method, batches, probes=False) for name, method in self.methods().items()}

    def methods(self) -> dict[str, Demosaic]:
        return {PARENT: self._by_parent, **super().methods()}

    def tuned_scores(self, method: Demosaic, batches: list[Batch], *, probes: bool) -> dict[str, float]:
        """Those of `loss.judged`; forgetting_db, how much less psnr_srgb than the parent's; grid_rise_db; score."""
        found = loss.judged(method, batches, probes=probes)
        if "torture_psnr" not in found:
            return found  # crops that are learned by heart
        seen = [loss.tile_scores(method(batch), batch)["psnr_srgb"] for batch in batches]
        before = [loss.tile_scores(self._by_parent(batch), batch)["psnr_srgb"] for batch in batches]
        seen, forgotten = torch.cat(seen), torch.cat(before) - torch.cat(seen)
        penalty = PENALTY * (forgotten - FORGIVEN_DB).clamp(min=0)
        of_parent = loss.judged(self._by_parent, batches, probes=False)
        return found | {
            "forgetting_db": float(forgotten.double().mean()),
            "grid_rise_db": found["grid_even_db"] - of_parent["grid_even_db"],
            "score": float(((seen + found["torture_psnr"]) / 2 - penalty).double().mean()),
        }

    def _by_parent(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return _on(self.parent_model(), batch.mosaic_B1SS.device)(*seen_by(batch))

    def checks(self, evidence: Evidence) -> list[Check]:
        found, scores = super().checks(evidence), evidence.scores
        if evidence.stage == "promotion" and "forgetting_db" in scores:
            found.append(_at_most("photographs are not forgotten", scores["forgetting_db"], FORGIVEN_DB))
            found.append(_at_most("no grid that the parent had not", scores["grid_rise_db"], MAX_GRID_RISE_DB))
        return found


def sharpest(of: tuple[data.Photograph, ...], size: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Of CANDIDATES crops the one with the largest Laplacian variance, and its gains."""
    tried = [data.balanced_crop(of, size, rng) for _ in range(CANDIDATES)]
    return max(tried, key=lambda one: float(loss.laplacian(one[0].mean(0, keepdim=True)[None]).var()))


def drawn_pattern(size: int, rng: torch.Generator) -> Tensor:
    """A pattern that never judges, in one of the eight positions of a square."""
    which, move = torch.rand(2, generator=rng, dtype=torch.float64).tolist()
    patterns = pool(size)
    return list(cfa.MOVES.values())[int(move * len(cfa.MOVES))](patterns[int(which * len(patterns))])


@lru_cache(maxsize=4)
def pool(size: int) -> Tensor:
    """[PATTERNS, 3, S, S]. Shared: do not change it in place."""
    made = made_once(make_patterns, size, PATTERNS, data.content_hash_of("torture", "light"))
    return torch.from_numpy(np.array(made))


def make_patterns(size: int, count: int, source: str) -> np.ndarray:
    del source
    first = -(-torture.TRAIN_FROM // len(torture.KINDS)) * len(torture.KINDS)
    return torch.stack([torture.pattern(first + number, size) for number in range(count)]).numpy()


@lru_cache(maxsize=2)
def _on(model: nn.Module, device: torch.device) -> nn.Module:
    return model if device.type == "cpu" else copy.deepcopy(model).to(device)


def _at_most(name: str, value: float, limit: float) -> Check:
    return Check(
        name,
        "go" if value <= limit else "no-go",
        f"{value:+.2f} dB",
        f"at most {limit:g} dB",
        "task.mixture, recipe.lr, task.l2sp, task.rest",
    )
