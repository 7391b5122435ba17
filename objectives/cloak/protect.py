"""Protect the photographs in a folder of one's own, and measure how well that worked.

Each photograph is changed on its own at the working size, and the change is stretched to the photograph's full size.
The output is PNG, so the file holds exactly the pixels that were scored, and nothing else of the original file: no
EXIF, no place, no date, no thumbnail.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo import CARD, Recipe, derive, fit, load_winner, write_json
from objectives.cloak import data, loss
from objectives.cloak.data import Part, Photographs
from objectives.cloak.encoders import calibration, critic
from objectives.cloak.model import apply_change
from objectives.cloak.task import Cloaking, tier
from objectives.common import files
from objectives.common.colour import as_uint8
from objectives.common.content import content_hash
from objectives.common.crops import resized
from objectives.common.folder import Job, Made, Result, carry_out, plan_folder
from objectives.common.listing import why_not_picture
from objectives.common.record import RECORD

REPORT = "report.json"
STEPS = 60
RECIPE = Recipe(lr=1.0, batch_size=8, weight_decay=0.0, warmup=0.0, final_lr=1.0, clip=1e9)


@dataclass(frozen=True)
class OwnFiles(Cloaking):
    """The task on given files, without a split."""

    files: tuple[str, ...] = ()

    def photographs(self, split: Part, count: int) -> Photographs:
        return data.read_photographs(self.files[:count], self.size)


@dataclass(frozen=True)
class Settings:
    """How to protect a photograph."""

    task: Cloaking
    recipe: Recipe = RECIPE
    steps: int = STEPS  # for each photograph
    size: int | None = None  # working size in pixels a side; None: the task's


@dataclass(frozen=True)
class Protected:
    """A photograph that was written. Matches are cosines with the original, measured on the written file."""

    source: str
    written: str
    pixels: tuple[int, int]  # across, down
    match_critic: float
    match: float  # by the judge
    match_jpeg: float  # by the judge, after JPEG
    protected: bool  # match_jpeg is below the judge's matching threshold
    visible: float  # visible change at the working size
    visible_limit: float  # at the working size
    largest_change: float  # of any pixel, in levels of 255, the warp included


def load_settings(card: Path) -> Settings:
    """The settings of an exported winner (runs/cloak/winner). Raises ValueError where the card is another task's."""
    if not (card / CARD).is_file():
        raise ValueError(f"--card {card} must be the winner's folder that `hpo promote cloak` writes; no {CARD} in it")
    task = load_winner(card, Cloaking).task
    described: dict[str, Any] = json.loads((card / CARD).read_text())
    recipe: dict[str, Any] = {name: value for name, value in described["recipe"].items() if name != "class"}
    for name, value in recipe.items():
        if isinstance(value, list):  # JSON has no tuples
            recipe[name] = tuple(value)
    fidelity = described["fidelity"]
    steps = fidelity["epochs"] * fidelity["train"] // (task.val_photos + task.test_photos)
    return Settings(task, Recipe(**recipe), steps)


def protect(folder: Path, out: Path, settings: Settings, *, device: str = "auto") -> Iterator[Result]:
    """Protect every photograph in `folder` and its subfolders, and write it to `out`, one at a time.

    The facts of each are the fields of Protected. Raises ValueError, before anything is written, where `out` holds
    other files of these names, or photographs that were protected with other settings.
    """
    plan = plan_folder(folder, out, why_not_picture)
    if (out / REPORT).exists() and not (out / RECORD).exists():
        raise ValueError(f"{out / REPORT} is there already and is not overwritten; name another folder")

    def make(job: Job, output: Path) -> dict[str, Any]:
        result = _protect(job.inputs[0], output, settings, device)
        return asdict(replace(result, source=job.name, written=str(job.output.relative_to(out))))

    return carry_out(plan, _recorded(settings), make)


def protected_of(made: Made) -> Protected:
    """The figures of a photograph that this run or an earlier one has written."""
    across, down = made.facts["pixels"]
    return Protected(**{**made.facts, "pixels": (across, down)})


