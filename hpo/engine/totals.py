"""Sums over the steps of one epoch."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping


class StepTotals:
    """Counts steps taken and skipped, and sums what was measured in those taken."""

    def __init__(self) -> None:
        self.taken = 0
        self.skipped = 0
        self.unexpected_skips = 0  # those that speak of divergence
        self.reason = ""  # of the first unexpected skip
        self.terms: defaultdict[str, float] = defaultdict(float)
        self.nonfinite: Counter[str] = Counter()
        self.norm = 0.0
        self.lr: dict[str, float] = {}  # of each group at the last step

    @property
    def batches(self) -> int:
        """Batches seen so far."""
        return self.taken + self.skipped

    def take(self, terms: Mapping[str, float], norm: float, nonfinite: Mapping[str, int]) -> None:
        """Count a step that was taken."""
        self.taken += 1
        for name, value in terms.items():
            self.terms[name] += value
        self.norm += norm
        self.nonfinite.update(nonfinite)

    def skip(self, reason: str, nonfinite: Mapping[str, int] | None = None, *, expected: bool = False) -> None:
        """Count a step that was skipped. An expected skip is no sign of divergence."""
        self.skipped += 1
        self.nonfinite.update(nonfinite or {})
        if not expected:
            self.unexpected_skips += 1
            self.reason = self.reason or reason

    @property
    def mean_terms(self) -> dict[str, float]:
        return {name: value / max(1, self.taken) for name, value in self.terms.items()}

    @property
    def mean_loss(self) -> float:
        """The mean over the steps taken; NaN where none was."""
        return sum(self.mean_terms.values()) if self.taken else math.nan

    @property
    def mean_norm(self) -> float:
        return self.norm / max(1, self.taken)
