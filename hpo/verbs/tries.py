"""The configurations that a user wants to see tried first: refused or kept."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.errors import Refused
from hpo.formatting import count
from hpo.search.tries import checked_tries, count_untried, keep_tries, require_room
from hpo.storage.locks import study_lock
from hpo.trial.warm import Params
from hpo.verbs.budget import race_under_way
from hpo.verbs.opening import Opened


def require_tries(opened: Opened) -> tuple[Params, ...]:
    """The configurations of `--try`, whole. Writes nothing. Raises Refused where one cannot be tried.

    A budget of time plans the number of trials itself, so there is none that they could be too many for. But its sweep
    is over once its promotion has begun.
    """
    tries = checked_tries(opened.study, opened.options.tries)
    has_budget = opened.verb == "run" and (opened.options.budget or opened.study.budget)
    if not has_budget:
        require_room(opened.study, opened.folder, tries)
    elif tries and race_under_way(opened.folder) is not None:
        _require_tried(opened, tries)
    return tries


def _require_tried(opened: Opened, tries: Sequence[Params]) -> None:
    """Raise Refused unless the sweep, which is over, has tried them: the same command goes on with the promotion."""
    untried = count_untried(opened.study, opened.folder, tries)
    if untried:
        raise Refused(
            f"--try: the promotion of {opened.study.name} is under way, so its sweep is over, and "
            f"{count(untried, 'configuration')} could not be tried; give the command without --try to end the promotion"
        )


def keep_first(opened: Opened, tries: Sequence[Params]) -> None:
    """Write down what the sweep tries first, before it begins or goes on."""
    if tries:
        with study_lock(opened.folder):
            keep_tries(opened.folder, tries)
