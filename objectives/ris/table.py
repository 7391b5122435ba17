"""OSPA by SNR of a trained network and of every other method: `python -m objectives.ris.table [WINNER]`.

WINNER is the folder that a promotion has exported (runs/ris/winner). Without it, the default configuration is trained
first, with one seed: minutes at the full fidelity. The settings of the classical methods are chosen on training scenes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from hpo import Fidelity, Recipe, StudySpec, Tuning, fit, load_winner, put, retune, tune_baselines, uniform
from objectives.ris import CHEAP, FULL, FULL_CPU_LONG, SMOKE
from objectives.ris.comparison import LEARNED, Tables, bin_edges, compare, markdown, not_won
from objectives.ris.data import scenes
from objectives.ris.metrics import interval
from objectives.ris.task import RIS

TIERS = {"smoke": SMOKE, "cheap": CHEAP, "full": FULL, "long": FULL_CPU_LONG}
RECIPE = Recipe(lr=4e-3, batch_size=64, weight_decay=1e-4, warmup=0.15, clip=5.0)


def configured(fidelity: Fidelity) -> tuple[RIS, Recipe]:
    """The default configuration with what the fidelity pins."""
    task_values = {name: value for name, value in fidelity.fixed.items() if name.startswith("task.")}
    recipe_values = {name: value for name, value in fidelity.fixed.items() if name.startswith("recipe.")}
    task = put(task_values, {"task": RIS()})["task"]
    return task.from_data(fidelity), put(recipe_values, {"recipe": RECIPE})["recipe"]


def trained(fidelity: Fidelity, seed: int) -> tuple[RIS, nn.Module]:
    """The default configuration with the weights of its best epoch and the inference settings chosen on validation."""
    task, recipe = configured(fidelity)
    for progress in fit(task, recipe, fidelity, seed=seed):
        print(f"epoch {progress.epoch}: {task.goal} {progress.value:.4f}", flush=True)
    model = task.model()
    model.load_state_dict(progress.best_weights)
    chosen = retune(task, model.eval(), fidelity, progress.best, device="cpu", precision=recipe.precision).chosen
    print(f"chosen on validation: {chosen}", flush=True)
    return put(chosen, {"task": task})["task"], model


def exported(winner: Path) -> tuple[RIS, nn.Module]:
    """The task and the network of a winner's folder. Raises ValueError where it holds another kind of task."""
    task, model = load_winner(winner, RIS)
    return task, model


def tuned(fidelity: Fidelity) -> dict[str, Tuning]:
    """The settings of the classical methods, searched as a promotion of 24 trials does."""
    space = {"task.beta": uniform(0.0, 0.8)}  # a study must search something; no classical method reads it
    study = StudySpec("ris-table", RIS(), space, smoke=fidelity, cheap=fidelity, full=fidelity, recipe=RECIPE)
    return tune_baselines(study)


def rows(task: RIS, model: nn.Module, count: int, chosen: Mapping[str, Tuning]) -> Iterator[str]:
    """The table on `count` test scenes, the paired differences over all scenes, and the bins that are not won."""
    for name, tuning in chosen.items():
        yield f"- {name}: {tuning}"
    yield ""
    batch = scenes(task.scenario, "test", count).take(torch.arange(count))
    with torch.no_grad():
        tables = compare(task.pipeline, model, batch, {name: tuning.settings for name, tuning in chosen.items()})
    edges = bin_edges(task.scenario)
    yield from markdown(tables, edges)
    yield ""
    yield from differences(tables)
    for name, bins in not_won(tables, edges).items():
        yield f"- not won against {name}: {', '.join(bins)}"


def differences(tables: Tables) -> Iterator[str]:
    """OSPA of the learned pipeline minus that of each other method, paired, with 95 % bootstrap intervals."""
    ours = tables.learned[LEARNED].ospa_m
    for name, judged in tables.everything.items():
        if name != LEARNED:
            difference = ours - judged.ospa_m
            low, high = interval(difference)
            yield f"- learned minus {name}: {float(difference.mean()):+.3f} [{low:+.3f}, {high:+.3f}] m"


def main() -> None:
    parser = argparse.ArgumentParser(description="OSPA by SNR of a trained network and of every other method.")
    parser.add_argument("winner", nargs="?", type=Path, help="an exported winner; without it, train the default")
    parser.add_argument("--fidelity", choices=TIERS, default="full", help="the training's size, and the test scenes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    fidelity = TIERS[options.fidelity]
    task, model = exported(options.winner) if options.winner else trained(fidelity, options.seed)
    for row in rows(task, model, fidelity.examples("test"), tuned(fidelity)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
