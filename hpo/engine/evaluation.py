"""Scores of a model on batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hpo.task import Task


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def evaluate(
    task: Task[Any], model: nn.Module, batches: Iterable[NamedTuple], *, precision: str = "fp32"
) -> dict[str, float]:
    """The task's scores of `model` in eval mode, without gradients; the model's mode is put back afterwards.

    Raises ValueError where the goal is not among them.
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad(), autocast(device, precision):
        scores = task.score(model, batches)
    model.train(training)
    if task.goal not in scores:
        raise ValueError(f"{type(task).__name__}.score must contain its goal {task.goal!r}; got {sorted(scores)}")
    return {name: float(score) for name, score in scores.items()}


def place(batch: NamedTuple, device: torch.device, *, channels_last: bool = False) -> NamedTuple:
    """Copy the batch to a device; images, [B, C, H, W], in channels-last layout where that is asked for."""

    def move(tensor: Tensor) -> Tensor:
        if channels_last and tensor.dim() == 4:
            return tensor.to(device, memory_format=torch.channels_last, non_blocking=True)
        return tensor.to(device, non_blocking=True)

    return batch._make(move(tensor) for tensor in batch)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which models run: mixed precision for "fp16" and "bf16", nothing for "fp32"."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")
