"""Pseudo-values: what each block of examples adds to a score of all of them, whatever the score.

For a score of G blocks, p_g = G score(all) - (G - 1) score(all but block g). For the mean of equal blocks p_g is the
mean of block g; for a ratio, a root, a rank statistic or a median it stands in the place of one, so that the same
interval serves every score. Source: the jackknife, Quenouille 1956 and Tukey 1958.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpo.engine.evaluation import scores_of
from hpo.engine.rows import Rows
from hpo.seeds import generator
from hpo.task import Columns, Task

BLOCKS = 30  # each costs a call of metrics(); 10 to 30 cover alike, for ranks, ratios, counts and medians


def blocks_of(rows: Rows) -> Tensor:
    """The number of each example's block, from 0: [N].

    A block is a cluster, or several where there are more than BLOCKS. Where all examples are of one cluster, or each is
    alone, the blocks are random examples: equal in size, and the same ones for every model.
    """
    if rows.clusters_N is None:
        return _spread(len(rows))
    values, cluster_N = np.unique(rows.clusters_N.numpy(), return_inverse=True)
    if len(values) == 1:
        return _spread(len(rows))
    if len(values) <= BLOCKS:
        return torch.from_numpy(cluster_N)
    return _spread(len(values))[cluster_N]


def _spread(count: int) -> Tensor:
    """`count` things in random blocks of equal size, or of sizes that differ by one: [count]."""
    return torch.randperm(count, generator=generator("blocks")) % min(count, BLOCKS)


def pseudo_values(task: Task[Any], rows: Rows, scores: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
    """The pseudo-values of each score, a number a block. `scores` are those of all rows."""
    block_N = blocks_of(rows)
    blocks = int(block_N.max()) + 1
    without = [scores_of(task, _kept(rows.columns, block_N != block)) for block in range(blocks)]
    return {
        name: tuple(blocks * score - (blocks - 1) * rest.get(name, float("nan")) for rest in without)
        for name, score in scores.items()
    }


def _kept(columns: Columns, keep_N: Tensor) -> Columns:
    return {name: column[keep_N] for name, column in columns.items()}
