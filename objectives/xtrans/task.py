"""The task: its hyperparameters, and how data, model, loss, checks and pictures fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from hpo import Chart, Check, Columns, Evidence, Fidelity, Method, Moment, Overfit, Picture, Split, Task
from objectives.common.batches import parts_of
from objectives.common.fields import require
from objectives.xtrans import baseline, data, loss
from objectives.xtrans.checks import checks
from objectives.xtrans.data import Augment, Batch, model_inputs
from objectives.xtrans.light import RAW
from objectives.xtrans.loss import SPACES, Demosaic, Weights
from objectives.xtrans.model import ACTS, ARCHS, BASES, Demosaicer
from objectives.xtrans.scenes import FOLDS, Source, load_scenes, origins


@dataclass(frozen=True)
class XTrans(Task[Batch]):
    """Reconstruct three colours a pixel from a sensor that measures one of them, in the 6 x 6 pattern of X-Trans."""

    # the network
    arch: str = "plain"  # plain, packed3 or unet
    width: int = 16  # channels; three times as many where packed
    depth: int = 5  # convolutions of 3 x 3
    base: str = "markesteijn"  # the picture that the network corrects: none, nc, nc_diff, markesteijn or markesteijn3
    act: str = "leaky"
    balance: bool = True  # tell the network the camera's white balance, as every classical method is told
    # the loss
    gradient_weight: float = 0.1
    chroma_weight: float = 0.05
    ssim_weight: float = 0.0
    space: str = "lin"  # what the loss compares: light (lin) or its square root (sqrt)
    # what is drawn at random for each training crop
    patterns: float = 0.1  # share of the crops that are patterns
    gain_spread: float = 0.5  # of each channel's log gain, beyond the white balance: prepares for wrong ones
    stops: float = 0.0  # of exposure, up and down, so that crops contain light above 1
    read_noise: float = 0.0  # in the mosaic of training crops alone; validation and test tiles have none
    shot_noise: float = 0.0
    # the data
    down: int = 2  # pictures are shrunk by this factor; raw files by at least 4
    gain: tuple[float, float, float] = RAW  # the sensor's response to white
    fold: int = 0  # the scenes that judge, by number
    data: str | None = None  # a folder of the user's own raw files or pictures

    goal: ClassVar[str] = "psnr_lin"
    direction: ClassVar[Literal["minimize", "maximize"]] = "maximize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = ("mosaic_B1SS", "cfa_B3SS", "gain_B3")
    labels: ClassVar[tuple[str, ...]] = ("target_B3SS",)
    cluster: ClassVar[str | None] = "scene_B"
    folds: ClassVar[int] = FOLDS
    overfit: ClassVar[Overfit] = Overfit(  # four crops, on plain interpolation: 0 dB untrained, 6 dB and more learned
        measure="lead_db",
        go=5.0,
        caution=3.0,
        samples=4,
        epochs=200,
        size=48,
        pinned={
            "recipe.lr": 4e-3,
            "recipe.batch_size": 4,
            "task.base": "nc",
            "task.patterns": 0.0,
            "task.gain_spread": 0.0,
            "task.stops": 0.0,
            "task.read_noise": 0.0,
            "task.shot_noise": 0.0,
        },
    )

    def __post_init__(self) -> None:
        choices_by_field = {"arch": ARCHS, "base": BASES, "act": tuple(ACTS), "space": SPACES}
        for name, choices in choices_by_field.items():
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
        require("patterns", 0 <= self.patterns <= 1, "a share, in [0, 1]", self.patterns)
        require("fold", self.fold in range(FOLDS), f"0 to {FOLDS - 1}", self.fold)
        require("gain", len(self.gain) == 3 and min(self.gain) > 0, "three numbers above 0", self.gain)

    # -- data ----------------------------------------------------------------------------------------------------
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if fidelity.size < data.MIN_SIZE:
            raise ValueError(f"xtrans: size must be at least {data.MIN_SIZE} pixels a side; got {fidelity.size}")
        if split == "train":
            examples = fidelity.examples("train")
            for start in range(0, examples, batch_size):
                yield self._crops(min(batch_size, examples - start), fidelity.size, rng)
            return
        tiles = data.tiles(split, fidelity.examples(split), self.source, self.gain)
        yield from parts_of(tiles, batch_size)

    def files(self) -> list[Path]:
        return [] if self.data is None else [Path(self.data)]

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        return origins(split, self.source)

    def _crops(self, count: int, size: int, rng: torch.Generator) -> Batch:
        scenes = load_scenes("train", self.source)
        return data.random_crops(scenes, count, size, rng, gain=self.gain, augment=self.augment, patterns=self.patterns)

    @property
    def source(self) -> Source:
        return Source(self.down, self.data, self.fold)

    @property
    def augment(self) -> Augment:
        return Augment(self.gain_spread, self.stops, self.read_noise, self.shot_noise)

    # -- model and loss ------------------------------------------------------------------------------------------
    def model(self) -> nn.Module:
        return Demosaicer(self.arch, self.width, self.depth, base=self.base, act=self.act, balance=self.balance)

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return loss.terms(model(*model_inputs(batch)), batch.target_B3SS, self.weights)

    @property
    def weights(self) -> Weights:
        return Weights(self.gradient_weight, self.chroma_weight, self.ssim_weight, self.space)

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return self.method_columns(lambda tiles: model(*model_inputs(tiles)), batch, probes=True)

    def metrics(self, columns: Columns) -> Mapping[str, float]:
        return loss.summary(columns)

    def baselines(self, fidelity: Fidelity) -> Mapping[str, Method[Batch]]:
        methods = self.methods()
        return {name: partial(self.method_columns, method, probes=False) for name, method in methods.items()}

    def method_columns(self, method: Demosaic, batch: Batch, *, probes: bool) -> Columns:
        """What each tile came to with a method; with `probes` also through the other sensor, and with more light."""
        return loss.method_columns(method, batch, probes=probes)

    def methods(self) -> dict[str, Demosaic]:
        """Classical demosaicers and a published network, by name."""
        return baseline.methods(self.source, self.gain)

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        from objectives.xtrans.pictures import draw_pictures  # imports plotly, which no trial needs

        return draw_pictures(model, list(batches), self.methods(), baseline.missing_methods())

    def checks(self, evidence: Evidence) -> list[Check]:
        return checks(evidence, baseline.missing_methods())
