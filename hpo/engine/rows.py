"""Rows: what examples came to, one row an example, and which of them belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo.code.place import broken
from hpo.contract.returned import checked_columns
from hpo.data.batch import examples_in
from hpo.task import Columns, Task


@dataclass(frozen=True)
class Rows:
    """The rows of some examples."""

    columns: Columns
    clusters_N: Tensor | None  # equal numbers belong together; None: each example is alone

    def to_cpu(self) -> Rows:
        """The same rows on the CPU."""
        clusters_N = self.clusters_N.cpu() if self.clusters_N is not None else None
        return Rows({name: column.cpu() for name, column in self.columns.items()}, clusters_N)

    @property
    def clusters(self) -> int | None:
        """How many clusters there are; None where each example is alone."""
        return None if self.clusters_N is None else len(set(self.clusters_N.tolist()))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def rows_of(task: Task[Any], columns: Columns, batch: NamedTuple, *, source: str) -> Rows:
    """The columns of a batch as rows. `source` is the method that gave them, for the message.

    Raises ContractError unless each column is a tensor with one row an example.
    """
    columns = checked_columns(task, columns, examples_in(batch), source=source)
    return Rows(columns, _clusters(task, batch))


def join(parts: Sequence[Rows]) -> Rows:
    """All rows in order, on the CPU, with floating-point columns in double precision."""
    columns = {name: _as_double(torch.cat([part.columns[name] for part in parts]).cpu()) for name in parts[0].columns}
    clusters = [part.clusters_N for part in parts if part.clusters_N is not None]
    return Rows(columns, torch.cat(clusters).cpu() if clusters else None)


def _as_double(column: Tensor) -> Tensor:
    return column.double() if column.is_floating_point() else column


def _clusters(task: Task[Any], batch: NamedTuple) -> Tensor | None:
    if task.cluster is None:
        return None
    if task.cluster not in batch._fields:
        raise broken(task, "batches", f"must yield the field {task.cluster!r}, its cluster; got {list(batch._fields)}")
    return numbered(getattr(batch, task.cluster))


def numbered(values: Tensor | np.ndarray | Iterable[object]) -> Tensor:
    """A whole number for each value, the same in every batch and process."""
    if isinstance(values, Tensor):
        return values
    digests = [hashlib.sha256(repr(value).encode()).digest() for value in values]
    return torch.tensor([int.from_bytes(digest[:8], "big", signed=True) for digest in digests])
