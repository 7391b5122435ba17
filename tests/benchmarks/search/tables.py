"""Tables of learning curves: configurations on a grid, and the validation curve of each. Lower is better."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hpo.space import Space, choose, uniform

CONTINUOUS = ("lr", "wd", "dropout", "clip")  # searched between the levels of the table, too
RUN = re.compile(r"E(?P<epochs>\d+)_[a-z]+(?P<data>[\d.]+)_s(?P<seed>\d+)")
Planted = Literal["reversed", "crossing", "slow", "noise", "late"]
PLANTED_EPOCHS = 27


@dataclass(frozen=True)
class Table:
    """A curve for each point of a grid of levels. Between levels, whole curves are interpolated."""

    names: tuple[str, ...]
    levels: tuple[int, ...]  # of each hyperparameter
    curves_GE: np.ndarray  # of each point of the grid, in C order; epoch

    @property
    def epochs(self) -> int:
        return self.curves_GE.shape[1]

    @property
    def space(self) -> Space:
        """Positions among the levels of each hyperparameter."""
        return {
            name: uniform(0, levels - 1) if name in CONTINUOUS else choose(*range(levels))
            for name, levels in zip(self.names, self.levels, strict=True)
        }

    def curve(self, params: dict[str, float]) -> np.ndarray:
        """The validation value after each epoch."""
        corners = [
            self._neighbours(name, levels, params[name]) for name, levels in zip(self.names, self.levels, strict=True)
        ]
        curve_E = np.zeros(self.epochs)
        for corner in itertools.product(*corners):
            point = np.ravel_multi_index([level for level, _ in corner], self.levels)
            curve_E += math.prod(weight for _, weight in corner) * self.curves_GE[point]
        return curve_E

    def _neighbours(self, name: str, levels: int, position: float) -> list[tuple[int, float]]:
        below = min(int(position), levels - 1)
        share = position - below
        if name not in CONTINUOUS or share == 0:
            return [(below, 1.0)]
        return [(below, 1 - share), (below + 1, share)]

    def regret(self, value: float) -> float:
        """0 for the table's best configuration, 1 for its median one."""
        ends = self.curves_GE.min(axis=1)
        return float((value - ends.min()) / (np.median(ends) - ends.min()))


def read_table(path: Path, curves: str | None = None) -> Table:
    """A table of a file. `curves` names the array; None: the longest at full data, of seed 0."""
    with np.load(path) as arrays:
        name = curves or _longest(arrays.files)
        names, levels = tuple(map(str, arrays["keys"])), tuple(map(int, arrays["levels"]))
        curves_CE, idx_CD = arrays[name][:, :, 0].astype(float), arrays["idx"]
    order = np.argsort(np.ravel_multi_index(idx_CD.T, levels))
    if len(order) != math.prod(levels):
        raise ValueError(f"{path}: the {len(order)} configurations must be all of the grid {levels}")
    return Table(names, levels, np.nan_to_num(curves_CE[order], nan=99.0, posinf=99.0))


def _longest(names: list[str]) -> str:
    runs = [run for run in map(RUN.fullmatch, names) if run and int(run["seed"]) == 0]
    return max(runs, key=lambda run: (int(run["epochs"]), float(run["data"])))[0]


def plant(table: Table, kind: Planted, seed: int = 0) -> Table:
    """The same configurations with curves whose early ranking misleads, in a way that is known."""
    ends_G = table.curves_GE.min(axis=1)
    z_G = (ends_G - ends_G.min()) / (np.median(ends_G) - ends_G.min())
    bent_G = np.minimum(1 + np.log(np.maximum(z_G, 1)), 3 + z_G / 100)
    z_G = np.where(z_G <= 1, z_G, bent_G)
    x_E = (np.arange(PLANTED_EPOCHS) + 1) / PLANTED_EPOCHS
    w_E = _weight(kind, x_E)
    rng = np.random.default_rng(seed)
    size = (len(z_G), PLANTED_EPOCHS)
    noise_GE = rng.normal(0, 0.3, (len(z_G), 1)) + rng.normal(0, 0.05, size)
    curves_GE = 10 * (1 - x_E) + w_E * z_G[:, None] + np.where(w_E == 0, noise_GE, 0)
    return Table(table.names, table.levels, curves_GE)


def _weight(kind: Planted, x_E: np.ndarray) -> np.ndarray:
    """What the end of a configuration counts at each epoch."""
    if kind == "slow":
        return 2 * x_E - 0.6
    early, until = {"reversed": (-1, 0.4), "crossing": (-1, 0.15), "noise": (0, 0.34), "late": (0, 0.8)}[kind]
    return np.where(x_E < until, early, 1)
