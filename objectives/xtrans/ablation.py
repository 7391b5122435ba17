"""What settings of the X-Trans task are worth, with intervals over scenes.

    python -m objectives.xtrans.ablation task.base=nc task.patterns=0,recipe.lr=4e-3

Trains the default and every setting with the same number of crops, and compares them on the validation scenes, which
never judge, with the classical methods beside: this is where one chooses. With --test there is a run for each fold, and
all other scenes judge: this is for what has been chosen.
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpo import Columns, Fidelity, Interval, Recipe, Split, crossed_interval, fit
from objectives.common.batches import parts_of
from objectives.common.columns import columns_over
from objectives.xtrans import data, loss
from objectives.xtrans.data import Batch, model_inputs
from objectives.xtrans.loss import Demosaic
from objectives.xtrans.scenes import FOLDS
from objectives.xtrans.task import XTrans

RECIPE = Recipe(lr=1e-3, batch_size=8, weight_decay=1e-4, warmup=0.05, clip=0.5)
SHOWN = ("psnr_srgb", "torture_psnr", "grid_even_db", "offdomain_grid_db")
SCORING_BATCH = 16
HEADINGS = ("displayed", "patterns", "grid", "wrong balance: grid")


@dataclass(frozen=True)
class Judged:
    """What a method came to in each run: the columns of all tiles, and the scene of each."""

    name: str
    columns: tuple[Columns, ...]
    scenes: tuple[Tensor, ...]
    cpu_seconds: float = 0.0  # of a run's training

    def by_scene(self, score: str, *, apart: bool) -> np.ndarray:
        """The mean of a score in every scene: [run, scene], or [1, all scenes] where each run has scenes of its own."""
        rows = [
            [float(columns[score][scene_B == scene].mean()) for scene in scene_B.unique()]
            for columns, scene_B in zip(self.columns, self.scenes, strict=True)
        ]
        return np.concatenate(rows)[None] if apart else np.array(rows)

    def mean(self, score: str) -> float:
        """The mean of a score over the runs; NaN where the method has none."""
        return float(np.mean([loss.summary(columns).get(score, np.nan) for columns in self.columns]))


def network(changes: str, fidelity: Fidelity, runs: int, split: Split) -> Judged:
    """Runs with some fields changed: "task.base=nc,recipe.lr=4e-3"; "" is the default."""
    task, recipe = changed(changes)
    columns, scenes, seconds = [], [], 0.0
    for run in range(runs):
        task = in_run(task, run, split)
        start = time.process_time()
        *_, last = fit(task, recipe, fidelity, seed=run, device="cpu")
        seconds += time.process_time() - start
        tiles = all_tiles(task, split)
        columns.append(_columns(_method_of(last.model.eval()), tiles, probes=True))
        scenes.append(tiles.scene_B)
    return Judged(changes or "the default", tuple(columns), tuple(scenes), seconds / runs)


def classical(runs: int, split: Split) -> Iterator[Judged]:
    """Every classical method on the same tiles."""
    tasks = [in_run(XTrans(), run, split) for run in range(runs)]
    tiles = [all_tiles(task, split) for task in tasks]
    methods = [task.methods() for task in tasks]
    for name in methods[0]:
        columns = [_columns(of[name], batch, probes=False) for of, batch in zip(methods, tiles, strict=True)]
        yield Judged(name, tuple(columns), tuple(batch.scene_B for batch in tiles))


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


def in_run(task: XTrans, run: int, split: Split) -> XTrans:
    """The task of a run: in a fold of its own where test scenes judge."""
    return replace(task, fold=run) if split == "test" else task


def all_tiles(task: XTrans, split: Split) -> Batch:
    """All tiles of a split."""
    return data.tiles(split, data.count_tiles(split, task.source), task.source, task.gain)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _method_of(model: torch.nn.Module) -> Demosaic:
    return lambda batch: model(*model_inputs(batch))


def _columns(method: Callable[[Batch], Tensor], tiles: Batch, *, probes: bool) -> Columns:
    return columns_over(partial(loss.method_columns, method, probes=probes), parts_of(tiles, SCORING_BATCH))


# -- the command -----------------------------------------------------------------------------------------------------
def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for the default, one for each setting, and one for each classical method."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    split: Split = "test" if options.test else "val"
    runs = FOLDS if options.test else options.seeds
    fidelity = Fidelity(size=48, train=options.train, val=24, epochs=options.epochs)
    print(f"{options.epochs} x {options.train} crops, {runs} runs, all tiles of the {split} split; dB, 95 % intervals")
    print(f"{'setting':50} {'linear':>20} {'lead of the default':>20} {'  '.join(HEADINGS)}  CPU s a run")
    default = network("", fidelity, runs, split)
    print(_line(default, None, apart=options.test), flush=True)
    for changes in options.settings:
        print(_line(network(changes, fidelity, runs, split), default, apart=options.test), flush=True)
    for judged in classical(FOLDS if options.test else 1, split):
        print(_line(judged, default, apart=options.test), flush=True)


def _line(judged: Judged, default: Judged | None, *, apart: bool) -> str:
    linear = judged.by_scene("psnr_lin", apart=apart)
    lead = "" if default is None else _interval(default.by_scene("psnr_lin", apart=apart) - linear, "+.2f")
    shown = "  ".join(f"{judged.mean(score):8.2f}" for score in SHOWN)
    return f"{judged.name:50} {_interval(linear, '.1f'):>20} {lead:>20} {shown}  {judged.cpu_seconds:8.0f}"


def _interval(values: np.ndarray, form: str) -> str:
    interval: Interval = crossed_interval(values)
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m objectives.xtrans.ablation",
        description="Measure what settings of the X-Trans task are worth, with intervals over scenes.",
    )
    parser.add_argument("settings", nargs="*", help="fields to change, joined by commas: task.base=nc,recipe.lr=4e-3")
    parser.add_argument("--test", action="store_true", help="judge on the test scenes, a run for each fold")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each setting, without --test")
    parser.add_argument("--train", type=int, default=800, help="crops an epoch")
    parser.add_argument("--epochs", type=int, default=6)
    return parser


if __name__ == "__main__":
    main()
