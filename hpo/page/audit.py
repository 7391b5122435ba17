"""What pruning cost: how many of the trials that the pruner would have ended became good when they were let run."""

from __future__ import annotations

from dataclasses import dataclass

import scipy  # which imports its parts at their first use

from hpo.formatting import count, share
from hpo.promotion.intervals import CONFIDENCE, Interval


@dataclass(frozen=True)
class Audit:
    """The trials that were spared and have ended, and those of them that reached the best quarter of the completed."""

    spared: int
    reached: int

    @property
    def share(self) -> Interval:
        """What share reached it, with Wilson's interval (Wilson 1927). Raises ValueError where none was spared."""
        bounds = scipy.stats.binomtest(self.reached, self.spared).proportion_ci(CONFIDENCE, method="wilson")
        return Interval(self.reached / self.spared, float(bounds.low), float(bounds.high))

    @property
    def short(self) -> str:
        """The same in a line."""
        if not self.spared:
            return "What it cost is not known: no trial that it would have ended was let run"
        return (
            f"Of {count(self.spared, 'trial')} that it would have ended and that ran on, {self.reached} reached the "
            f"best quarter: {share(self.share)}"
        )

    @property
    def sentence(self) -> str:
        """What a reader is told."""
        if not self.spared:
            return (
                "What pruning cost is not known: no trial that the pruner would end was let run. One in ten of "
                "them is, by chance."
            )
        were = "it was" if self.spared == 1 else "they were"
        return (
            f"Of {count(self.spared, 'trial')} that the pruner would have ended, {self.reached} reached the best "
            f"quarter when {were} let run: {share(self.share)}."
        )
