"""python -m objectives.xtrans.forgetting: what fine-tuning on patterns gains, and what it makes a network forget.

For every mixture the same parent is trained for the same number of steps, with several seeds, and compared with itself
before, on the same validation tiles and the same patterns. Intervals are over seeds and tiles (or patterns).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from hpo import Fidelity, Interval, crossed_interval, fit
from objectives.xtrans import data, loss, spectrum
from objectives.xtrans.data import model_inputs
from objectives.xtrans.finetune import MIXTURES, FineTune
from objectives.xtrans.parent import RECIPE


@dataclass(frozen=True)
class MixtureResult:
    """What fine-tuning on one mixture changed, in dB from the parent."""

    mixture: str
    forgetting: Interval  # what is lost of psnr_srgb on photographs
    linear: Interval  # psnr_lin of photographs
    patterns: Interval  # linear PSNR of patterns
    grid_rise: tuple[float, ...]  # of each seed


def compare_mixtures(
    mixtures: Sequence[str], *, seeds: int, steps: int, lr: float, tiles: int, train: int
) -> Iterator[MixtureResult]:
    """A result for each mixture. The parent is trained on `train` crops an epoch, unless it is in the cache."""
    for mixture in mixtures:
        task = FineTune(mixture=mixture, parent_train=train)
        runs = [measure_gains(task, steps, lr, seed, tiles) for seed in range(seeds)]
        gains = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        yield MixtureResult(
            mixture,
            crossed_interval(-gains["psnr_srgb"]),
            crossed_interval(gains["psnr_lin"]),
            crossed_interval(gains["patterns"]),
            tuple(gains["grid"][:, 0].tolist()),
        )


def measure_gains(task: FineTune, steps: int, lr: float, seed: int, tiles: int) -> dict[str, np.ndarray]:
    """The gain over the parent on each tile and each pattern, after the last step; no best epoch is chosen."""
    fidelity = Fidelity(size=48, train=RECIPE.batch_size * steps, val=1, epochs=1)
    *_, last = fit(task, replace(RECIPE, lr=lr), fidelity, seed=seed, device="cpu")
    batch = data.tiles("val", tiles, task.source, task.gain)
    after = scores_by_tile(last.model, batch)
    before = scores_by_tile(task.parent_model(), batch)
    return {name: (after[name] - before[name]).double().numpy() for name in after}


@torch.no_grad()
def scores_by_tile(model: nn.Module, batch: data.Batch) -> dict[str, Tensor]:
    """Scores of each tile and each pattern, and the grid of all tiles together."""
    model = model.eval()
    patterns = loss.pattern_scores(lambda tiles: model(*model_inputs(tiles)), loss.all_patterns(batch))
    rgb = model(*model_inputs(batch))
    grid_db, _ = spectrum.grid_db(loss.error_power(rgb, batch).sum(0))
    return {**loss.tile_scores(rgb, batch), "patterns": patterns, "grid": torch.tensor([grid_db])}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each learning rate."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    for lr in options.lr:
        print(
            f"{options.steps} steps at {lr:g}, {options.seeds} seeds, {options.tiles} tiles; dB from the parent, "
            "95 % intervals"
        )
        print(
            f"{'mixture':10} {'forgetting, as displayed':>26} {'photographs, linear':>26} {'patterns':>26} {'grid':>6}"
        )
        results = compare_mixtures(
            options.mixtures,
            seeds=options.seeds,
            steps=options.steps,
            lr=lr,
            tiles=options.tiles,
            train=options.parent_train,
        )
        for result in results:
            print(_line(result), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m objectives.xtrans.forgetting",
        description="Measure what fine-tuning on patterns gains, and what it makes a network forget.",
    )
    parser.add_argument("--mixtures", nargs="+", choices=MIXTURES, default=list(MIXTURES))
    parser.add_argument("--seeds", type=int, default=5, help="runs of each mixture")
    parser.add_argument("--steps", type=int, default=200, help="of eight examples each")
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3], help="learning rates; a table for each")
    parser.add_argument("--tiles", type=int, default=25, help="validation tiles to measure on")
    parser.add_argument("--parent-train", type=int, default=1600, help="crops an epoch of the parent's training")
    return parser


def _line(result: MixtureResult) -> str:
    intervals = (result.forgetting, result.linear, result.patterns)
    columns = " ".join(f"{_signed(interval):>26}" for interval in intervals)
    return f"{result.mixture:10} {columns} {np.mean(result.grid_rise):+6.1f}"


def _signed(interval: Interval) -> str:
    return f"{interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


if __name__ == "__main__":
    main()
