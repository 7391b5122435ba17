"""python -m objectives.xtrans.forgetting: what fine-tuning on patterns gains, and what it makes a network forget.

For every mixture the same parent goes on for the same number of steps, with several seeds; and is compared with itself
before, on the same validation tiles and the same patterns. Intervals are over seeds and tiles (or patterns).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from hpo.engine.training import fit
from hpo.promotion.intervals import Interval, crossed_interval
from hpo.task import Fidelity
from objectives.xtrans import data, loss
from objectives.xtrans.finetune import MIXTURES, FineTune
from objectives.xtrans.parent import RECIPE
from objectives.xtrans.task import seen_by


@dataclass(frozen=True)
class Outcome:
    """What a mixture came to, dB, less the parent. Forgetting is what is lost on photographs, as seen."""

    mixture: str
    forgetting: Interval
    linear: Interval  # psnr_lin of photographs
    patterns: Interval  # linear PSNR of patterns
    grid_rise: tuple[float, ...]  # of each seed


def outcomes(
    mixtures: Sequence[str], *, seeds: int, steps: int, lr: float, tiles: int, train: int
) -> Iterator[Outcome]:
    """One for each mixture. The parent is trained on `train` crops an epoch, if it has not been before."""
    for mixture in mixtures:
        runs = [
            measured(FineTune(mixture=mixture, parent_train=train), steps, lr, seed, tiles) for seed in range(seeds)
        ]
        found = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        yield Outcome(
            mixture,
            crossed_interval(-found["psnr_srgb"]),
            crossed_interval(found["psnr_lin"]),
            crossed_interval(found["patterns"]),
            tuple(found["grid"][:, 0].tolist()),
        )


def measured(task: FineTune, steps: int, lr: float, seed: int, tiles: int) -> dict[str, np.ndarray]:
    """Each tile's and each pattern's gain over the parent, after the last step: what is kept is not chosen."""
    fidelity = Fidelity(size=48, train=RECIPE.batch_size * steps, val=1, epochs=1)
    *_, last = fit(task, replace(RECIPE, lr=lr), fidelity, seed=seed, device="cpu")
    batch = data.tiles("val", tiles, task.down, task.data, task.gain)
    after, before = (numbers(model, batch) for model in (last.model, task.parent_model()))
    return {name: (after[name] - before[name]).double().numpy() for name in after}


@torch.no_grad()
def numbers(model: nn.Module, batch: data.Batch) -> dict[str, Tensor]:
    """Scores tile by tile and pattern by pattern, and the grid of all tiles."""
    model = model.eval()
    patterns = loss.torture_scores(lambda given: model(*seen_by(given)), batch)
    made = model(*seen_by(batch))
    grid = loss.judged(lambda given: made if given is batch else given.target_B3SS, [batch], probes=False)
    return {**loss.tile_scores(made, batch), "patterns": patterns, "grid": torch.tensor([grid["grid_even_db"]])}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m objectives.xtrans.forgetting", description=__doc__.splitlines()[0])
    parser.add_argument("--mixtures", nargs="+", choices=MIXTURES, default=list(MIXTURES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200, help="of eight examples each")
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--tiles", type=int, default=25, help="of validation")
    parser.add_argument("--parent-train", type=int, default=1600, help="crops an epoch of the parent's training")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for lr in given.lr:
        print(
            f"{given.steps} steps at {lr:g}, {given.seeds} seeds, {given.tiles} tiles; dB against the parent, "
            f"95 % intervals"
        )
        print(f"{'mixture':10} {'forgetting, as seen':>26} {'photographs, linear':>26} {'patterns':>26} {'grid':>6}")
        for one in outcomes(
            given.mixtures, seeds=given.seeds, steps=given.steps, lr=lr, tiles=given.tiles, train=given.parent_train
        ):
            columns = (_said(interval) for interval in (one.forgetting, one.linear, one.patterns))
            print(
                f"{one.mixture:10} "
                + " ".join(f"{column:>26}" for column in columns)
                + f" {np.mean(one.grid_rise):+6.1f}",
                flush=True,
            )


def _said(interval: Interval) -> str:
    return f"{interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


if __name__ == "__main__":
    main()
