"""Several goals: what Optuna is asked, what dominates what, and what a promotion of the front says."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from hpo.contract.several_goals import SeveralGoals
from hpo.direction import front
from hpo.search.sweep import sweep
from hpo.storage.folder import RunFolder
from hpo.study import Median
from hpo.trial.provenance import identity
from tests.test_limits import parameters, stored, wide_study

GOALS = ("error", "parameters")


# -- declared --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"goals": ("error",)},
            "goals: must be the task's goal first, here 'error', and then costs: parameters, flops",
        ),
        ({"goals": ("parameters", "error")}, "goals: must be the task's goal first"),
        ({"goals": ("error", "accuracy")}, "goals: must be .*; got .*'accuracy'"),
        ({"goals": ("error", "flops", "flops")}, "goals: must be"),
        ({"goals": "error"}, "goals: must be a tuple of names; got 'error'"),
        ({"goals": GOALS, "pruning": Median()}, "pruning: must be None with several goals"),
        ({"goals": GOALS, "stop_after": 3}, "stop_after: must be None with several goals"),
    ],
)
def test_goals_that_cannot_be_searched_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wide_study(**changes)


def test_goals_are_part_of_the_identity_and_a_study_without_them_is_what_it_was() -> None:
    plain, several = identity(wide_study()), identity(wide_study(goals=GOALS))
    assert several == {**plain, "goals": "error, parameters"}


# -- searched --------------------------------------------------------------------------------------------------------
def test_the_sampler_proposes_what_it_would_in_a_study_of_optuna_with_several_values() -> None:
    def error(x: float, y: float) -> float:
        return (x - 0.3) ** 2 + y

    def sampler(number: int) -> optuna.samplers.TPESampler:
        return optuna.samplers.TPESampler(seed=number, n_startup_trials=4, multivariate=True)

    several, single = optuna.create_study(directions=["minimize", "minimize"]), optuna.create_study()
    for number in range(14):
        several.sampler, single.sampler = sampler(number), SeveralGoals(sampler(number), ["flops"])
        theirs, ours = several.ask(), single.ask()
        points = [(trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)) for trial in (theirs, ours)]
        assert points[0] == points[1]
        x, y = points[0]
        for trial in (theirs, ours):
            trial.set_constraint("flops", 1 - y - 0.9)
        ours.set_user_attr("costs", {"flops": 1 - y})
        several.tell(theirs, [error(x, y), 1 - y])
        single.tell(ours, error(x, y))


def test_the_front_is_what_no_other_dominates() -> None:
    points = [(1, 5), (2, 2), (2, 2), (5, 1), (2, 1), (1, 4)]
    assert front(points, key=lambda point: point) == [(1, 5), (2, 2), (2, 2), (5, 1)]
    assert front([], key=lambda point: point) == []


def test_a_sweep_with_several_goals_measures_and_keeps_the_curve_of_each_trial(tmp_path: Any) -> None:
    study, folder = wide_study(goals=GOALS, trials=8), RunFolder(tmp_path / "wide")
    assert sweep(study, folder, identity(study), device="cpu").complete == 8
    trials = stored(folder)
    assert [trial.user_attrs["costs"]["parameters"] for trial in trials] == [
        parameters(trial.params["task.width"]) for trial in trials
    ]
    assert all(trial.intermediate_values for trial in trials)
