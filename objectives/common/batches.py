"""Batches whose fields are all tensors, with the examples along the first axis: joined, and cut into parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import torch

B = TypeVar("B", bound=NamedTuple)


def joined(batches: Iterable[B], device: torch.device | str = "cpu") -> B:
    """All examples in one batch on this device. Raises ValueError where there is no batch."""
    parts = list(batches)
    if not parts:
        raise ValueError("there must be a batch to join; got none")
    return parts[0]._make(torch.cat(fields).to(device) for fields in zip(*parts, strict=True))


def parts_of(batch: B, size: int) -> list[B]:
    """A large batch in batches of `size` examples, of which the last may be shorter."""
    return [batch._make(fields) for fields in zip(*(field.split(size) for field in batch), strict=True)]


def example(batch: B, row: int) -> B:
    """A batch of the example in this row."""
    return batch._make(field[row : row + 1] for field in batch)
