"""How checks put what they have seen."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.task import Status


def status_of(holds: bool) -> Status:
    """ "go" where the condition holds, or else "no-go"."""
    return "go" if holds else "no-go"


def yes_or_no(holds: bool) -> str:
    return "yes" if holds else "no"


def first_fault(faults: Sequence[str]) -> str:
    """The first fault and how many more there are; "" where there is none."""
    if not faults:
        return ""
    return faults[0] if len(faults) == 1 else f"{faults[0]} (and {len(faults) - 1} more)"
