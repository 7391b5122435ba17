"""Epochs for tests: what a test does not care about is filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hpo import Epoch


def epoch(
    number: int = 0,
    *,
    loss: float = 1.0,
    scores: Mapping[str, float] | None = None,
    terms: Mapping[str, float] | None = None,
    **fields: Any,
) -> Epoch:
    """An undisturbed epoch of one batch; any other field of `Epoch` can be given by its name."""
    undisturbed = Epoch(
        epoch=number,
        loss=loss,
        terms=terms or {},
        scores=scores or {},
        value=loss,
        best=loss,
        best_epoch=number,
        batches=1,
        steps_taken=1,
        steps_skipped=0,
        nonfinite={},
        grad_norm=1.0,
        lr={"all": 1e-3},
        seconds=1.0,
        stopped=False,
    )
    return replace(undisturbed, **fields)
