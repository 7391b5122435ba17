"""The task: what is searched, what is learned from, and what is looked at afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hpo.direction import Direction
from hpo.task import Chart, Check, Evidence, Fidelity, Moment, Overfit, Picture, Split, Task
from objectives.common.fields import require
from objectives.xtrans import baseline, data, loss
from objectives.xtrans.checks import checks
from objectives.xtrans.data import Augment, Batch
from objectives.xtrans.light import RAW
from objectives.xtrans.loss import SPACES, Weights
from objectives.xtrans.model import ACTS, ARCHS, BASES, Demosaicer


@dataclass(frozen=True)
class XTrans(Task[Batch]):
    """Colours of every pixel from a sensor that sees one of three at each, in the 6 x 6 pattern of X-Trans."""

    # the network
    arch: str = "plain"  # plain, packed3 or unet
    width: int = 16  # channels; three times as many where packed
    depth: int = 5  # convolutions of 3 x 3
    base: str = "nc"  # the interpolation that it corrects: none, nc or nc_diff
    act: str = "leaky"
    # the loss
    gradient_weight: float = 0.1
    chroma_weight: float = 0.05
    ssim_weight: float = 0.0
    space: str = "lin"  # where the loss compares: lin or sqrt
    # what is drawn for each training crop
    gain_spread: float = 0.0  # log, of each channel's gain: the remedy for other cameras and white balances
    stops: float = 0.0  # of exposure, up and down: light above 1 is learned from too
    read_noise: float = 0.0  # of the mosaic alone; what is judged has none
    shot_noise: float = 0.0
    # the data
    down: int = 2  # how far photographs are shrunk; raw files by 4 at least
    gain: tuple[float, float, float] = RAW  # how the sensor sees white
    data: str | None = None  # a folder of the user's own raw files or pictures

    goal: ClassVar[str] = "psnr_lin"
    direction: ClassVar[Direction] = "maximize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = ("mosaic_B1SS", "cfa_B3SS")
    labels: ClassVar[tuple[str, ...]] = ("target_B3SS",)
    overfit: ClassVar[Overfit] = Overfit(  # four crops: 0 dB untrained, 6 and more by heart
        measure="lead_db",
        go=5.0,
        caution=3.0,
        samples=4,
        epochs=200,
        size=48,
        pinned={
            "recipe.lr": 4e-3,
            "recipe.batch_size": 4,
            "task.gain_spread": 0.0,
            "task.stops": 0.0,
            "task.read_noise": 0.0,
            "task.shot_noise": 0.0,
        },
    )

    def __post_init__(self) -> None:
        for name, choices in (("arch", ARCHS), ("base", BASES), ("act", tuple(ACTS)), ("space", SPACES)):
            require(name, getattr(self, name) in choices, f"one of {', '.join(choices)}", getattr(self, name))
        for name in ("width", "depth", "down"):
            require(name, getattr(self, name) >= 1, "at least 1", getattr(self, name))
        for name in (
            "gradient_weight",
            "chroma_weight",
            "ssim_weight",
            "gain_spread",
            "stops",
            "read_noise",
            "shot_noise",
        ):
            require(name, getattr(self, name) >= 0, "at least 0", getattr(self, name))
        require("gain", len(self.gain) == 3 and min(self.gain) > 0, "three numbers above 0", self.gain)

    # -- data ----------------------------------------------------------------------------------------------------
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if fidelity.size < data.MIN_SIZE:
            raise ValueError(f"xtrans: size must be at least {data.MIN_SIZE} pixels a side; got {fidelity.size}")
        if split == "train":
            for start in range(0, fidelity.train, batch_size):
                yield self._crops(min(batch_size, fidelity.train - start), fidelity.size, rng)
            return
        tiles = data.tiles(split, fidelity.examples(split), self.down, self.data, self.gain)
        yield from (Batch(*part) for part in zip(*(field.split(batch_size) for field in tiles), strict=True))

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        return data.origins(split, folder=self.data)

    def _crops(self, count: int, size: int, rng: torch.Generator) -> Batch:
        of = data.photos("train", down=self.down, folder=self.data)
        return data.crops(of, count, size, rng, gain=self.gain, augment=self.augment)

    @property
    def augment(self) -> Augment:
        return Augment(self.gain_spread, self.stops, self.read_noise, self.shot_noise)

    # -- model and loss ------------------------------------------------------------------------------------------
    def model(self) -> nn.Module:
        return Demosaicer(self.arch, self.width, self.depth, base=self.base, act=self.act)

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return loss.terms(model(*seen_by(batch)), batch.target_B3SS, self.weights)

    @property
    def weights(self) -> Weights:
        return Weights(self.gradient_weight, self.chroma_weight, self.ssim_weight, self.space)

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        return loss.judged(lambda batch: model(*seen_by(batch)), batches, probes=True)

    def baselines(self, batches: Iterable[Batch]) -> dict[str, dict[str, float]]:
        batches = list(batches)
        return {name: loss.judged(method, batches, probes=False) for name, method in self.methods().items()}

    def methods(self) -> dict[str, loss.Demosaic]:
        """Classical demosaicers by name, and a published network."""
        return baseline.methods(self.down, self.data, self.gain)

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        from objectives.xtrans.pictures import drawn  # brings plotly, which no trial needs

        return drawn(self, model, list(batches))

    def checks(self, evidence: Evidence) -> list[Check]:
        return checks(evidence, baseline.missing())


def seen_by(batch: Batch) -> tuple[Tensor, Tensor]:
    """What the model may look at."""
    return batch.mosaic_B1SS, batch.cfa_B3SS
