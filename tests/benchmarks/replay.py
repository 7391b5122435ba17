"""How fast a search finds good configurations, played on tables of learning curves: hpo's, and those of Optuna.

    python -m tests.benchmarks.replay [SEEDS]

Tables are looked for in ../shared/tables and in $HPO_TABLES. A row says how many times fewer full trainings than stock
Optuna (TPE and median pruning) are spent until a completed trial has a regret of 0.10: a tenth of the way from the
table's best configuration to its median one.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import optuna

from hpo.seeds import derive
from tests.benchmarks.measured import Measured, Row
from tests.benchmarks.search.replay import CAP, Played, Search, play
from tests.benchmarks.search.searches import Auto, Stock
from tests.benchmarks.search.tables import Planted, Table, plant, read_table

FOLDERS = (Path("../shared/tables"), Path(os.environ.get("HPO_TABLES", "/nonexistent")))
PLANTED_SEEDS = 128
GOALS = {1: "2.0 / 1.3", 4: "1.9 / 1.3"}  # with so many workers, at a regret of 0.10 / 0.05


class Rival(Stock):
    """A search of Optuna with another sampler and pruner."""

    def __init__(self, table: Table, seed: int) -> None:
        super().__init__(table, seed)
        number = derive(seed, "stock") % 2**32
        # Hyperband's brackets follow from the study's name
        self.study = optuna.create_study(
            study_name=f"{type(self).__name__}-{seed}", sampler=self.sampler(number), pruner=self.pruner(table.epochs)
        )

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(multivariate=True, seed=seed)

    def pruner(self, epochs: int) -> optuna.pruners.BasePruner:
        return optuna.pruners.NopPruner()


class Random(Rival):
    """Random configurations, all trained to their end."""

    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.RandomSampler(seed=seed)


class Hyperband(Rival):
    """TPE with Hyperband."""

    def pruner(self, epochs: int) -> optuna.pruners.BasePruner:
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)


class Halving(Rival):
    """TPE with asynchronous successive halving."""

    def pruner(self, epochs: int) -> optuna.pruners.BasePruner:
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


Make = Callable[[Table, int], Search]
RIVALS: dict[str, Make] = {
    "Optuna, TPE with Hyperband": Hyperband,
    "Optuna, TPE with successive halving": Halving,
    "Optuna, random": Random,
}


def measure(seeds: int = 64) -> Measured:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tables = {path.stem: read_table(path) for path in tables_here()}
    rows = []
    for workers in (1, 4):
        stock = played(Stock, tables.values(), workers, seeds)
        sides = {'hpo, pruning="auto"': played(auto, tables.values(), workers, seeds)}
        if workers == 1:
            sides |= {name: played(make, tables.values(), workers, seeds) for name, make in RIVALS.items()}
        for name, side in sides.items():
            is_ours = name.startswith("hpo")
            rows.append(
                Row(
                    f"{name}, {workers} worker{'s' if workers > 1 else ''}: speed-up to a regret of 0.10 / 0.05",
                    f"{speed_up(stock, side, 0.10):.2f} / {speed_up(stock, side, 0.05):.2f}",
                    GOALS[workers] if is_ours else "",
                    f"trainings to a regret of 0.10 / 0.05, Optuna / hpo, {workers} worker{'s' if workers > 1 else ''}"
                    if is_ours
                    else "",
                )
            )
            print(rows[-1].quantity, rows[-1].measured, flush=True)
    rows += [planted(kind, name, table) for kind in get_args(Planted) for name, table in tables.items()]
    return Measured(
        tuple(rows),
        f"Geometric means over {len(tables)} tables of ratios of the mean full trainings, {seeds} seeds; stock is 1.",
    )


def tables_here() -> list[Path]:
    """The files of the tables. Raises FileNotFoundError where there are none."""
    paths = [path for folder in FOLDERS for path in sorted(folder.glob("*.npz"))]
    if not paths:
        raise FileNotFoundError(f"no tables (*.npz) in {FOLDERS[0]}; set HPO_TABLES to the folder that has them")
    return paths


def auto(table: Table, seed: int) -> Search:
    """hpo's own search object."""
    return Auto(table, seed, trainings=CAP)


def played(make: Make, tables: Iterable[Table], workers: int, seeds: int) -> list[list[Played]]:
    """The runs of a search, by table."""
    return [[play(make(table, seed), table.epochs, table.regret, workers) for seed in range(seeds)] for table in tables]


def speed_up(stock: list[list[Played]], side: list[list[Played]], regret: float) -> float:
    """The geometric mean over tables of stock's mean time to a regret, over the other's."""
    ratios = [mean_time(a, regret) / mean_time(b, regret) for a, b in zip(stock, side, strict=True)]
    return statistics.geometric_mean(ratios)


def mean_time(runs: list[Played], regret: float) -> float:
    return statistics.fmean(run.time_to(regret) for run in runs)


def planted(kind: Planted, name: str, table: Table) -> Row:
    """The regret at the end where the early ranking misleads."""
    bent = plant(table, kind)
    ours, stock = (
        statistics.fmean(run.regret for run in played(make, [bent], 1, PLANTED_SEEDS)[0]) for make in (auto, Stock)
    )
    quantity = f"planted curves, {kind}, on {name}: regret after {CAP} trainings, as a multiple of stock's"
    return Row(quantity, f"{ours / stock:.2f} ({ours:.3f})", "1.25")


if __name__ == "__main__":
    for row in measure(*map(int, sys.argv[1:])).rows:
        print(f"{row.quantity}: {row.measured}")
