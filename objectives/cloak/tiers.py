"""How much one run may cost: tiers that pin what the model is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo import Fidelity


def tier(
    *,
    size: int,
    val: int,
    steps: int,
    epochs: int,
    test: int = 0,
    batch: int = 8,
    pinned: Mapping[str, Any] | None = None,
) -> Fidelity:
    """A fidelity of `steps` steps for each photograph in `epochs` epochs.

    A run holds `val` photographs of val and `test` of test. It steps on `batch` of them at a time, which changes only
    how much memory it takes. Raises ValueError where epochs does not divide steps.
    """
    if steps % epochs:
        raise ValueError(f"cloak: steps must be a multiple of epochs; got {steps} and {epochs}")
    held = val + test
    fixed = {"task.size": size, "task.val_photos": val, "task.test_photos": test, "recipe.batch_size": min(batch, held)}
    return Fidelity(
        size=size,
        train=held * (steps // epochs),
        val=val,
        test=test or val,
        epochs=epochs,
        fixed=fixed | dict(pinned or {}),
    )
