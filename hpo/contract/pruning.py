"""The pruning rules of a study: when a trial is hopeless enough to end it early, or to pause it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import optuna

from hpo.contract.numbers import check_at_least

HANDOVER_SECONDS = 0.1  # of CPU, to pause a trial and to send it on: its checkpoint, its row, its data and its model


@dataclass(frozen=True)
class Median:
    """Prune a trial whose best score so far is worse than the median of the completed trials' at the same epoch.

    It is not pruned in its first `warmup_epochs`, nor before `startup_trials` are complete, nor where fewer than
    `min_trials` have a value at that epoch. The best configurations are often slow starters, so the warm-up is a third
    of the epochs unless it is given. One trial in ten is spared: it is marked where it would have been pruned, and
    trained to its end. The report counts how many of those became good, which is what pruning costs.

    Raises ValueError naming the key, what was given and what is allowed.
    """

    warmup_epochs: int | None = None  # of each trial, in which it is never pruned; None: a third of them, rounded up
    min_trials: int = 4  # other trials that must have a value at the epoch
    startup_trials: int = 5  # trials that must be complete before any is pruned

    def __post_init__(self) -> None:
        if self.warmup_epochs is not None:
            check_at_least("pruning.warmup_epochs", self.warmup_epochs, 0)
        for key, least in (("min_trials", 1), ("startup_trials", 0)):
            check_at_least(f"pruning.{key}", getattr(self, key), least)

    def warmup(self, epochs: int) -> int:
        """In how many first epochs a trial of `epochs` is never pruned."""
        return math.ceil(epochs / 3) if self.warmup_epochs is None else self.warmup_epochs

    def pruner(self, epochs: int) -> optuna.pruners.BasePruner:
        """The Optuna pruner of this rule, for trials of `epochs`."""
        return optuna.pruners.MedianPruner(
            n_startup_trials=self.startup_trials, n_warmup_steps=self.warmup(epochs), n_min_trials=self.min_trials
        )


@dataclass(frozen=True)
class Rungs:
    """Pause every trial at rungs, and send the better half of each on; "auto" is this rule with its default.

    The rungs are halves of the epochs, down to `first`. To pause a trial and send it on costs about HANDOVER_SECONDS,
    which should be a small part of the time to the first rung.

    Raises ValueError naming the key, what was given and what is allowed.
    """

    first: int = 1  # epochs before the first pause, at least

    def __post_init__(self) -> None:
        check_at_least("pruning.first", self.first, 1)
