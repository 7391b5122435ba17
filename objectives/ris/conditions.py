"""The parts that the task's checks are made of, and the check that two stages share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpo import Check

RIVAL = "MUSIC, AIC"  # the baseline that the network must beat


def condition(name: str, holds: bool, seen: str, allowed: str, look_at: str) -> Check:
    """ "go" where the condition holds, "no-go" elsewhere."""
    return Check(name, "go" if holds else "no-go", seen, allowed, look_at)


def skip(name: str, reason: str) -> Check:
    """A condition that cannot be judged here."""
    return Check(name, "skip", reason, "-")


def skip_all(reasons: Mapping[str, str]) -> Iterator[Check]:
    """Conditions that cannot be judged here: name -> reason."""
    for name, reason in reasons.items():
        yield skip(name, reason)


def check_limits(scores: Mapping[str, float], subject: str) -> Check:
    """G13: estimates lie at a limit of the box no more often than sources do."""
    name = f"G13 estimates at a limit, {subject}"
    if "peg_clear" not in scores:
        return skip(name, "no scene at 10 dB and more")
    estimates, sources = scores["peg_clear"], scores["border_clear"]
    return condition(
        name,
        estimates <= sources + 0.02,
        f"{estimates:.1%} of the estimates at 10 dB and more, {sources:.1%} of the sources",
        "at most 2 percentage points more than the sources",
        "the box that Newton and ML are clamped to",
    )
