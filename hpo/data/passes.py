"""One pass over a split, as the engine, the checks and the identity are all served it."""

from __future__ import annotations

import contextlib
import math
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from hpo.data.batch import examples_in
from hpo.data.contract import checked_batch, iterator_of
from hpo.seeds import derive

if TYPE_CHECKING:
    from hpo.task import Fidelity, Split, Task

_END = object()  # what no task yields


class TooManyBatches(ValueError):
    """A split goes on after its last example."""


class LoaderDied(BrokenExecutor):
    """A process that reads data for a task has died: somebody has killed it, or memory was short."""


def seed_globals(seed: int) -> None:
    """Seed the global generators of torch, of numpy and of Python."""
    torch.manual_seed(seed)
    _seed_numpy_and_python(seed)


@contextlib.contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """The global generators are seeded inside, the same for the same parts; torch's goes on as before afterwards."""
    seed = derive(*parts)
    _seed_numpy_and_python(seed)
    with _Stream(seed):
        yield


def one_pass(
    task: Task[Any], split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator
) -> Iterator[NamedTuple]:
    """The batches of one pass over a split.

    A task may draw from `rng` or from the global generators of torch, numpy and Python: at the start of the pass they
    are seeded, for "train" from the seed of `rng`, and for "val" and "test" always alike. torch's global generator is
    the pass's own: what is drawn between two batches neither disturbs it nor is disturbed.

    Raises TooManyBatches one batch after the last example of a split whose size the fidelity gives, and LoaderDied
    where a process of a DataLoader dies.
    """
    seed = derive("pass", split, rng.initial_seed() if split == "train" else 0)
    _seed_numpy_and_python(seed)
    with _Stream(seed) as stream:
        batches = iterator_of(task, task.batches(split, fidelity, batch_size, rng))
    limit = fidelity.limit(split)
    served = 0
    while True:
        with stream, _deaths_named():
            batch = next(batches, _END)
        if batch is _END:
            return
        if limit is not None and served >= limit:
            raise TooManyBatches(
                f"{type(task).__name__}.batches must end after the {limit} examples of {split!r} that the fidelity "
                f"asks for, and goes on; stop there, with itertools.islice where the dataset has no end"
            )
        served += _count(batch)
        yield checked_batch(task, batch, batches)


@contextlib.contextmanager
def _deaths_named() -> Iterator[None]:
    """Raise LoaderDied where a DataLoader says that one of its processes has died: the data is not to blame."""
    try:
        yield
    except RuntimeError as error:
        if str(error).startswith("DataLoader worker (pid"):
            raise LoaderDied(str(error)) from error
        raise


def batches_an_epoch(task: Task[Any], fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> int:
    """How many batches of training data an epoch has. Where the fidelity gives no number, one pass counts them."""
    examples = fidelity.limit("train")
    if examples is not None:
        return math.ceil(examples / batch_size)
    count = sum(1 for _ in _patiently(one_pass(task, "train", fidelity, batch_size, rng)))
    if count == 0:
        raise ValueError(f"{type(task).__name__}.batches yields no training batch")
    return count


COUNTING_S = 60.0  # after which a pass that only counts says what it is doing


def _patiently(batches: Iterator[NamedTuple]) -> Iterator[NamedTuple]:
    """The same batches; says once that they are being counted where that takes long."""
    started, is_silent = time.monotonic(), True
    for number, batch in enumerate(batches):
        if is_silent and time.monotonic() - started > COUNTING_S:
            print(
                f"hpo: counting the training batches, {number} so far; where they have no end, write Fidelity(train=N)",
                file=sys.stderr,
            )
            is_silent = False
        yield batch


def _count(batch: object) -> int:
    """The examples of a batch; 1 where it has none that can be counted, which a check explains."""
    try:
        return max(1, examples_in(batch))
    except ValueError:
        return 1


def _seed_numpy_and_python(seed: int) -> None:
    np.random.seed(seed % 2**32)
    random.seed(seed)


class _Stream:
    """A stream of torch's global generator that is there only inside `with`: outside, another one goes on."""

    def __init__(self, seed: int) -> None:
        self.inside = torch.Generator().manual_seed(seed).get_state()

    def __enter__(self) -> _Stream:
        self.outside = torch.get_rng_state()
        torch.set_rng_state(self.inside)
        return self

    def __exit__(self, *_: object) -> None:
        self.inside = torch.get_rng_state()
        torch.set_rng_state(self.outside)
