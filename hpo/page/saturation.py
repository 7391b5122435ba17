"""Whether several configurations share the best score, so that the score cannot tell them apart."""

from __future__ import annotations

from hpo.formatting import amount, count
from hpo.page.findings import Sweep
from hpo.study import StudySpec

SEVERAL = 3  # different configurations


def saturation(study: StudySpec, sweep: Sweep) -> str:
    """That the score is saturated, in a sentence; "" where it is not."""
    ranked, goal = sweep.ranked, study.task.goal
    sharing = [trial for trial in ranked if trial.score == ranked[0].score]
    configurations = {tuple(sorted(trial.params.items())) for trial in sharing}
    if len(configurations) < SEVERAL:
        return ""
    bounds = study.task.bounds.get(goal, ())
    most = ", which is the best there can be" if sharing[0].score in bounds else ""
    best = f"{amount(sharing[0].score, goal)}{most}"
    return (
        f"The score is saturated: {count(len(sharing), 'trial')} share the best, {best}. "
        f"It cannot tell them apart: judge by a finer score, or on more or harder examples."
    )
