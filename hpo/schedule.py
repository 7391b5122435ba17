"""Schedules as pure functions of a Moment. No rate is changed in place, so no factor is applied twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from hpo.task import Moment


def warmup_cosine(at: Moment, *, warmup: float, final: float = 0.0) -> float:
    """Return the learning-rate factor of the step that is about to be taken, in (0, 1].

    It rises linearly over the first `warmup` share of the steps, n steps, starting at 1/n; then it falls along half a
    cosine to `final`. Source: Loshchilov & Hutter 2017, SGDR, eq. 5, with one cycle.
    """
    warmup_steps = round(warmup * at.steps)
    if at.step < warmup_steps:
        return (at.step + 1) / warmup_steps
    done = (at.step - warmup_steps) / max(1, at.steps - warmup_steps)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def phase(at: Moment, *, warmup: int = 3, warmup_share: float = 0.1, final_share: float = 0.2) -> str:
    """Return the phase of the run that this epoch lies in: "warmup", "main" or "final".

    The warm-up is `warmup` epochs, in a short run `warmup_share` of the epochs, and at least one epoch. The final phase
    is the last `final_share` of the epochs.
    """
    warmup_epochs = max(1, min(warmup, round(warmup_share * at.epochs)))
    if at.epoch < warmup_epochs:
        return "warmup"
    final_begins = math.ceil((1 - final_share) * at.epochs)
    return "final" if at.epoch >= final_begins else "main"


def stage(at: Moment, shares: Sequence[float]) -> int:
    """Return the index of the stage that this epoch lies in.

    `shares` are the stages' shares of the epochs; a boundary between two is rounded to the nearest epoch. Raises
    ValueError unless they are at least 0 and sum to 1.
    """
    are_shares = abs(sum(shares) - 1) <= 1e-6 and min(shares) >= 0  # both comparisons are False for NaN
    if not are_shares:
        raise ValueError(f"stage shares must be at least 0 and sum to 1; got {tuple(shares)}")
    edge = 0.0
    for index, share in enumerate(shares[:-1]):
        edge += share
        if at.epoch < round(edge * at.epochs):
            return index
    return len(shares) - 1


def ramp(epoch: float, length: float) -> float:
    """Rise from 0 at epoch 0 to 1 at epoch `length`, along half a cosine; 1 everywhere where `length` is 0."""
    if length <= 0 or epoch >= length:
        return 1.0
    return 0.5 * (1 - math.cos(math.pi * max(0.0, epoch) / length))


def ramped(weights: Mapping[str, float], factor: float, *, excluding: Collection[str]) -> dict[str, float]:
    """Return the weights times `factor`, except those named in `excluding`. Raises ValueError for an unknown name."""
    unknown = set(excluding) - set(weights)
    if unknown:
        raise ValueError(f"excluding must name weights; got {sorted(unknown)}; weights: {sorted(weights)}")
    return {name: weight if name in excluding else weight * factor for name, weight in weights.items()}


def blend(before: Mapping[str, float], after: Mapping[str, float], share: float) -> dict[str, float]:
    """Return (1 - share) * before + share * after, name by name."""
    return {name: (1 - share) * before[name] + share * after[name] for name in after}
