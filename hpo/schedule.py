"""Schedules as pure functions of a Moment. Nothing is ever multiplied in place, so nothing is multiplied twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from hpo.task import Moment


def warmup_cosine(at: Moment, *, warmup: float, final: float = 0.0) -> float:
    """Learning-rate factor of the step that is about to be taken, in (0, 1].

    Rises linearly over the first `warmup` share of the steps, from 1/n and never from 0, then falls along half a
    cosine to `final`. Source: Loshchilov & Hutter 2017, SGDR, eq. 5, with one cycle.
    """
    rising = round(warmup * at.steps)
    if at.step < rising:
        return (at.step + 1) / rising
    done = (at.step - rising) / max(1, at.steps - rising)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def phase(at: Moment, *, warmup: int = 3, warmup_share: float = 0.1, final_share: float = 0.2) -> str:
    """ "warmup", "main" or "final". The warm-up is `warmup` epochs, shortened to `warmup_share` of a short run but
    at least one epoch; the final phase is the last `final_share` of the epochs."""
    if at.epoch < max(1, min(warmup, round(warmup_share * at.epochs))):
        return "warmup"
    return "final" if at.epoch >= math.ceil((1 - final_share) * at.epochs) else "main"


def stage(at: Moment, shares: Sequence[float]) -> int:
    """Index of the stage that this epoch lies in. `shares` of the epochs, which sum to 1; a boundary is rounded to
    the nearest epoch."""
    if not (abs(sum(shares) - 1) <= 1e-6 and min(shares) >= 0):  # so put, NaN is refused too
        raise ValueError(f"stage shares must be at least 0 and sum to 1; got {tuple(shares)}")
    edge = 0.0
    for index, share in enumerate(shares[:-1]):
        edge += share
        if at.epoch < round(edge * at.epochs):
            return index
    return len(shares) - 1


def ramp(epoch: float, length: float) -> float:
    """0 at epoch 0 to 1 at `length`, along half a cosine; 1 at once where `length` is 0."""
    if length <= 0 or epoch >= length:
        return 1.0
    return 0.5 * (1 - math.cos(math.pi * max(0.0, epoch) / length))


def ramped(weights: Mapping[str, float], factor: float, *, excluding: Collection[str]) -> dict[str, float]:
    """The weights times `factor`, except those named in `excluding`. An unknown name is refused."""
    unknown = set(excluding) - set(weights)
    if unknown:
        raise ValueError(f"excluded from the ramp but no weight: {sorted(unknown)}; weights: {sorted(weights)}")
    return {name: weight if name in excluding else weight * factor for name, weight in weights.items()}


def blend(before: Mapping[str, float], after: Mapping[str, float], share: float) -> dict[str, float]:
    """(1 - share) * before + share * after, name by name."""
    return {name: (1 - share) * before[name] + share * after[name] for name in after}
