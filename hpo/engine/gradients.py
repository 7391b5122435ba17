"""Gradients that are sparse, and gradients that are not finite."""

from __future__ import annotations

import torch
from torch import nn


def densify(model: nn.Module) -> None:
    """Make sparse gradients dense: nn.Embedding(sparse=True) has them, and few optimizers take them."""
    for parameter in model.parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.to_dense()


def sanitise(model: nn.Module) -> dict[str, int]:
    """Make non-finite gradient elements finite, in place: NaN and infinity become 0. Returns how many, by parameter."""
    named = [(name, parameter.grad) for name, parameter in model.named_parameters() if parameter.grad is not None]
    if not named or torch.isfinite(torch.stack([gradient.abs().sum() for _, gradient in named]).sum()):
        return {}  # one number read from the device on the usual path
    counts = {name: int((~torch.isfinite(gradient)).sum()) for name, gradient in named}
    for _, gradient in named:
        torch.nan_to_num_(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    return {name: count for name, count in counts.items() if count}
