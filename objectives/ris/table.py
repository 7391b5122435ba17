"""OSPA by SNR of a trained network and of every other method: `python -m objectives.ris.table [WINNER]`.

WINNER is the folder that a promotion has exported (runs/ris/winner). Without one, the default configuration is
trained first, with one seed: minutes at the full fidelity.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from hpo.engine.training import fit
from hpo.promotion.retune import retune, with_settings
from hpo.recipe import Recipe
from hpo.space import put
from hpo.task import Fidelity
from hpo.trial.artifact import load_winner
from objectives.ris import CHEAP, FULL, FULL_CPU_LONG, SMOKE
from objectives.ris.comparison import LEARNED, Tables, bin_edges, compare, markdown, not_won
from objectives.ris.data import scenes
from objectives.ris.metrics import interval
from objectives.ris.task import RIS

TIERS = {"smoke": SMOKE, "cheap": CHEAP, "full": FULL, "long": FULL_CPU_LONG}
RECIPE = Recipe(lr=4e-3, batch_size=64, weight_decay=1e-4, warmup=0.15, clip=5.0)


def trained(fidelity: Fidelity, seed: int) -> tuple[RIS, nn.Module]:
    """The default configuration with the weights of its best epoch, and what inference alone reads chosen anew."""
    owners = put(fidelity.fixed, {"task": RIS(), "recipe": RECIPE})
    task, recipe = owners["task"], owners["recipe"]
    for progress in fit(task, recipe, fidelity, seed=seed):
        print(f"epoch {progress.epoch}: {task.goal} {progress.value:.4f}", flush=True)
    model = task.model()
    model.load_state_dict(progress.best_weights)
    chosen = retune(task, model.eval(), fidelity, progress.best, device="cpu", precision=recipe.precision).chosen
    print(f"chosen on validation: {chosen}", flush=True)
    return with_settings(task, chosen), model


def rows(task: RIS, model: nn.Module, count: int) -> Iterator[str]:
    """The table, the paired differences over all scenes, and the bins that are not won."""
    with torch.no_grad():
        tables = compare(task, model, scenes(task.scenario, "test", count).take(torch.arange(count)))
    edges = bin_edges(task)
    yield from markdown(tables, edges)
    yield ""
    yield from differences(tables)
    for name, bins in not_won(tables, edges).items():
        yield f"- not won against {name}: {', '.join(bins)}"


def differences(tables: Tables) -> Iterator[str]:
    """Learned less each other method, paired, with 95 % bootstrap intervals."""
    ours = tables.learned[LEARNED].ospa_m
    for name, judged in tables.everything.items():
        if name != LEARNED:
            low, high = interval(ours - judged.ospa_m)
            yield f"- learned less {name}: {float((ours - judged.ospa_m).mean()):+.3f} [{low:+.3f}, {high:+.3f}] m"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("winner", nargs="?", type=Path, help="an exported winner; left out: train the default")
    parser.add_argument("--fidelity", choices=TIERS, default="full", help="test scenes, and the training's size")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    fidelity = TIERS[options.fidelity]
    task, model = load_winner(options.winner) if options.winner else trained(fidelity, options.seed)
    for row in rows(task, model, fidelity.examples("test")):
        print(row)


if __name__ == "__main__":
    main()
