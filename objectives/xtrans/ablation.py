"""python -m objectives.xtrans.ablation task.base=nc task.patterns=0,task.base=nc: what a setting is worth.

Trains the default and every setting with the same number of crops, and compares them on the validation scenes, which
never judge. Differences are paired by scene, and intervals are over seeds and scenes.
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hpo import Fidelity, Interval, Recipe, crossed_interval, fit
from objectives.xtrans import data, loss
from objectives.xtrans.task import XTrans

RECIPE = Recipe(lr=1e-3, batch_size=8, weight_decay=1e-4, warmup=0.05, clip=0.5)
SCORES = {
    "psnr_lin": "linear",
    "psnr_srgb": "displayed",
    "torture_psnr": "patterns",
    "grid_even_db": "grid",
    "offdomain_grid_db": "wrong white balance: grid",
}


@dataclass(frozen=True)
class Trained:
    """What a setting came to, run by run."""

    scores: dict[str, float]  # means over the runs
    by_scene: np.ndarray  # psnr_lin, [run, scene]
    cpu_seconds: float  # of a run


def trained(changes: str, fidelity: Fidelity, seeds: int) -> Trained:
    """Runs with some fields changed: "task.base=nc,recipe.lr=4e-3"; "" is the default."""
    task, recipe = changed(changes)
    runs = []
    by_scene = []
    start = time.process_time()
    for seed in range(seeds):
        *_, last = fit(task, recipe, fidelity, seed=seed, device="cpu")
        runs.append(last.record.scores)
        by_scene.append(_by_scene(task, last.model))
    seconds = (time.process_time() - start) / seeds
    return Trained({name: float(np.mean([run[name] for run in runs])) for name in SCORES}, np.stack(by_scene), seconds)


def changed(changes: str) -> tuple[XTrans, Recipe]:
    """The task and recipe with these fields. Raises ValueError for a change that is not owner.field=value."""
    task, recipe = XTrans(), RECIPE
    for change in filter(None, changes.split(",")):
        name, equals, text = change.partition("=")
        owner, dot, field = name.partition(".")
        if not (equals and dot) or owner not in ("task", "recipe"):
            raise ValueError(f"a change must be task.FIELD=VALUE or recipe.FIELD=VALUE; got {change!r}")
        value = _value(text)
        if owner == "task":
            task = replace(task, **{field: value})
        else:
            recipe = replace(recipe, **{field: value})
    return task, recipe


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@torch.no_grad()
def _by_scene(task: XTrans, model: torch.nn.Module) -> np.ndarray:
    """Mean psnr_lin of each validation scene."""
    tiles = data.tiles("val", data.count_tiles("val", task.source), task.source, task.gain)
    psnr = loss.tile_scores(model.eval()(*data.model_inputs(tiles)), tiles)["psnr_lin"]
    return np.array([float(psnr[tiles.scene_B == scene].mean()) for scene in tiles.scene_B.unique()])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for the default and one for each setting."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    tiles = data.count_tiles("val", XTrans().source)
    fidelity = Fidelity(size=48, train=options.train, val=tiles, epochs=options.epochs)
    print(f"{options.epochs} x {options.train} crops, {options.seeds} seeds, {tiles} validation tiles; dB")
    print(f"{'setting':60} {'  '.join(SCORES.values())}  linear, from the default   CPU s a run")
    default = trained("", fidelity, options.seeds)
    print(_line("the default", default, None), flush=True)
    for changes in options.settings:
        result = trained(changes, fidelity, options.seeds)
        lead = crossed_interval(result.by_scene - default.by_scene)
        print(_line(changes, result, lead), flush=True)


def _line(name: str, result: Trained, lead: Interval | None) -> str:
    values = "  ".join(f"{value:6.2f}" for value in result.scores.values())
    interval = "" if lead is None else f"{lead.mean:+.2f} [{lead.low:+.2f}, {lead.high:+.2f}]"
    return f"{name:60} {values}  {interval:>24} {result.cpu_seconds:8.0f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m objectives.xtrans.ablation",
        description="Measure on the validation scenes what settings of the X-Trans task are worth.",
    )
    parser.add_argument("settings", nargs="*", help="fields to change, joined by commas: task.base=nc,recipe.lr=4e-3")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each setting")
    parser.add_argument("--train", type=int, default=800, help="crops an epoch")
    parser.add_argument("--epochs", type=int, default=6)
    return parser


if __name__ == "__main__":
    main()
