"""Checks that several tasks make: a score in its healthy range, and the best classical method beaten."""

from __future__ import annotations

from dataclasses import dataclass

from hpo import Check, Evidence, Status
from objectives.common.rivals import best_rival


@dataclass(frozen=True)
class HealthyRange:
    """Where a score must lie, both ends included, and where to look if it does not."""

    low: float
    high: float
    look_at: str


def go_if(holds: bool) -> Status:
    """ "go" where the condition holds, or else "no-go"."""
    return "go" if holds else "no-go"


def check_range(name: str, value: float, healthy: HealthyRange) -> Check:
    """A score lies in its healthy range."""
    return Check(
        f"health: {name}",
        go_if(healthy.low <= value <= healthy.high),
        f"{value:.3g}",
        f"{healthy.low:g} to {healthy.high:g}",
        healthy.look_at,
    )


def check_lead(evidence: Evidence, score: str, *, behind: Status, look_at: str) -> Check:
    """The network is ahead of every classical method in a score that is better where it is higher.

    `behind` is the status where it is not.
    """
    best = best_rival(evidence.baselines, score)
    best_score = evidence.baselines[best][score]
    return Check(
        f"beats every classical method in {score}",
        "go" if evidence.scores[score] > best_score else behind,
        f"{evidence.scores[score]:.3f}",
        f"above {best_score:.3f} ({best})",
        look_at,
    )
