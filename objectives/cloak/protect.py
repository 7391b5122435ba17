"""Change a photograph of one's own, and measure what matchers then make of it.

Every face that is found is changed, the largest first, at the working size, and the change is stretched to the
photograph's full size. What is measured is the file that was written, after JPEG, with the face found anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo import CARD, Recipe, fit, load_winner
from objectives.cloak import data, loss
from objectives.cloak.data import Part, Photographs
from objectives.cloak.encoders import critic, names_in, separation
from objectives.cloak.faces import FRAME_UNIT, Region, found_again, framed, region_around, whole
from objectives.cloak.handling import as_jpeg
from objectives.cloak.matchers import MATCHERS, faces_in
from objectives.cloak.model import apply_change
from objectives.cloak.task import Cloaking
from objectives.cloak.tiers import tier
from objectives.common.colour import as_uint8, round8
from objectives.common.crops import resized

Vectors = Mapping[str, Tensor]  # of one face, by encoder, [1, E]
SIZE = 384  # of the frame: the region in it is 256 pixels wide, as many as noise is drawn on
STEPS = 40
GONE = frozenset({"margin"})  # settings of Cloaking in earlier versions
RECIPE = Recipe(lr=1.0, batch_size=1, weight_decay=0.0, warmup=0.0, final_lr=1.0, clip=1e9)


@dataclass(frozen=True)
class One(Cloaking):
    """The task on a single photograph in memory, without a split."""

    photograph: Photographs | None = None

    def photographs(self, split: Part, count: int) -> Photographs:
        assert self.photograph is not None
        return self.photograph


@dataclass(frozen=True)
class Settings:
    """How to change a photograph."""

    task: Cloaking
    recipe: Recipe = RECIPE
    steps: int = STEPS  # for each face

    @property
    def encoders(self) -> tuple[str, ...]:
        """Who measures: every face matcher, or the critic and the judge of whole photographs."""
        if self.task.with_faces:
            return tuple(MATCHERS)
        return tuple(dict.fromkeys((*names_in(self.task.critic), self.task.judge)))


@dataclass(frozen=True)
class Place:
    """Where a change goes: the region, and the five points of the face in it (zeros for a whole photograph)."""

    region: Region
    points_52: Tensor


@dataclass(frozen=True)
class Measured:
    """How far a face is from photographs of the same person, by one encoder. Above 1 it does not match them."""

    encoder: str
    attacked: bool
    original: float  # separation from the photograph before the change
    others: float | None  # from the nearest of the person's other photographs; None where there are none
    others_before: float | None  # the same before the change

    @property
    def matches(self) -> bool:
        """Whether the encoder matches the face with any of these photographs."""
        return self.original <= 1 or (self.others is not None and self.others <= 1)


@dataclass(frozen=True)
class ChangedFace:
    """What became of one face in a photograph."""

    pixels: int  # side of the region that changed
    visible: float  # visible change of the region, at the working size
    found_again: bool  # a face is still found there; if not, the encoders were given the old points
    measured: tuple[Measured, ...]


def load_settings(card: Path) -> Settings:
    """The settings of an exported winner (runs/cloak/winner). Raises ValueError where the card is another task's."""
    if not (card / CARD).is_file():
        raise ValueError(f"--card {card} must be the winner's folder that `hpo promote cloak` writes; no {CARD} in it")
    described: dict[str, Any] = json.loads((card / CARD).read_text())
    gone = sorted(set(described["fields"]) & GONE)
    if gone:
        raise ValueError(
            f"--card {card} is of a version whose scores were cosines ({', '.join(gone)} is no setting any more); "
            "run `hpo promote cloak` again"
        )
    task = load_winner(card, Cloaking).task
    recipe: dict[str, Any] = {name: value for name, value in described["recipe"].items() if name != "class"}
    for name, value in recipe.items():
        if isinstance(value, list):  # JSON has no tuples
            recipe[name] = tuple(value)
    fidelity = described["fidelity"]
    steps = fidelity["epochs"] * fidelity["train"] // (task.val_photos + task.test_photos)
    return Settings(task, Recipe(**recipe), steps)


