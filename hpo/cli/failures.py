"""The failed trials of a sweep, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo.cli.terminal import say
from hpo.formatting import count, first_words

if TYPE_CHECKING:
    from hpo.trial.failures import FailureGroup

SHOWN_GROUPS, SHOWN_NUMBERS = 5, 12


def show_failures(groups: Sequence[FailureGroup]) -> None:
    """A line for each kind of error, the largest group first, and below it where in the user's code it was raised."""
    for group in groups[:SHOWN_GROUPS]:
        trials = f"{count(len(group.numbers), 'trial')} failed ({_numbers(group)})"
        say(f"{trials}: {group.reason or 'the reason was not kept'}")
        if group.where:
            say(f"  at {group.where}")
    if len(groups) > SHOWN_GROUPS:
        say(f"and {len(groups) - SHOWN_GROUPS} more kinds of failure; the report shows all, with tracebacks")


def _numbers(group: FailureGroup) -> str:
    return first_words([str(number) for number in group.numbers], SHOWN_NUMBERS)
