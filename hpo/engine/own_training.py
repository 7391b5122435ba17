"""Training that is not ours: a task that brings its own generator of epochs.

Space, sweep, pruning, promotion, report and ledger are the same for it. What only the engine can promise is not: that a
resumed run equals an unbroken one bit for bit, that gradients are made finite, and the overfit check with its controls.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from hpo.direction import Direction
from hpo.engine import checkpoint
from hpo.engine.evaluation import scores_of
from hpo.engine.rows import Rows, join, numbered
from hpo.engine.training import Progress, fit
from hpo.epoch import Epoch
from hpo.errors import Diverged
from hpo.files import make_folder
from hpo.plain import plain, without_place
from hpo.recipe import Recipe
from hpo.task import Fidelity, Moment, Split, Task

OWN = "own"  # the folder of a task's own checkpoints, in that of its run
OwnColumns = Mapping[str, Tensor | np.ndarray]  # a row an example, as a tensor or an array


@dataclass(frozen=True)
class OwnEpoch:
    """What a task's own training has come to after an epoch."""

    epoch: int  # from 0
    validation: OwnColumns
    test: Callable[[], OwnColumns]  # the columns of the test split with the model as it is now; promotion alone asks
    export: Callable[[Path], None] | None = None  # writes the model as it is now into a folder; None: no winner folder
    loss: float = math.nan  # of training, where there is one


