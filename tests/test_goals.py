"""Several goals: what Optuna is asked, what dominates what, and what a promotion of the front says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna
import pytest

from hpo.contract.pruning import Median
from hpo.contract.several_goals import SeveralGoals
from hpo.direction import Direction, front
from hpo.page.collect import collect
from hpo.page.decoding import decode_verdict
from hpo.page.figures import figures
from hpo.page.report import render
from hpo.page.status import status_of
from hpo.promotion.candidate import Candidate
from hpo.promotion.front import winner_of
from hpo.promotion.glance import glance
from hpo.promotion.intervals import Interval
from hpo.promotion.promote import promote
from hpo.promotion.results import Result
from hpo.promotion.selection import select
from hpo.search.sweep import sweep
from hpo.space import distributions
from hpo.storage.folder import RunFolder
from hpo.storage.summary import Row, front_of
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
        ({"goals": GOALS, "pruning": "auto"}, "pruning: must be None with several goals"),
        ({"goals": GOALS, "search": optuna.samplers.NSGAIISampler()}, "search: must be None with several goals"),
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


# -- promoted --------------------------------------------------------------------------------------------------------
def test_a_sweep_promotes_its_front_the_ends_of_a_long_one_among_them() -> None:
    def tried(number: int, error: float, width: int) -> optuna.trial.FrozenTrial:
        trial = optuna.trial.create_trial(
            value=error,
            params={"task.width": width, "recipe.lr": 0.01 + 0.001 * number},
            distributions=distributions(wide_study().space),
            user_attrs={"costs": {"parameters": float(parameters(width))}},
        )
        trial.number = number
        return trial

    errors = {0: (0.5, 8), 1: (0.4, 8), 2: (0.3, 20), 3: (0.6, 4), 4: (0.35, 30), 5: (0.2, 40), 6: (0.1, 50)}
    trials = [tried(number, *error) for number, error in errors.items()]
    names = [candidate.name for candidate in select(trials, wide_study(goals=GOALS, keep=None))]
    assert names == ["default", "trial 6", "trial 5", "trial 2", "trial 1", "trial 3"]
    three = [candidate.name for candidate in select(trials, wide_study(goals=GOALS, keep=3))]
    assert three == ["default", "trial 6", "trial 2", "trial 3"]


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("goals") / "wide")
    study = wide_study(goals=GOALS, trials=8, keep=3)
    sweep(study, folder, identity(study), device="cpu")
    promote(study, folder, identity(study), device="cpu")
    return folder


def test_a_sweep_with_several_goals_measures_and_keeps_the_curve_of_each_trial(promoted: RunFolder) -> None:
    trials = stored(promoted)
    assert len(trials) == 8
    for trial in trials:
        assert trial.user_attrs["costs"] == {"parameters": parameters(trial.params["task.width"])}
        assert trial.intermediate_values


def test_the_verdict_names_the_front_with_an_interval_in_every_goal_and_no_single_winner(promoted: RunFolder) -> None:
    verdict = decode_verdict(promoted)
    by_name = {result.candidate.name: result for result in verdict.results}
    points = {name: (-result.full, -cost(result)) for name, result in by_name.items()}
    assert set(verdict.front) == set(front(points, key=lambda name: points[name]))
    assert verdict.has_no_winner
    assert len({len(result.runs) for result in verdict.results}) == 1, "all run equally often: nobody goes on alone"
    for name in verdict.front:
        result = by_name[name]
        assert result.test is not None
        assert result.test.low < result.test.mean < result.test.high
        assert cost(result) == parameters(result.candidate.params["task.width"])
        assert f"{name}: error " in verdict.sentence.lower()
        assert f"{cost(result)} parameters" in verdict.sentence
    assert verdict.sentence.startswith(
        f"No single winner: {len(verdict.front)} configurations of {len(by_name)} are on"
    )
    glanced = glance(promoted, [], Direction.MINIMIZE)
    assert glanced.text == f"front: {', '.join(verdict.front)}"


def cost(result: Result) -> int:
    interval = result.costs["parameters"]
    assert interval is not None
    assert interval.low == interval.high
    return int(interval.mean)


def result(name: str, lead: tuple[float, float], cost: float) -> Result:
    candidate = Candidate(name, {}, None, None)
    ahead = None if name == "default" else Interval(sum(lead) / 2, *lead)
    return Result(candidate, (), full=1.0, ahead_of_default=ahead, costs={"parameters": Interval(cost, cost, cost)})


@pytest.mark.parametrize(
    ("lead", "cost", "wins"),
    [
        ((0.1, 0.2), 100, True),  # surely better in error, equal in parameters
        ((-0.1, 0.2), 100, False),  # surely better in nothing
        ((-0.1, 0.2), 50, True),  # surely smaller, and not surely worse
        ((-0.3, -0.2), 50, False),  # surely worse on test, whatever validation said
    ],
)
def test_one_that_dominates_all_wins_where_it_is_surely_better_in_a_goal(
    lead: tuple[float, float], cost: float, wins: bool
) -> None:
    default, best = result("default", (0, 0), 100), result("trial 1", lead, cost)
    assert winner_of([best], default, "default") is (best if wins else default)
    assert winner_of([default, best], default, "default") is default
    assert winner_of([default, best], default, "leader") is best
    assert winner_of([best], None, "default") is best


# -- shown -----------------------------------------------------------------------------------------------------------
def test_status_and_report_show_the_front(promoted: RunFolder) -> None:
    study = wide_study(goals=GOALS, trials=8, keep=3)
    points = {trial.number: (-trial.value, -trial.user_attrs["costs"]["parameters"]) for trial in stored(promoted)}
    expected = tuple(front(points, key=lambda number: points[number]))
    assert status_of(promoted).front == expected
    promoted.summary.unlink()
    assert status_of(promoted).front == expected, "from the storage"
    findings = collect(study, promoted)
    assert findings.sweep is not None
    assert findings.sweep.front == expected
    assert findings.headline.badge.startswith("a front of ")
    shown = figures(findings)
    drawn = {x for trace in shown["front parameters"].data if trace.mode == "markers" for x in trace.x if x is not None}
    assert drawn == {parameters(trial.params["task.width"]) for trial in stored(promoted)}
    assert "tested parameters" in shown
    page = render(findings)
    assert "error against parameters" in page
    assert "error on test against parameters" in page


def test_a_study_with_one_goal_has_no_front() -> None:
    rows = [Row("sweep", 0, "complete", value=1.0), Row("sweep", 1, "complete", value=2.0)]
    assert front_of(rows, Direction.MINIMIZE, ()) == []
    costly = [replace(row, costs={"flops": 3.0 - row.number}) for row in rows]
    assert front_of(costly, Direction.MINIMIZE, ("error", "flops")) == costly
    assert front_of(costly, Direction.MAXIMIZE, ("error", "flops")) == costly[1:]