def protected_image(path: Path, settings: Settings, *, device: str = "auto") -> Tensor:
    """The protected photograph at full size, [3, H, W]."""
    task = working_task(path, settings)
    fidelity = tier(size=task.size, val=1, steps=settings.steps, epochs=1)
    seed = derive("protect", content_hash([path]))  # independent of the other photographs
    last = list(fit(task, replace(settings.recipe, batch_size=1), fidelity, seed=seed, device=device))[-1]
    working = data.make_batch(task.photographs("val", 1), torch.arange(1), 0)
    model = last.model.cpu()
    with torch.no_grad():
        cloaked = model(working.photo_B3SS, working.number_B)
        return apply_change(files.read_image(path)[None], cloaked.change_B3SS, cloaked.flow_B2SS)[0]


def write_png(image_3HW: Tensor, path: Path) -> Tensor:
    """Write a PNG of the pixels alone, and return the image that is read from it."""
    files.write_png(as_uint8(image_3HW), path)
    return files.read_image(path)


def working_task(path: Path, settings: Settings) -> OwnFiles:
    """The task on this one file at the working size.

    A limit on ST-LPIPS is converted from the task's size to the working size, by what the same noise measures at both.
    """
    given = {field.name: getattr(settings.task, field.name) for field in fields(Cloaking)}
    task = OwnFiles(**(given | {"val_photos": 1, "test_photos": 0, "data": None}), files=(str(path),))
    if settings.size in (None, task.size):
        return task
    sized = replace(task, size=settings.size)
    if task.perceptual != "stlpips":  # `pged` is scaled by that noise already
        return sized
    ratio = _noise_distance(sized) / _noise_distance(task)
    return replace(sized, visible_limit=task.visible_limit * ratio)


def _noise_distance(task: OwnFiles) -> float:
    with torch.no_grad():
        photo = data.make_batch(task.photographs("val", 1), torch.arange(1), 0).photo_B3SS
        return float(loss.noise_distance(task.perceptual, photo))


def _recorded(settings: Settings) -> dict[str, Any]:
    """What the protected files depend on beside the photographs."""
    task = {f"task.{name}": value for name, value in asdict(settings.task).items()}
    recipe = {f"recipe.{name}": value for name, value in asdict(settings.recipe).items()}
    return {"command": "cloak", **task, **recipe, "steps": settings.steps, "size": settings.size or settings.task.size}


def _protect(path: Path, target: Path, settings: Settings, device: str) -> Protected:
    original = files.read_image(path)
    written = write_png(protected_image(path, settings, device=device), target)
    task = working_task(path, settings)
    attacked, judge = critic(task.critic), critic(task.judge)
    with torch.no_grad():
        identity = judge.embed(original[None])
        match_jpeg = float(loss.match(judge, loss.as_jpeg(written[None]), identity))
        return Protected(
            source=path.name,
            written=target.name,
            pixels=(written.shape[2], written.shape[1]),
            match_critic=float(loss.match(attacked, written[None], attacked.embed(original[None]))),
            match=float(loss.match(judge, written[None], identity)),
            match_jpeg=match_jpeg,
            protected=match_jpeg < calibration(task.judge).match_threshold,
            visible=_visible_change(task, written, original),
            visible_limit=task.visible_limit,
            largest_change=float((written - original).abs().max() * 255),
        )


def _visible_change(task: Cloaking, written: Tensor, original: Tensor) -> float:
    """At the working size."""
    after, before = (resized(image, task.size)[None] for image in (written, original))
    unit = loss.unit_distance(task.perceptual, before)
    return float(loss.visible_change(task.perceptual, after, before, unit))


def write_report(out: Path, settings: Settings, results: list[Protected]) -> Path:
    """Write the settings and every photograph's figures beside the photographs, as JSON, and return the path."""
    write_json(
        out / REPORT,
        {
            "critic": settings.task.critic,
            "judge": settings.task.judge,
            "perceptual_backend": settings.task.perceptual,
            "threshold": calibration(settings.task.judge).match_threshold,
            "settings": asdict(settings.task),
            "steps": settings.steps,
            "size": settings.size or settings.task.size,
            "photographs": [asdict(result) for result in results],
        },
    )
    return out / REPORT
