"""The scores of a task's classical methods, for the tests of the tasks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from hpo import Fidelity, Task, baseline_columns, scores_of


def baseline_scores(task: Task[Any], fidelity: Fidelity, batches: Iterable[NamedTuple]) -> dict[str, dict[str, float]]:
    """The scores of each method on the batches, by name."""
    return {name: scores_of(task, columns) for name, columns in baseline_columns(task, fidelity, batches).items()}
