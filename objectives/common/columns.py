"""What examples came to with a method, where no task is at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import torch

from hpo import Columns

B = TypeVar("B", bound=NamedTuple)


@torch.no_grad()
def columns_over(method: Callable[[B], Columns], batches: Iterable[B]) -> Columns:
    """The rows of all batches as `Task.metrics` gets them: on the CPU, floating-point ones in double precision."""
    parts = [method(batch) for batch in batches]
    joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    return {name: column.double() if column.is_floating_point() else column for name, column in joined.items()}
