"""Protect the photographs in a folder of one's own, and say how well that went.

Each is changed at the working size, on its own, and the change is stretched to the photograph's full size. What is
written is PNG, so that the file holds exactly the pixels that were judged, and nothing of the original file but them:
no EXIF, no place, no date, no thumbnail.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from hpo.engine.training import fit
from hpo.files import write_json
from hpo.recipe import Recipe
from hpo.seeds import derive
from hpo.trial.artifact import CARD, load_winner
from objectives.cloak import data, loss
from objectives.cloak.data import Part, Photographs
from objectives.cloak.encoders import calibration, critic
from objectives.cloak.model import applied
from objectives.cloak.task import Cloaking, tier
from objectives.common import files
from objectives.common.colour import as_uint8
from objectives.common.crops import resized

REPORT = "report.json"
STEPS = 60
RECIPE = Recipe(lr=1.0, batch_size=8, weight_decay=0.0, warmup=0.0, final_lr=1.0, clip=1e9)


@dataclass(frozen=True)
class OwnFiles(Cloaking):
    """The task on named files, all of which are held."""

    files: tuple[str, ...] = ()

    def photographs(self, split: Part, count: int) -> Photographs:
        return data.read(self.files[:count], self.size)


@dataclass(frozen=True)
class Settings:
    """How to protect: a task's settings, a recipe, how many steps, and at which working size."""

    task: Cloaking
    recipe: Recipe = RECIPE
    steps: int = STEPS
    size: int | None = None  # None: the task's


@dataclass(frozen=True)
class Protected:
    """One written photograph. Cosines are with the original; the judge's are measured on the file that was written."""

    source: str
    written: str
    pixels: tuple[int, int]  # across, down
    match_critic: float
    match: float  # by the judge
    match_jpeg: float  # by the judge, after JPEG
    protected: bool  # match_jpeg is below the judge's matching threshold
    visible: float  # at the working size
    visible_limit: float  # there
    largest_change: float  # in levels of 255, anywhere, the warp included


def settings_of(card: Path) -> Settings:
    """The settings of an exported winner (runs/cloak/winner). Raises ValueError where it is of another task."""
    if not (card / CARD).is_file():
        raise ValueError(f"--card {card} must be the winner's folder that `hpo promote cloak` writes; no {CARD} in it")
    task, described = load_winner(card).task, json.loads((card / CARD).read_text())
    if not isinstance(task, Cloaking):
        raise ValueError(f"--card {card} must be a card of cloak; it is of {described['task']}")
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in described["recipe"].items()
        if key != "class"
    }
    fidelity = described["fidelity"]
    steps = fidelity["epochs"] * fidelity["train"] // (task.val_photos + task.test_photos)
    return Settings(task, Recipe(**given), steps)


def protect(folder: Path, out: Path, settings: Settings, *, device: str = "auto") -> Iterator[Protected]:
    """Protect every photograph directly in `folder` and write it to `out`, one at a time.

    Raises ValueError where a file cannot be read, one that would be written is there already, or both folders are one.
    """
    names = written_names(files.image_files(folder))
    if out.resolve() == folder.resolve():
        raise ValueError(f"OUT must be another folder than {folder}: originals and protected ones would lie together")
    there = [name for name in (*names.values(), REPORT) if (out / name).exists()]
    if there:
        raise ValueError(f"{out} must not hold {there[0]}: nothing is ever overwritten")
    for path in names:
        files.read_image(path)  # what cannot be read is told before anything is written
    out.mkdir(parents=True, exist_ok=True)
    for path, name in names.items():
        yield _protect(path, out / name, settings, device)


def written_names(paths: list[Path]) -> dict[Path, str]:
    """NAME.png for each file; where two would be called the same, their suffixes tell them apart."""
    stems = [path.stem for path in paths]
    return {path: f"{path.stem if stems.count(path.stem) == 1 else path.name}.png" for path in paths}


def changed(path: Path, settings: Settings, *, device: str = "auto") -> Tensor:
    """The protected photograph at full size, [3, H, W]."""
    task = working_task(path, settings)
    fidelity = tier(size=task.size, val=1, steps=settings.steps, epochs=1)
    seed = derive("protect", files.content_hash([path]))  # other photographs beside it change nothing
    last = list(fit(task, replace(settings.recipe, batch_size=1), fidelity, seed=seed, device=device))[-1]
    working = data.batch_of(task.photographs("val", 1), torch.arange(1), 0)
    model = last.model.cpu()
    with torch.no_grad():
        made = model(working.photo_B3SS, working.number_B)
        return applied(files.read_image(path)[None], made.change_B3SS, made.flow_B2SS)[0]


def write(image_3HW: Tensor, path: Path) -> Tensor:
    """Write a PNG of the pixels alone, and return what a reader of the file gets."""
    temporary = path.with_suffix(".part")
    Image.fromarray(as_uint8(image_3HW).permute(1, 2, 0).numpy()).save(temporary, "PNG")
    temporary.rename(path)
    return files.read_image(path)


def working_task(path: Path, settings: Settings) -> OwnFiles:
    """The task on this one file at the working size. A limit on ST-LPIPS is carried to another size than the one that
    it was set for by what the same noise measures at both."""
    given = {field.name: getattr(settings.task, field.name) for field in fields(Cloaking)}
    task = OwnFiles(**(given | {"val_photos": 1, "test_photos": 0, "data": None}), files=(str(path),))
    if settings.size in (None, task.size):
        return task
    sized = replace(task, size=settings.size)
    if task.perceptual != "stlpips":  # `pged` is measured in that noise already
        return sized
    ratio = _noise_distance(sized) / _noise_distance(task)
    return replace(sized, visible_limit=task.visible_limit * ratio)


def _noise_distance(task: OwnFiles) -> float:
    with torch.no_grad():
        photo = data.batch_of(task.photographs("val", 1), torch.arange(1), 0).photo_B3SS
        return float(loss.noise_distance(task.perceptual, photo))


def _protect(path: Path, target: Path, settings: Settings, device: str) -> Protected:
    original, written = files.read_image(path), write(changed(path, settings, device=device), target)
    task = working_task(path, settings)
    attacked, judge = critic(task.critic), critic(task.judge)
    with torch.no_grad():
        own, theirs = judge.embed(original[None]), attacked.embed(original[None])
        jpeg = float(loss.match(judge, loss.as_jpeg(written[None]), own))
        after, before = (resized(image, task.size)[None] for image in (written, original))
        seen = loss.visible_change(task.perceptual, after, before, loss.unit_distance(task.perceptual, before))
        return Protected(
            path.name,
            target.name,
            (written.shape[2], written.shape[1]),
            float(loss.match(attacked, written[None], theirs)),
            float(loss.match(judge, written[None], own)),
            jpeg,
            jpeg < calibration(task.judge).match_threshold,
            float(seen),
            task.visible_limit,
            float((written - original).abs().max() * 255),
        )


def write_report(out: Path, settings: Settings, found: list[Protected]) -> Path:
    """The settings and every photograph's figures beside the photographs, as JSON."""
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
            "photographs": [asdict(one) for one in found],
        },
    )
    return out / REPORT
