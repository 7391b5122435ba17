"""Export the winner of a promotion: weights as safetensors, a JSON card that rebuilds the model, and pictures."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from hpo.code.harness import code_hash
from hpo.engine.evaluation import evaluate, resolve_device
from hpo.engine.own_training import OwnTraining
from hpo.errors import Unfaithful
from hpo.files import make_folder, write_json, write_whole
from hpo.plain import nulled, plain
from hpo.promotion.own_runs import EXPORTED
from hpo.promotion.results import Result, RunResult, Verdict
from hpo.promotion.retune import with_settings
from hpo.promotion.test_split import SplitBatches
from hpo.recipe import Recipe
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Chart, Fidelity, Picture
from hpo.trial import provenance
from hpo.trial.artifact import CARD, card_of, load_winner
from hpo.trial.weights import WEIGHTS


def export_winner(study: StudySpec, folder: RunFolder, verdict: Verdict, *, device: str) -> Path:
    """Write the weights and the card of the winner's best run, and return their folder.

    The best run is the one with the best validation score. The model is then loaded from that folder and scored on the
    test split again; raises Unfaithful where it has other scores than the run had. Of a task that trains itself the
    folder holds what that has exported instead of weights.
    """
    winner = verdict.winning
    run = best_run(study, winner)
    task, recipe = study.configure(winner.candidate.params, study.full, fold=run.seed_index)
    task = with_settings(task, run.chosen)
    source = folder.trial("promotion", run.number)
    card = {
        "study": study.name,
        "winner": winner.candidate.name,
        "verdict": verdict.sentence,
        **card_of(task),
        "recipe": nulled(plain(recipe)),
        "fidelity": plain(study.full),
        "params": dict(winner.candidate.params),
        "chosen_after_training": dict(run.chosen),
        "seed_index": run.seed_index,
        "validation": run.value,
        "test": nulled(run.test),
        "versions": provenance.versions(),
        "code": code_hash(type(task)),
    }
    if isinstance(task, OwnTraining):
        if (source / EXPORTED).is_dir():
            shutil.copytree(source / EXPORTED, folder.export, dirs_exist_ok=True)
        write_json(folder.export / CARD, card)
        return folder.export
    weights = (source / WEIGHTS).read_bytes()
    write_whole(folder.export / WEIGHTS, weights)
    write_json(folder.export / CARD, {**card, "sha256": hashlib.sha256(weights).hexdigest()})
    _require_same_scores(run, study.full, folder.export, recipe, device=device)
    return folder.export


def _require_same_scores(run: RunResult, fidelity: Fidelity, winner: Path, recipe: Recipe, *, device: str) -> None:
    exported = load_winner(winner)
    model = exported.model.to(resolve_device(device))
    batches = SplitBatches(exported.task, "test", fidelity, recipe.batch_size)
    scores = evaluate(exported.task, model, batches, precision=recipe.precision)
    for name, promoted in run.test.items():
        if not _agree(scores[name], promoted):
            raise Unfaithful(
                f"the exported model has another {name} on the test split than the promoted one: "
                f"{scores[name]:.6g}, not {promoted:.6g}; look for what its state_dict does not hold"
            )


def best_run(study: StudySpec, result: Result) -> RunResult:
    """The run of a candidate with the best validation score."""
    return study.direction.best(result.runs, key=lambda run: run.score)


def write_pictures(folder: Path, pictures: Iterable[Picture | Chart]) -> None:
    """Write panels as PNG files and an index.json of all pictures in order, which holds the charts' own JSON."""
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
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
    write_json(folder / "index.json", index)


def _agree(value: float, expected: float) -> bool:
    if value == expected or (math.isnan(value) and math.isnan(expected)):
        return True
    return abs(value - expected) <= 1e-4 * max(1.0, abs(expected))
