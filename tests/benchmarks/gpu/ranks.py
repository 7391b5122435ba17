"""Two ranks come to what one process comes to: over NCCL where there are two cards, else over gloo on the CPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from hpo.promotion.promote import promote
from hpo.recipe import Recipe
from hpo.search.sweep import sweep
from hpo.space import log
from hpo.storage.folder import RunFolder
from hpo.task import Fidelity
from hpo.trial.provenance import identity
from tests.benchmarks.gpu.claim import Claim, distance, result, scratch
from tests.toy import INPUTS, toy_study

FULL = Fidelity(size=INPUTS, train=50, val=32, epochs=4, test=40)
STUDY = toy_study(
    recipe=Recipe(lr=0.1, batch_size=16, ema=0.5, accumulate=2),
    trials=1,
    keep=1,
    seeds=1,
    pruning=None,
    cheap=FULL,
    full=FULL,
    space={"recipe.lr": log(1e-3, 0.3)},
)
SAME = 1e-4  # relative: sums in another order, over all steps of a run


def check(device: str) -> Iterator[Claim]:
    cards = torch.cuda.device_count() if device != "cpu" else 0
    where, name = ("cuda", "NCCL on two cards") if cards >= 2 else ("cpu", f"gloo on the CPU ({cards} cards here)")
    with scratch() as runs:
        sweep(STUDY, RunFolder(runs / "one"), identity(STUDY), device=where)
        shutil.copytree(runs / "one", runs / "two")
        values = [promoted(runs / folder, ranks, where) for folder, ranks in (("one", 1), ("two", 2))]
    apart = max(distance(a, b) for a, b in zip(*values, strict=True))
    yield result(apart < SAME, f"{name}: {len(values[0])} scores of two ranks within {apart:.1e} of one process's")


def promoted(folder: Path, ranks: int, device: str) -> list[float]:
    """Promote, and return the validation and test scores of all runs."""
    promote(STUDY, RunFolder(folder), identity(STUDY), device=device, devices=ranks)
    verdict = json.loads((folder / "verdict.json").read_text())
    runs = [run for each in verdict["results"] for run in each["runs"]]
    return [score for run in runs for score in (run["value"], run["test"]["mse"])]
