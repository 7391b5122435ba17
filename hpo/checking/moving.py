"""The check that every trial is judged alike: what is searched must not change how a model is judged.

A searched weight inside the goal, or searched noise that reaches the validation examples, makes the goal easier to
reach without a better model. So one trained model is judged by the task with different values of a searched field:
without training, its score must stay. What `rescored()` lists is exempt, because it is meant to move the score.

A field may also change what the same model predicts, as a threshold does, or a step of preparation, and that is no
fault. The baselines tell the two apart: they are judged by the same goal on the same examples, but without the model.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from hpo import space
from hpo.checking.controls import without_inputs
from hpo.checking.numbers import NOISE, relative_difference, searchable
from hpo.checking.wording import first_fault
from hpo.data.passes import one_pass
from hpo.engine.evaluation import evaluate, judge_baselines, scores_of
from hpo.formatting import count, listed, score, setting
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Check, Task

NAME = "one model, one score"
ROUNDING = 1e-5  # relative difference of two scores that the order of sums explains


@dataclass(frozen=True)
class Judgement:
    """What the task says of the model with one value of a searched field."""

    value: Any
    goal: float


@dataclass(frozen=True)
class Move:
    """The two values of a searched field between which the goal of the model differs most."""

    name: str
    low: Judgement
    high: Judgement

    def sentence(self, goal: str) -> str:
        """Which field moves the goal, and how far."""
        return (
            f"{self.name} moves {goal} without training: {score(self.low.goal)} at {setting(self.low.value)}, "
            f"{score(self.high.goal)} at {setting(self.high.value)}"
        )


def check_goal_stays(study: StudySpec, trained: nn.Module) -> list[Check]:
    """A trained model has the same goal whatever the searched fields of the task are.

    Each field takes its extreme values and its default, one field at a time; what it depends on is switched on. A field
    is left out where the task cannot judge the model of the default configuration with it, as with another width. A
    field that moves the model's score and that of no baseline changes predictions, and passes.
    Nothing is checked where no field of the task is searched.
    """
    exempt = study.task.rescored()
    names = [name for name in study.space if name.startswith("task.") and name not in exempt]
    if not names:
        return []
    default, again = (_goal(study, trained, {}) for _ in range(2))
    allowed = max(ROUNDING, NOISE * relative_difference(default, again))
    judgements = {name: list(_judgements(study, trained, name, default)) for name in names}
    judged = {name: made for name, made in judgements.items() if len(made) > 1}
    if not judged:
        return [Check(NAME, "skip", f"no other value of {listed(names)} can judge this model", "the same score")]
    moves = [_largest_move(name, made) for name, made in judged.items()]
    moves = [move for move in moves if relative_difference(move.low.goal, move.high.goal) > allowed]
    harmless = [move.name for move in moves if _moves_predictions_alone(study, move)]
    faults = [move.sentence(study.task.goal) for move in moves if move.name not in harmless]
    unmoved = f"the same with other values of {count(len(judged) - len(moves), 'searched field')}"
    remark = f"; {listed(harmless)} changes what the model predicts, and the score of no baseline" if harmless else ""
    return [
        Check(
            name=NAME,
            status="caution" if faults else "go",
            seen=first_fault(faults) or unmoved + remark,
            allowed="without training, the same score with every value",
            look_at="where score(), metrics() or the validation batches read it: trials with different values are not "
            "judged alike. A field that only inference reads may do this; rescored() chooses it after training",
        )
    ]


def _judgements(study: StudySpec, trained: nn.Module, name: str, default: float) -> Iterator[Judgement]:
    """What the task says of the model with each value that it can judge it with; `default` is the default's goal."""
    entry = study.space[name]
    own_default = space.defaults({name: entry}, study.owners)[name]
    for value in dict.fromkeys([*space.extremes(space.distribution_of(entry)), own_default]):
        values = _with(study, name, value)
        with contextlib.suppress(Exception):  # this is no model of such a task
            yield Judgement(value, default if _is_default(study, values) else _goal(study, trained, values))


def _with(study: StudySpec, name: str, value: Any) -> dict[str, Any]:
    """The value of a field, and the values of others that it is searched with."""
    return {**space.conditions(name, study.space), name: value}


def _is_default(study: StudySpec, values: Mapping[str, Any]) -> bool:
    return values.items() <= study.defaults().items()


def _goal(study: StudySpec, trained: nn.Module, values: Mapping[str, Any]) -> float:
    """The goal of the model on the validation examples of the smoke fidelity."""
    task, batches = _validation(study, values)
    return evaluate(task, trained, batches)[task.goal]


def _validation(study: StudySpec, values: Mapping[str, Any]) -> tuple[Task[Any], list[NamedTuple]]:
    """The task with these values, and its validation examples at the smoke fidelity."""
    task, recipe = study.configure(values, searchable(study, study.smoke))
    return task, list(one_pass(task, "val", study.smoke, recipe.batch_size, generator("preflight", 1)))


def _largest_move(name: str, made: Sequence[Judgement]) -> Move:
    pairs = itertools.combinations(made, 2)
    low, high = max(pairs, key=lambda pair: relative_difference(pair[0].goal, pair[1].goal))
    return Move(name, low, high)


# -- the goal, or the prediction -------------------------------------------------------------------------------------
def _moves_predictions_alone(study: StudySpec, move: Move) -> bool:
    """Whether no baseline's score moves, though some baseline looks at the examples: zeroed inputs change its score.

    A constant prediction alone shows nothing, since it would not notice noise in the examples. Nor do baselines that
    fail, of which the check on promotion speaks.
    """
    low, high = (_validation(study, _with(study, move.name, value)) for value in (move.low.value, move.high.value))
    task, batches = low
    try:
        before, after = _baseline_goals(study, task, batches), _baseline_goals(study, *high)
        blind = _baseline_goals(study, task, [without_inputs(task, batch) for batch in batches])
    except Exception:
        return False
    moved = any(relative_difference(before[name], after[name]) > ROUNDING for name in before)
    sees = any(relative_difference(before[name], blind[name]) > ROUNDING for name in before)
    return sees and not moved


def _baseline_goals(study: StudySpec, task: Task[Any], batches: Iterable[NamedTuple]) -> dict[str, float]:
    judged = judge_baselines(task, study.smoke, batches)
    return {name: scores_of(task, rows.columns)[task.goal] for name, rows in judged.items()}
