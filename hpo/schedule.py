"""Schedules as pure functions of a Moment. No rate is changed in place, so no factor is applied twice.

One of them, plateau, is a function of the scores so far, too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from hpo.direction import Direction
from hpo.epoch import Epoch
from hpo.recipe import Recipe
from hpo.task import Moment

LEAST = 1e-8  # the smallest factor: at 0 nothing would be trained


def rate_factor(recipe: Recipe, at: Moment, epochs: Sequence[Epoch], direction: Direction) -> float:
    """Return the factor on the learning rate of the step that is about to be taken, in (0, 1].

    `epochs` are those of the run so far, and `direction` is the way their values improve. Only "plateau" looks at
    them; every other schedule is a function of the moment.
    """
    warmup, final = recipe.warmup, recipe.final_lr
    match recipe.schedule:
        case "cosine":
            return warmup_cosine(at, warmup=warmup, final=final)
        case "linear":
            return warmup_linear(at, warmup=warmup, final=final)
        case "onecycle":
            return one_cycle(at, rise=warmup, final=final)
        case "step":
            return warmup_step(at, warmup=warmup, drop=recipe.drop, every=recipe.drop_every, final=final)
        case "plateau":
            drops = count_plateaus([epoch.value for epoch in epochs], direction, patience=recipe.drop_patience)
            return _warm_up(at, warmup) * max(final, LEAST, recipe.drop**drops)
        case "constant":
            return _warm_up(at, warmup)


def warmup_linear(at: Moment, *, warmup: float, final: float = 0.0) -> float:
    """Rise as `warmup_cosine` does; then fall along a line to `final`."""
    return _warm_up(at, warmup) * (1 - (1 - final) * _share_after(at, warmup))


def warmup_step(at: Moment, *, warmup: float, drop: float, every: float, final: float = 0.0) -> float:
    """Rise as `warmup_cosine` does; then multiply by `drop` after each `every` share of the steps that are left.

    It does not fall below `final`.
    """
    warmup_steps = round(warmup * at.steps)
    period = max(1, round(every * (at.steps - warmup_steps)))
    drops = max(0, at.step - warmup_steps) // period
    return _warm_up(at, warmup) * max(final, LEAST, drop**drops)


def one_cycle(at: Moment, *, rise: float, final: float = 0.0) -> float:
    """Rise from 1/25 to 1 over the first `rise` share of the steps, and fall to `final`, each along half a cosine.

    A `final` below 1/250,000 counts as that. Source: Smith & Topin 2018, Super-Convergence, in the form and with the
    ends that torch's OneCycleLR has.
    """
    start, final = 1 / 25, max(final, 1 / 25e4)
    top = rise * at.steps - 1  # the step of the highest rate
    if at.step <= top:
        return start + (1 - start) * ramp(at.step, top)
    return 1 - (1 - final) * ramp(at.step - max(0.0, top), at.steps - 1 - max(0.0, top))


def count_plateaus(values: Sequence[float], direction: Direction, *, patience: int) -> int:
    """How often more than `patience` values in a row have brought no better one; each time the count starts anew.

    It is the rule of torch's ReduceLROnPlateau without a threshold.
    """
    best, waited, plateaus = math.nan, 0, 0
    for index, value in enumerate(values):
        if index == 0 or direction.better(value, best):
            best, waited = value, 0
        else:
            waited += 1
        if waited > patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def _warm_up(at: Moment, warmup: float) -> float:
    """Rise linearly over the first `warmup` share of the steps, n steps, starting at 1/n; then stay at 1."""
    warmup_steps = round(warmup * at.steps)
    return (at.step + 1) / warmup_steps if at.step < warmup_steps else 1.0


def _share_after(at: Moment, warmup: float) -> float:
    """The share of the steps after the warm-up that is done."""
    warmup_steps = round(warmup * at.steps)
    return min(1.0, max(0, at.step - warmup_steps) / max(1, at.steps - warmup_steps))


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