# -- changing --------------------------------------------------------------------------------------------------------
def places_in(photo_3HW: Tensor, settings: Settings) -> list[Place]:
    """Where a photograph changes: around every face, the largest first. Raises ValueError where no face is found."""
    if not settings.task.with_faces:
        return [Place(whole(photo_3HW), torch.zeros(5, 2))]
    faces = faces_in(photo_3HW)
    if not faces:
        raise ValueError("no face was found in it, so nothing was changed")
    return [Place(region_around(face.points_52, *photo_3HW.shape[-2:]), face.points_52) for face in faces]


def changed_photograph(
    photo_3HW: Tensor, places: Sequence[Place], settings: Settings, *, seed: int, device: str = "auto"
) -> Tensor:
    """The photograph with every place changed, one after another, rounded to 8 bits."""
    image = photo_3HW
    for place in places:
        image = _changed(image, place, settings, seed, device)
    return round8(image)


def _changed(photo_3HW: Tensor, place: Place, settings: Settings, seed: int, device: str) -> Tensor:
    task = working_task(photo_3HW, place, settings)
    fidelity = tier(size=task.size, val=1, steps=settings.steps, epochs=1)
    last = list(fit(task, replace(settings.recipe, batch_size=1), fidelity, seed=seed, device=device))[-1]
    frame = data.make_batch(task.photographs("val", 1), torch.arange(1), 0)
    with torch.no_grad():
        cloaked = last.model.cpu()(frame.photo_B3SS, frame.number_B)
        region = place.region.cut(photo_3HW)[None]
        return place.region.pasted(photo_3HW, apply_change(region, cloaked.change_B3QQ, cloaked.flow_B2QQ)[0])


def working_task(photo_3HW: Tensor, place: Place, settings: Settings) -> One:
    """The task on this one place, at the task's size or, where the photograph has fewer pixels there, at theirs."""
    size, points_52 = settings.task.size, place.points_52
    if settings.task.with_faces:
        size = min(size, place.region.height // 4 * FRAME_UNIT)
        frame = framed(photo_3HW, place.region, points_52, size)
        rgb_3SS, points_52 = frame.rgb_3SS, frame.points_52
    else:
        rgb_3SS = resized(photo_3HW, size)
    names = ("photograph",)
    photograph = Photographs(as_uint8(rgb_3SS)[None], points_52[None], names, names, names, names)
    given = {field.name: getattr(settings.task, field.name) for field in fields(Cloaking)}
    held = {"size": size, "val_photos": 1, "test_photos": 0, "data": None}
    return One(**(given | held), photograph=photograph)


# -- measuring -------------------------------------------------------------------------------------------------------
def measure(
    original_3HW: Tensor, written_3HW: Tensor, place: Place, others: Sequence[Vectors], settings: Settings
) -> ChangedFace:
    """What the encoders make of one place of a written photograph, after JPEG.

    `others` are other photographs of the same person, as a site may hold them.
    """
    jpeg = as_jpeg(written_3HW[None])[0]
    again = found_again(jpeg, place.points_52) if settings.task.with_faces else place.points_52
    own = vectors(original_3HW, place.points_52, settings)
    changed = vectors(jpeg, place.points_52 if again is None else again, settings)
    return ChangedFace(
        place.region.height,
        _visible_change(original_3HW, written_3HW, place, settings),
        again is not None,
        tuple(_measured(name, own, changed, others, settings) for name in settings.encoders),
    )


@torch.no_grad()
def vectors(photo_3HW: Tensor, points_52: Tensor, settings: Settings) -> Vectors:
    """What each encoder makes of a face, [1, E]."""
    return {name: critic(name).embed(photo_3HW[None], points_52[None]) for name in settings.encoders}


def _measured(name: str, own: Vectors, changed: Vectors, others: Sequence[Vectors], settings: Settings) -> Measured:
    def nearest(vector_1E: Tensor) -> float | None:
        separations = [float(separation(critic(name), vector_1E, other[name])) for other in others]
        return min(separations, default=None)

    return Measured(
        name,
        name in names_in(settings.task.critic),
        float(separation(critic(name), changed[name], own[name])),
        nearest(changed[name]),
        nearest(own[name]),
    )


@torch.no_grad()
def _visible_change(original_3HW: Tensor, written_3HW: Tensor, place: Place, settings: Settings) -> float:
    """Of the region, at the working size."""
    side = working_task(original_3HW, place, settings).side
    after, before = (resized(place.region.cut(image), side)[None] for image in (written_3HW, original_3HW))
    unit = loss.unit_distance(settings.task.perceptual, before)
    return float(loss.visible_change(settings.task.perceptual, after, before, unit))