class OwnTraining(Task[Any]):
    """A task that trains itself: one method instead of batches, model, loss and score.

    `cluster` names a column. `batches` may be given all the same: then the data is part of the study's identity, and
    `baselines` can be scored on it.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    labels: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def train(self, recipe: Recipe, fidelity: Fidelity, seed: int, folder: Path) -> Iterator[OwnEpoch]:
        """Train for `fidelity.epochs` epochs, and yield after each of them.

        The same seed gives the same columns. `folder` is empty at first, and for checkpoints: a training that keeps
        some may go on after the last of them; one that keeps none begins again, and what it repeats must be the same.
        """

    def batches(
        self,
        split: Split,  # noqa: ARG002  # none of any split
        fidelity: Fidelity,  # noqa: ARG002
        batch_size: int,  # noqa: ARG002
        rng: torch.Generator,  # noqa: ARG002
    ) -> Iterator[NamedTuple]:
        """Yield nothing: the task reads its data itself."""
        return iter(())

    def model(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} trains itself: the engine has no model of it")

    def loss(self, model: nn.Module, batch: NamedTuple, at: Moment) -> NoReturn:  # noqa: ARG002
        raise TypeError(f"{type(self).__name__} trains itself: the engine has no loss of it")

    def score(self, model: nn.Module, batch: NamedTuple) -> NoReturn:  # noqa: ARG002
        raise TypeError(f"{type(self).__name__} trains itself: the engine cannot score it")


@dataclass(frozen=True)
class OwnProgress(Epoch):
    """An epoch of a task that trains itself, and what can be asked of it now."""

    replayed: bool = field(compare=False)  # from the record of an earlier, interrupted call: nothing can be asked
    now: OwnEpoch | None = field(compare=False, repr=False)


def follow(task: OwnTraining, recipe: Recipe, fidelity: Fidelity, *, seed: int, folder: Path) -> Iterator[OwnProgress]:
    """Run a task's own training and yield a progress an epoch.

    Each epoch is recorded in `folder` before it is yielded, and a later call with the same arguments yields the
    recorded ones again. Raises Diverged where the goal is not finite, and ValueError where the task breaks its
    contract, repeats an epoch with another value, or `folder` holds another run.
    """
    identity = json.dumps([without_place(task), plain(recipe), plain(fidelity), seed])
    saved = checkpoint.newest(folder) or {"identity": identity, "record": []}
    if saved["identity"] != identity:
        raise ValueError(f"{folder} holds another run: {saved['identity']}; asked for: {identity}")
    record = [Epoch(**epoch) for epoch in saved["record"]]
    for epoch in record:
        yield OwnProgress(**vars(epoch), replayed=True, now=None)
    if record and (record[-1].stopped or len(record) == fidelity.epochs):
        return
    own = folder / OWN
    make_folder(own)
    started = time.perf_counter()
    for now in task.train(recipe, fidelity, seed, own):
        value, scores = _validated(task, now)
        if now.epoch < len(record):  # a training without a checkpoint begins again
            _require_same(task, record[now.epoch], value)
            continue
        _require_next(task, now.epoch, len(record), fidelity.epochs)
        seconds = time.perf_counter() - started
        record.append(_epoch(task, recipe, now, value, scores, record, seconds))
        checkpoint.save(folder, now.epoch, {"identity": identity, "record": [dict(vars(epoch)) for epoch in record]})
        yield OwnProgress(**vars(record[-1]), replayed=False, now=now)
        if record[-1].stopped:
            return
        started = time.perf_counter()
    if len(record) < fidelity.epochs:
        raise ValueError(f"{type(task).__name__}.train must yield {fidelity.epochs} epochs; got {len(record)}")


def epochs_of(
    task: Task[Any],
    recipe: Recipe,
    fidelity: Fidelity,
    *,
    seed: int,
    device: str = "auto",
    resume: Path | None = None,
) -> Iterator[Progress | OwnProgress]:
    """Train `task`, by the engine or in its own way, and yield a progress an epoch. See `fit` and `follow`."""
    if not isinstance(task, OwnTraining):
        yield from fit(task, recipe, fidelity, seed=seed, device=device, resume=resume)
    elif resume is not None:
        yield from follow(task, recipe, fidelity, seed=seed, folder=resume)
    else:
        with tempfile.TemporaryDirectory(prefix="hpo-own-training-") as folder:
            yield from follow(task, recipe, fidelity, seed=seed, folder=Path(folder))


def own_rows(task: OwnTraining, columns: OwnColumns) -> Rows:
    """A task's own columns as rows; the one that `cluster` names says which belong together.

    Raises ValueError unless all have a row for each example.
    """
    tensors = {name: torch.as_tensor(column) for name, column in columns.items() if name != task.cluster}
    examples = {name: len(column) if column.dim() else 0 for name, column in tensors.items()}
    if not tensors or len(set(examples.values())) > 1 or 0 in examples.values():
        raise ValueError(f"the columns of {type(task).__name__} must have a row for each example; rows: {examples}")
    return join([Rows(tensors, numbered(columns[task.cluster]) if task.cluster else None)])


def _validated(task: OwnTraining, now: OwnEpoch) -> tuple[float, dict[str, float]]:
    scores = scores_of(task, own_rows(task, now.validation).columns)
    value = scores[task.goal]
    if not math.isfinite(value):
        raise Diverged(f"the validation score {task.goal} was {value} after epoch {now.epoch}")
    return value, scores


def _epoch(
    task: OwnTraining,
    recipe: Recipe,
    now: OwnEpoch,
    value: float,
    scores: Mapping[str, float],
    record: list[Epoch],
    seconds: float,
) -> Epoch:
    before = record[-1] if record else None
    is_best = before is None or Direction(task.direction).better(value, before.best)
    best, best_epoch = (value, now.epoch) if before is None or is_best else (before.best, before.best_epoch)
    return Epoch(
        epoch=now.epoch,
        loss=now.loss,
        terms={},
        scores=scores,
        value=value,
        best=best,
        best_epoch=best_epoch,
        batches=0,
        steps_taken=0,
        steps_skipped=0,
        nonfinite={},
        grad_norm=math.nan,
        lr={},
        seconds=seconds,
        stopped=recipe.patience is not None and now.epoch - best_epoch >= recipe.patience,
    )


def _require_same(task: OwnTraining, before: Epoch, value: float) -> None:
    if value != before.value:
        raise ValueError(
            f"{type(task).__name__}.train gave {value!r} in epoch {before.epoch}, and {before.value!r} before it was "
            f"interrupted: the same seed must give the same run, or train() must go on from a checkpoint of its own"
        )


def _require_next(task: OwnTraining, epoch: int, expected: int, epochs: int) -> None:
    if epoch != expected or epoch >= epochs:
        raise ValueError(
            f"{type(task).__name__}.train must yield epochs 0 to {epochs - 1}, one after the other; got epoch {epoch} "
            f"where {expected} was due"
        )
