"""What one epoch of training came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Epoch:
    """One epoch, in plain numbers: the same record from the engine to a task's checks and to the page.

    `steps_taken + steps_skipped == batches`, always.
    """

    epoch: int  # from 0
    loss: float  # mean over the steps taken; NaN where fp16 found no scale in a whole epoch and none was
    terms: Mapping[str, float]  # weighted loss terms, likewise
    scores: Mapping[str, float]  # on the validation split
    value: float  # scores[task.goal]
    best: float  # best value so far
    best_epoch: int
    batches: int
    steps_taken: int
    steps_skipped: int
    nonfinite: Mapping[str, int]  # gradient elements made finite, by parameter
    grad_norm: float  # mean before clipping
    lr: Mapping[str, float]  # of each group at the epoch's last step
    seconds: float = field(compare=False)
    stopped: bool  # patience ran out: this is the last epoch

    @property
    def record(self) -> Epoch:
        """The epoch alone, without what a subclass adds: keeping it keeps no model."""
        return Epoch(**{field.name: getattr(self, field.name) for field in fields(Epoch)})
