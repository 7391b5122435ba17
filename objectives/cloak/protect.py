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
from PIL import Image
from torch import Tensor

from hpo import CARD, Recipe, derive, fit, load_winner, write_json
from objectives.cloak import data, loss
from objectives.cloak.data import Part, Photographs
from objectives.cloak.encoders import calibration, critic
from objectives.cloak.model import apply_change
from objectives.cloak.task import Cloaking, tier
from objectives.common import files
from objectives.common.colour import as_uint8
from objectives.common.crops import resized

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


def protect(folder: Path, out: Path, settings: Settings, *, device: str = "auto") -> Iterator[Protected]:
    """Protect every photograph directly in `folder` and write it to `out`, one at a time.

    Raises ValueError where a file cannot be read, an output file exists, or the two folders are the same.
    """
    names = output_names(files.image_files(folder))
    if out.resolve() == folder.resolve():
        raise ValueError(f"OUT must be another folder than {folder}: originals and protected copies would be mixed")
    existing = [name for name in (*names.values(), REPORT) if (out / name).exists()]
    if existing:
        raise ValueError(f"{out} must not hold {existing[0]}: nothing is ever overwritten")
    for path in names:
        files.read_image(path)  # a file that cannot be read is reported before anything is written
    out.mkdir(parents=True, exist_ok=True)
    for path, name in names.items():
        yield _protect(path, out / name, settings, device)


def output_names(paths: list[Path]) -> dict[Path, str]:
    """NAME.png for each file; NAME.SUFFIX.png where two files have the same NAME."""
    stems = [path.stem for path in paths]
    return {path: f"{path.stem if stems.count(path.stem) == 1 else path.name}.png" for path in paths}


def protected_image(path: Path, settings: Settings, *, device: str = "auto") -> Tensor:
    """The protected photograph at full size, [3, H, W]."""
    task = working_task(path, settings)
    fidelity = tier(size=task.size, val=1, steps=settings.steps, epochs=1)
    seed = derive("protect", files.content_hash([path]))  # independent of the other photographs
    last = list(fit(task, replace(settings.recipe, batch_size=1), fidelity, seed=seed, device=device))[-1]
    working = data.make_batch(task.photographs("val", 1), torch.arange(1), 0)
    model = last.model.cpu()
    with torch.no_grad():
        cloaked = model(working.photo_B3SS, working.number_B)
        return apply_change(files.read_image(path)[None], cloaked.change_B3SS, cloaked.flow_B2SS)[0]


def write_png(image_3HW: Tensor, path: Path) -> Tensor:
    """Write a PNG of the pixels alone, and return the image that is read from it."""
    temporary = path.with_suffix(".part")
    Image.fromarray(as_uint8(image_3HW).permute(1, 2, 0).numpy()).save(temporary, "PNG")
    temporary.rename(path)
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
