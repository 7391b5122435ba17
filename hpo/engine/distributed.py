"""One run on several devices: each rank holds the whole model and takes its share of every batch.

The gradients are summed before the step. With one process every function here is a no-op. The step is that of one
device up to the order of sums. Not the same: batch normalisation sees a share at a time, and each rank draws its own
dropout.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import distributed, nn

from hpo.data.batch import examples_in, rows
from hpo.engine.model import parts_with_extra_state
from hpo.engine.rows import Rows

T = TypeVar("T")


def world_size() -> int:
    """The number of processes that share this run."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The number of this rank: 0 alone writes and reports."""
    return distributed.get_rank() if world_size() > 1 else 0


class Share(NamedTuple):
    """This rank's examples of a batch, and what their mean counts in that of the batch."""

    batch: NamedTuple
    weight: float


def share(batch: NamedTuple) -> Share:
    """This rank's share of a batch. Every rank has some: of a batch with fewer examples than ranks, each takes all."""
    if world_size() == 1:
        return Share(batch, 1.0)
    size = examples_in(batch)
    if size < world_size():
        return Share(batch, 1 / world_size())
    first, end = rank() * size // world_size(), (rank() + 1) * size // world_size()
    return Share(rows(batch, slice(first, end)), (end - first) / size)


def total(terms: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """The terms, summed over the ranks."""
    if world_size() == 1:
        return dict(terms)
    sums = torch.tensor(list(terms.values()), dtype=torch.float64, device=device)
    distributed.all_reduce(sums)
    return dict(zip(terms, sums.tolist(), strict=True))


def sum_gradients(model: nn.Module) -> None:
    """Sum the gradients over the ranks. One that no rank has stays None: it gets no step and no weight decay."""
    if world_size() == 1:
        return
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        return
    owners = torch.tensor([parameter.grad is not None for parameter in parameters], device=parameters[0].device).float()
    distributed.all_reduce(owners)  # how many ranks have a gradient of each
    shared = [parameter for parameter, count in zip(parameters, owners.tolist(), strict=True) if count]
    for parameter in shared:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        distributed.all_reduce(parameter.grad)


def agree(*modules: nn.Module | None) -> None:
    """Give all ranks the buffers and the extra state of rank 0: running statistics are those of its shares."""
    if world_size() == 1:
        return
    for module in modules:
        if module is None:
            continue
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)
        for part in parts_with_extra_state(module).values():
            part.set_extra_state(agreed(part.get_extra_state()))


def agreed(value: T) -> T:
    """The value that rank 0 has."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, 0)
    return values[0]


def own(items: Iterable[T]) -> Iterator[T]:
    """Every n-th of the items, from this rank's number on, where there are n ranks."""
    return itertools.islice(items, rank(), None, world_size())


def interleaved(parts: list[Rows]) -> list[Rows]:
    """The parts of all ranks in the order of the items that `own` gave out."""
    if world_size() == 1:
        return parts
    every: list[list[Rows]] = [[] for _ in range(world_size())]
    distributed.all_gather_object(every, [part.to_cpu() for part in parts])
    rounds = itertools.zip_longest(*every)
    return [part for parts_of_round in rounds for part in parts_of_round if part is not None]


def seed_parts() -> tuple[int, ...]:
    """What a rank adds to the seed of its dropout; rank 0 adds nothing, as one process alone."""
    return (rank(),) if rank() else ()
