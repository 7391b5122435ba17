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
from pathlib import Path
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from hpo import Chart, Check, Columns, Evidence, Fidelity, Held, Method, Moment, Overfit, Picture, Split, Task
from objectives.cloak import baseline, data, loss, own, scores
from objectives.cloak.checks import Bounds, EncoderState, Setup, checks
from objectives.cloak.data import Batch, Part, Photographs
from objectives.cloak.encoders import Critic, critic, encoder_identity, names_in, needs_face
from objectives.cloak.faces import FRAME_UNIT, region_side
from objectives.cloak.loss import Weights
from objectives.cloak.model import GRID, NOISE, Cloak, inner, with_inner
from objectives.cloak.recognition import recognition
from objectives.cloak.scores import Judging
from objectives.cloak.site import site_of, units_of
from objectives.common.fields import require
from objectives.common.perceptual import BACKENDS, Backend


@dataclass(frozen=True)
class Cloaking(Task[Batch]):
    """Change one's own photograph hardly visibly, so that encoders no longer match it with the original.

    The card says where each default comes from.
    """

    # learning rates of Adam on the raw parameters; recipe.lr is 1
    noise_lr: float = 0.2
    grid_lr: float = 0.1
    # weights of the loss
    identity_weight: float = 4.0
    visible_weight: float = 40.0
    rough_weight: float = 0.02
    vertical_weight: float = 0.2  # of the vertical part of the warp
    reach: float = 3.0  # separation from which the identity term is 0; at 1 the critic no longer matches
    visible_goal: float = 0.02  # visible change from which it costs; soft, so that it ends somewhat above
    # form of the change
    grid: int = 12  # grid points a side of the warp
    start: float = 0.2  # raw noise begins uniform in +- this
    textured: bool = False  # noise mostly where the photograph has texture
    centred: bool = False  # warp only around the middle of the face
    anchoring: float = 0.8  # how narrow that region is, in [0, 1]
    handled: bool = True  # the loss sees photographs as they arrive: resized, JPEG, noisy, aligned otherwise
    noise_limit: float = 0.05
    warp_limit: float = 0.015  # of half the region's side
    # policy, not searched: no distance here knows how conspicuous patches of hue on skin are
    colour: float = 0.3  # how far the channels of the noise may part, in [0, 1]; at 0 it is grey
    visible_limit: float = 0.02  # the visible change from which the score charges
    # encoders and perceptual distance
    critic: str = "dlib"  # the encoder that is attacked, or several, as in dlib+sface
    judge: str = "sface"  # the encoder that scores; never attacked in a study
    perceptual: Backend = "pged"  # or "stlpips" where its weights are installed; neither replaces the other
    # size and number of the photographs that a run holds: each fidelity pins them, see `tier`
    size: int = 144
    val_photos: int = 8
    test_photos: int = 0
    data: str | None = None  # a folder of the user's own photographs

    goal: ClassVar[str] = "exposure"
    direction: ClassVar[Literal["minimize", "maximize"]] = "minimize"
    size_unit: ClassVar[str] = "pixels a side"
    inputs: ClassVar[tuple[str, ...]] = ("photo_B3SS",)
    labels: ClassVar[tuple[str, ...]] = ("reference_B3SS",)
    cluster: ClassVar[str | None] = "person_B"
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"exposure": (0.0, math.inf)}
    # A visible change up to 0.8 leaves room to learn, but not to become another photograph.
    overfit: ClassVar[Overfit] = Overfit(
        measure="critic_in_limit",
        go=0.2,
        caution=0.5,
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
            "task.handled": False,
            "recipe.batch_size": 4,
        },
    )

    def __post_init__(self) -> None:
        positive = ("noise_lr", "grid_lr", "noise_limit", "warp_limit", "visible_limit", "start", "reach")
        for name in positive:
            require(name, getattr(self, name) > 0, "above 0", getattr(self, name))
        for name in ("identity_weight", "visible_weight", "rough_weight", "vertical_weight", "visible_goal"):
            require(name, getattr(self, name) >= 0, "at least 0", getattr(self, name))
        for name in ("anchoring", "colour"):
            require(name, 0 <= getattr(self, name) <= 1, "in [0, 1]", getattr(self, name))
        require("grid", self.grid >= 2, "at least 2", self.grid)
        require("perceptual", self.perceptual in BACKENDS, f"one of {', '.join(BACKENDS)}", self.perceptual)
        kinds = {needs_face(name) for name in (*names_in(self.critic), *names_in(self.judge))}
        require("judge", "+" not in self.judge, "a single encoder", self.judge)
        require("judge", len(kinds) == 1, "a face matcher where the critic is one, and the reverse", self.judge)
        if self.with_faces:
            require("size", self.size % FRAME_UNIT == 0, f"a multiple of {FRAME_UNIT} for face matchers", self.size)

    @property
    def with_faces(self) -> bool:
        """Whether the encoders are face matchers, so that photographs are framed around the face."""
        return needs_face(self.judge)

    @property
    def side(self) -> int:
        """Side of the region in a frame that may change."""
        return region_side(self.size) if self.with_faces else self.size

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
            return data.load_shipped(split, self.size, count, with_faces=self.with_faces)
        return own.load_own(self.data, split, self.size, count, with_faces=self.with_faces)

    def held(self) -> Photographs:
        """All photographs that the model holds, in the order of their numbers: those of val, then those of test."""
        parts = [self.photographs("val", self.val_photos)]
        if self.test_photos:
            parts.append(self.photographs("test", self.test_photos))
        return data.joined(*parts)

    def files(self) -> list[Path]:
        return [] if self.data is None else [Path(self.data)]

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        """Photograph and encoder together.

        Each photograph is changed on its own. So training and scoring must not share the encoder, and val and test must
        not share a photograph.
        """
        photographs = self.held() if split == "train" else self.photographs(split, fidelity.examples(split))
        encoders = names_in(self.critic if split == "train" else self.judge)
        return {f"{origin} {encoder_identity(name)}" for origin in photographs.origins for name in encoders}

    # -- model and loss ------------------------------------------------------------------------------------------
    def model(self) -> nn.Module:
        return Cloak(
            self.val_photos + self.test_photos,
            self.side,
            grid=self.grid,
            noise_limit=self.noise_limit,
            warp_limit=self.warp_limit,
            colour=self.colour,
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
        device = batch.photo_B3SS.device
        critics = self.critics(device)
        own = [own_NE[batch.number_B] for own_NE in self.own_vectors(device)]
        unit = units_of(self.perceptual, str(device), self.side, self.held())[batch.number_B]
        cloaked = model(batch.photo_B3SS, batch.number_B)
        separation_KB = loss.separations(critics, own, cloaked, batch.points_B52, expected=self.handled)
        before, after = (inner(frame, self.side) for frame in (batch.reference_B3SS, cloaked.image_B3SS))
        visible_B = loss.visible_change(self.perceptual, after, before, unit)
        return loss.terms(cloaked, separation_KB, visible_B, self.weights)

    def critics(self, device: torch.device | str) -> list[Critic]:
        """The encoders that are attacked."""
        return [critic(name, device) for name in names_in(self.critic)]

    def own_vectors(self, device: torch.device | str) -> list[Tensor]:
        """What each critic makes of the unchanged photographs that the run holds, [N, E]."""
        held = self.held()
        return [site_of(name, str(device), held).vectors_NE for name in names_in(self.critic)]

    @property
    def weights(self) -> Weights:
        return Weights(
            self.identity_weight,
            self.visible_weight,
            self.rough_weight,
            self.vertical_weight,
            self.reach,
            self.visible_goal,
            self.noise_limit,
            self.warp_limit,
        )

    def project(self, model: nn.Module) -> None:
        cast(Cloak, model).project()

    # -- judgement -----------------------------------------------------------------------------------------------
    def score(self, model: nn.Module, batch: Batch) -> Columns:
        cloak = cast(Cloak, model)
        cloaked = cloak(batch.photo_B3SS, batch.number_B)
        of_change = scores.change_scores(cloaked, self.noise_limit, cloak.raw_max(batch.number_B))
        return self.image_scores(cloaked.image_B3SS, batch) | of_change

    def metrics(self, columns: Columns) -> Mapping[str, float]:
        return scores.means_and_maxima(columns)

    def image_scores(self, image: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Scores of each photograph, [B], by whatever method it was changed."""
        return scores.image_scores(image, batch, self.judging(batch.photo_B3SS.device))

    def judging(self, device: torch.device | str) -> Judging:
        """Who judges the photographs that the run holds, by which limits."""
        held = self.held()
        return Judging(
            self.critics(device),
            self.own_vectors(device),
            critic(self.judge, device),
            site_of(self.judge, str(device), held),
            units_of(self.perceptual, str(device), self.side, held),
            self.perceptual,
            self.visible_limit,
            self.side,
            self.with_faces,
        )

    def baselines(self, fidelity: Fidelity) -> Mapping[str, Method[Batch]]:
        return {name: partial(self._scored, method) for name, method in self.methods().items()}

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        from objectives.cloak.pictures import RIVAL, Judgement, pictures  # imports plotly, which no trial needs

        judgement = Judgement(self.image_scores, self.judge, self.perceptual, self.visible_limit)
        return pictures(model, list(batches), self.changed_by(self.methods()[RIVAL]), judgement)

    def checks(self, evidence: Evidence) -> list[Check]:
        held = self.held()
        setup = Setup(
            critics=tuple(_encoder_state("critic", name, held) for name in names_in(self.critic)),
            judge=_encoder_state("judge", self.judge, held),
            bounds=Bounds(self.noise_limit, self.warp_limit, self.visible_limit, self.perceptual),
            first_gradients=replace(self, size=48, val_photos=2, test_photos=0).first_gradients(),
            own_photographs=None if self.data is None else held.origins,
            left_out=() if self.data is None else own.split_folder(self.data, with_faces=self.with_faces).left_out,
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

        def visible(region_3QQ: Tensor, before_3QQ: Tensor) -> float:
            unit = loss.unit_distance(self.perceptual, before_3QQ[None])
            return float(loss.visible_change(self.perceptual, region_3QQ[None], before_3QQ[None], unit))

        return baseline.methods(self.noise_limit, self.warp_limit, visible, self.visible_limit)

    def changed_by(self, method: baseline.Method) -> baseline.Method:
        """The method applied to the region of a frame, [3, S, S]."""

        def changed(photo_3SS: Tensor) -> Tensor:
            region_3QQ = method(inner(photo_3SS[None], self.side)[0])
            return with_inner(photo_3SS[None], region_3QQ[None])[0]

        return changed

    def _scored(self, method: baseline.Method, batch: Batch) -> dict[str, Tensor]:
        change = self.changed_by(method)
        return self.image_scores(torch.stack([change(photo) for photo in batch.photo_B3SS]), batch)

    def _check_tier(self, fidelity: Fidelity) -> None:
        if fidelity.size != self.size or (fidelity.val or 0) > self.val_photos:  # the overfit check gives no val
            raise ValueError(
                f"cloak: a fidelity must be made by objectives.cloak.tier(), which pins task.size and "
                f"task.val_photos; got size {fidelity.size} and val {fidelity.val} for a task with "
                f"{self.size} and {self.val_photos}"
            )


def _encoder_state(role: str, name: str, held: Photographs) -> EncoderState:
    encoder = critic(name)
    return EncoderState(role, name, encoder_identity(name), recognition(encoder, held), encoder.untouched())


def _gradient_norm(parameters: Sequence[nn.Parameter]) -> float:
    norms = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0
