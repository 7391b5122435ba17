"""What outlives a study: the winner's weights as safetensors, a JSON card that rebuilds the model, and pictures."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from PIL import Image
from torch import Tensor, nn

from hpo import checkpoint, provenance, space
from hpo.heldout import heldout_scores
from hpo.rescore import with_settings
from hpo.storage import RunFolder
from hpo.study import StudySpec
from hpo.task import Chart, Picture, Task
from hpo.verdict import Result, Verdict

WEIGHTS, CARD = "weights.safetensors", "card.json"


class Unfaithful(RuntimeError):
    """What was exported is not what was promoted."""


class Model(NamedTuple):
    """A task and the trained model that belongs to it."""

    task: Task
    model: nn.Module


def packed(weights: Mapping[str, Tensor]) -> bytes:
    """A state dict as safetensors: a format that cannot hold code."""
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in weights.items()})


def write_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    checkpoint.write_whole(folder / WEIGHTS, packed(weights))


def card_of(task: Task) -> dict[str, Any]:
    """What rebuilds a task: where its class lies, and its fields."""
    return {
        "task": f"{type(task).__module__}:{type(task).__qualname__}",
        "fields": space.plain({field.name: getattr(task, field.name) for field in fields(task)}),
    }


def export_winner(study: StudySpec, folder: RunFolder, verdict: Verdict, *, device: str) -> Path:
    """Copy the weights of the winner's best run beside a card, load them back, and demand the same test scores.

    The best run is the one with the best validation score. Raises Unfaithful if the reloaded model scores otherwise.
    """
    winner = verdict.results[0]
    run = best_run(study, winner)
    task, recipe = study.configure(winner.candidate.params, study.full)
    task = with_settings(task, run["chosen"])
    weights = (folder.trial("promotion", run["number"]) / WEIGHTS).read_bytes()
    checkpoint.write_whole(folder.export / WEIGHTS, weights)
    checkpoint.write_json(
        folder.export / CARD,
        {
            "study": study.name,
            "winner": winner.candidate.name,
            "verdict": verdict.sentence,
            **card_of(task),
            "recipe": space.nulled(space.plain(recipe)),
            "fidelity": space.plain(study.full),
            "params": dict(winner.candidate.params),
            "chosen_after_training": dict(run["chosen"]),
            "seed_index": run["seed_index"],
            "validation": run["value"],
            "test": space.nulled(run["test"]),
            "sha256": hashlib.sha256(weights).hexdigest(),
            "versions": provenance.versions(),
            "code": provenance.code_hash(task),
        },
    )
    reloaded = load_winner(folder.export)
    again = heldout_scores(reloaded.task, reloaded.model, study.full, device=device, precision=recipe.precision).scores
    for name, value in run["test"].items():
        if not _agree(again[name], value):
            raise Unfaithful(
                f"the exported model has another {name} on test than the one that was promoted: "
                f"{again[name]:.6g}, not {value:.6g}; look for what its state_dict does not hold"
            )
    return folder.export


def best_run(study: StudySpec, result: Result) -> Mapping[str, Any]:
    """The run of a candidate with the best validation score."""
    sign = 1 if study.task.direction == "minimize" else -1
    return min(result.runs, key=lambda run: sign * run["value"])


def load_winner(folder: Path, of: type[Task] = Task) -> Model:
    """Rebuild a task and its trained model from an exported folder.

    Raises ValueError when the weights are not those that the card was written for, and where the task is none `of`
    that kind.
    """
    if not (folder / CARD).is_file():
        raise ValueError(f"{folder} must be a winner's folder, as `hpo promote` writes it; there is no {CARD} in it")
    card = json.loads((folder / CARD).read_text())
    weights = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(weights).hexdigest() != card["sha256"]:
        raise ValueError(f"{folder / WEIGHTS} is not the file that {CARD} describes: its sha256 differs")
    found = rebuild(card, weights)
    if not isinstance(found.task, of):
        raise ValueError(f"{folder} holds a {type(found.task).__name__}; an exported {of.__name__} is needed")
    return found


def rebuild(card: Mapping[str, Any], weights: bytes) -> Model:
    """The task that a card describes, and its model with these weights. Raises ValueError where it names no task: a
    card may come from anywhere, and calls nothing else."""
    module, _, name = card["task"].partition(":")
    given = {key: _tuples(value) for key, value in card["fields"].items()}
    kind = getattr(importlib.import_module(module), name, None)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise ValueError(f"{CARD}: must name a task, as module:Class; got {card['task']!r}")
    task = kind(**given)
    model = task.model()
    model.load_state_dict(safetensors.torch.load(weights))
    return Model(task, model.eval())


def write_pictures(folder: Path, pictures: Iterable[Picture | Chart]) -> None:
    """Panels as PNG files, charts as their JSON, and an index that names them in order."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    index: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures):
        entry = {"title": picture.title, "caption": picture.caption}
        if isinstance(picture, Chart):
            index.append({**entry, "figure": json.loads(picture.figure_json)})
            continue
        panels = []
        for position, (label, pixels_HW3) in enumerate(picture.panels.items()):
            name = f"{number:02d}-{position}.png"
            Image.fromarray(pixels_HW3).save(folder / name)
            panels.append({"label": label, "file": name})
        index.append({**entry, "panels": panels})
    checkpoint.write_json(folder / "index.json", index)


def _agree(one: float, other: float) -> bool:
    both_odd = math.isnan(one) and math.isnan(other)
    return one == other or both_odd or abs(one - other) <= 1e-4 * max(1.0, abs(other))


def _tuples(value: Any) -> Any:
    """JSON has lists where a frozen task has tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
