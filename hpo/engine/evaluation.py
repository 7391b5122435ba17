"""Scores of a model on batches, by way of what each example came to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hpo.contract.returned import checked_methods, checked_scores, require_goal
from hpo.contract.tuned import Tuned
from hpo.data.batch import map_tensors
from hpo.engine.rows import Rows, join, rows_of
from hpo.task import Columns, Fidelity, Method, Task

NO_SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def evaluate(
    task: Task[Any], model: nn.Module, batches: Iterable[NamedTuple], *, precision: str = "fp32"
) -> dict[str, float]:
    """The task's scores of `model` on batches, in eval mode and without gradients.

    Raises ValueError where the goal is not among them, or a column has not one row an example.
    """
    return scores_of(task, columns_of(task, model, batches, precision=precision))


def columns_of(task: Task[Any], model: nn.Module, batches: Iterable[NamedTuple], *, precision: str = "fp32") -> Columns:
    """The columns of all examples, as `task.metrics` gets them."""
    return judge_batches(task, model, batches, precision=precision).columns


def baseline_columns(
    task: Task[Any],
    fidelity: Fidelity,
    batches: Iterable[NamedTuple],
    settings: Mapping[str, Mapping[str, Any]] = NO_SETTINGS,
) -> dict[str, Columns]:
    """The columns of all examples for each of the task's classical methods, by the method's name.

    `settings` are those of tuned methods by the method's name, as `tune_baselines` finds them; the others have their
    defaults.
    """
    return {name: rows.columns for name, rows in judge_baselines(task, fidelity, batches, settings).items()}


def judge_batches(task: Task[Any], model: nn.Module, batches: Iterable[NamedTuple], *, precision: str = "fp32") -> Rows:
    """What `task.score` says of each example. The model's mode is put back afterwards.

    Batches are moved to the model's device one at a time. Raises ValueError where there are none.
    """
    with evaluating(model, precision) as device:
        parts = [judge_batch(task, model, place(batch, device)) for batch in batches]
    if not parts:
        raise ValueError(f"{type(task).__name__}.batches yielded no batch to score")
    return join(parts)


def judge_batch(task: Task[Any], model: nn.Module, batch: NamedTuple) -> Rows:
    """What `task.score` says of each example of a batch."""
    return rows_of(task, task.score(model, batch), batch, source="score")


def judge_baselines(
    task: Task[Any],
    fidelity: Fidelity,
    batches: Iterable[NamedTuple],
    settings: Mapping[str, Mapping[str, Any]] = NO_SETTINGS,
) -> dict[str, Rows]:
    """What each of the task's classical methods says of each example, by the method's name.

    A tuned method has its `settings`, or else its defaults.
    """
    methods = dict(checked_methods(task, task.baselines(fidelity)))
    for name, values in settings.items():
        if isinstance(method := methods[name], Tuned):
            methods[name] = method.with_settings(values)
    return judge_methods(task, methods, batches)


def judge_methods(
    task: Task[Any], methods: Mapping[str, Method[Any]], batches: Iterable[NamedTuple]
) -> dict[str, Rows]:
    """What each of these methods says of each example, by the method's name. The batches are read once."""
    parts: dict[str, list[Rows]] = {name: [] for name in methods}
    if not methods:
        return {}
    with torch.no_grad():
        for batch in batches:
            for name, method in methods.items():
                parts[name].append(rows_of(task, method(batch), batch, source=f"baselines ({name})"))
    return {name: join(rows) for name, rows in parts.items()}


def scores_of(task: Task[Any], columns: Columns) -> dict[str, float]:
    """The task's metrics of these columns as numbers. Raises ValueError where the goal is not among them."""
    scores = checked_scores(task, task.metrics(columns))
    require_goal(task, scores)
    return scores


def mean_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each score that all have."""
    shared = [name for name in scores[0] if all(name in each for each in scores)]
    return {name: fmean(each[name] for each in scores) for name in shared}


@contextmanager
def evaluating(model: nn.Module, precision: str) -> Iterator[torch.device]:
    """The model in eval mode, without gradients, in the recipe's precision; yields the device that it is on."""
    training = model.training
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad(), autocast(device, precision):
            yield device
    finally:
        model.train(training)


def place(batch: NamedTuple, device: torch.device, *, channels_last: bool = False) -> NamedTuple:
    """Copy the tensors of a batch to a device, also those in its lists and dicts; other things stay as they are.

    Images, [B, C, H, W], are in channels-last layout where that is asked for.
    """

    def move(tensor: Tensor) -> Tensor:
        if channels_last and tensor.dim() == 4 and tensor.layout == torch.strided and not tensor.is_nested:
            return tensor.to(device, memory_format=torch.channels_last, non_blocking=True)
        return tensor.to(device, non_blocking=True)

    placed: NamedTuple = map_tensors(move, batch)
    return placed


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which models run: mixed precision for "fp16" and "bf16", nothing for "fp32"."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")
