"""The configurations that a user wants to see tried first: refused or kept."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.search.tries import checked_tries, keep_tries, require_room
from hpo.storage.locks import study_lock
from hpo.trial.warm import Params
from hpo.verbs.opening import Opened


def require_tries(opened: Opened) -> tuple[Params, ...]:
    """The configurations of `--try`, whole. Writes nothing. Raises Refused where one cannot be tried.

    A budget of time plans the number of trials itself, so there is none that they could be too many for.
    """
    tries = checked_tries(opened.study, opened.options.tries)
    has_budget = opened.verb == "run" and (opened.options.budget or opened.study.budget)
    if not has_budget:
        require_room(opened.study, opened.folder, tries)
    return tries


def keep_first(opened: Opened, tries: Sequence[Params]) -> None:
    """Write down what the sweep tries first, before it begins or goes on."""
    if tries:
        with study_lock(opened.folder):
            keep_tries(opened.folder, tries)
