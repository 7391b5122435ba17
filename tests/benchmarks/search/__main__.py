"""The sweep with pruning="auto" against stock Optuna, played on a table of learning curves.

    python -m tests.benchmarks.search TABLE.npz [--workers K] [--seeds N] [--curves NAME] [--planted NAME]

The last line is JSON. t10 and t05: how many times fewer full trainings until a completed trial has regret 0.10, or 0.05
(the ratio of the means over seeds). regret20: the mean regret of the best completed trial after 20 full trainings. What
begins with "stock_" is stock Optuna's own figure. --planted plays curves whose early ranking misleads.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import get_args

import optuna

from tests.benchmarks.search.replay import CAP, Played, play
from tests.benchmarks.search.searches import Auto, Stock
from tests.benchmarks.search.tables import Planted, Table, plant, read_table


def main() -> None:
    options = _options()
    table = read_table(options.table, options.curves)
    if options.planted:
        table = plant(table, options.planted)
    with ProcessPoolExecutor(options.processes) as pool:
        runs = (pool.map if options.processes > 1 else map)(
            partial(play_both, table, options.workers), range(options.seeds)
        )
        auto, stock = zip(*runs, strict=True)
    print(json.dumps(figures(auto, stock, options.workers)))


def play_both(table: Table, workers: int, seed: int) -> tuple[Played, Played]:
    """Both searches with one seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searches = Auto(table, seed, trainings=CAP), Stock(table, seed)
    auto, stock = (play(search, table.epochs, table.regret, workers) for search in searches)
    return auto, stock


def figures(auto: tuple[Played, ...], stock: tuple[Played, ...], workers: int) -> dict[str, float]:
    """What is printed."""
    shown: dict[str, float] = {}
    for key, regret in (("t10", 0.10), ("t05", 0.05)):
        own, other = (fmean(played.time_to(regret) for played in side) for side in (auto, stock))
        shown |= {key: other / own, f"own_{key}": own, f"stock_{key}": other}
    shown["regret20"] = fmean(played.regret for played in auto)
    shown["stock_regret20"] = fmean(played.regret for played in stock)
    return {**{key: round(value, 4) for key, value in shown.items()}, "workers": workers, "seeds": len(auto)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search")
    parser.add_argument("table", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--curves", help="the array in the file; default: the longest at full data, seed 0")
    parser.add_argument("--planted", choices=get_args(Planted))
    parser.add_argument("--processes", type=int, default=1, help="that play seeds side by side")
    return parser.parse_args()


if __name__ == "__main__":
    main()
