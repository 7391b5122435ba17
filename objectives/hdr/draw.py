"""Random numbers for made scenes."""

from __future__ import annotations

import torch


class Draw:
    """Uniform numbers from one generator."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng = rng

    def __call__(self, low: float, high: float) -> float:
        """A number between `low` and `high`."""
        return low + (high - low) * float(torch.rand((), generator=self.rng, dtype=torch.float64))

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(torch.randint(high - low + 1, (), generator=self.rng))
