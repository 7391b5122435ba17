"""A budget of time: what is planned for it, how the plan follows the clock, and that `hpo run` keeps to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pytest

import hpo
from hpo.checking.cost import cheap_check
from hpo.errors import Refused
from hpo.formatting import duration, seconds_of
from hpo.promotion.race import rounds_of, runs_of
from hpo.promotion.selection import read_selection
from hpo.storage.folder import RunFolder
from hpo.task import Fidelity
from hpo.verbs.plan import (
    SLACK,
    BudgetPlan,
    Costs,
    Race,
    full_length_trials,
    further_trials,
    largest_race,
    plan_budget,
    race_seconds,
    races,
    seeds_in_time,
)
from tests.toy import FULL, Toy, toy_study

# -- the plan, by hand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "race"),
    [
        (12, Race(1, 2)),  # a third of it is 4 runs: two seeds of the best and of the default
        (24, Race(2, 2)),  # 8 runs: 3 + 4, and 4 more would be 11
        (36, Race(4, 2)),  # 12 runs: 5 + 3 + 4
        (51, Race(8, 2)),  # 17 runs: 9 + 4 + 4
        (63, Race(8, 4)),  # 21 runs: 9 + 4 + 8
        (10_000, Race(8, 8)),  # more would decide nothing; the sweep has the rest
    ],
)
def test_a_third_of_the_budget_is_the_promotions(runs: int, race: Race) -> None:
    """On one worker, runs of 10 s and nothing else that takes time."""
    plan = plan_budget(10.0 * runs, Costs(trial=1, run=10, report=0), workers=1, race_workers=1)
    assert Race(plan.keep, plan.seeds) == race
    assert plan.sweep_seconds + plan.promotion_seconds == 10 * runs
    assert plan.trials == plan.sweep_seconds  # of 1 s each


def test_the_sweep_has_what_the_race_leaves_and_the_report_needs() -> None:
    """120 s without 6 for the report: a third is 38 s. Races of 3 + 4 runs take (2 + 2) x 8 s on two workers, those of
    4 + 3 + 4 take (2 + 2 + 2) x 8."""
    plan = plan_budget(120, Costs(trial=4, run=8, report=6), workers=2, race_workers=2)
    assert plan == BudgetPlan(trials=41, keep=2, seeds=2, sweep_seconds=82, promotion_seconds=32)


def test_the_smallest_promotion_may_take_half_and_no_more() -> None:
    costs = Costs(trial=1, run=10, report=0)
    assert plan_budget(80, costs, workers=1, race_workers=1).promotion_seconds == 40
    with pytest.raises(Refused, match="too short: the smallest promotion takes about 40 s, and 1 min 19 s are left"):
        plan_budget(79, costs, workers=1, race_workers=1)


def test_on_several_devices_runs_come_one_at_a_time() -> None:
    assert plan_budget(240, Costs(1, 10, 0), workers=4, race_workers=1).promotion_seconds == 70


def test_races_are_planned_from_the_shortest_to_the_longest() -> None:
    for workers in (1, 2, 3, 4, 8):
        lengths = [race_seconds(race, 1, workers=workers) for race in races()]
        assert lengths == sorted(lengths)


def test_a_round_waits_for_the_one_before_it() -> None:
    """4 + the default, then 2, then 1: 5, 3 and 4 runs on two workers are 3, 2 and 2 one after the other. With 5 and
    the default there are 6, 4 and 4 runs, which take as long."""
    assert race_seconds(Race(4, 2), 10, workers=2) == 70
    assert largest_race(70, 10, workers=2) == Race(5, 2)
    assert largest_race(39, 10, workers=1) == Race(1, 2)


@pytest.mark.parametrize(
    ("seconds", "workers", "running", "trials"),
    [
        (100, 1, 0, 10),
        (104, 1, 0, 10),  # an eleventh would end 6 s late; without it 4 s are lost
        (106, 1, 0, 11),
        (100, 2, 2, 19),  # each of the two that run has 5 s before it
        (4, 1, 0, 0),
        (-3, 1, 1, 0),
    ],
)
def test_a_trial_begins_where_it_ends_nearer_to_the_end(
    seconds: float, workers: int, running: int, trials: int
) -> None:
    assert further_trials(seconds, 10, workers=workers, running=running) == trials


def test_trials_that_pause_are_counted_by_their_epochs() -> None:
    """45 epochs are done, and 3 a second for 20 s make 105: ten full-length trials of 10 and a half."""
    assert full_length_trials(45, 3, 20, epochs=10) == 10
    assert full_length_trials(45, 3, -5, epochs=10) == 4


@pytest.mark.parametrize(
    ("seconds", "begun", "running", "workers", "seeds"),
    [
        (60, 0, 0, 1, 3),  # three pairs of runs of 10 s
        (79, 0, 0, 1, 3),
        (80, 0, 0, 1, 4),
        (60, 4, 0, 1, 5),  # two pairs have been trained, and there is time for three more
        (60, 0, 0, 2, 6),  # a pair at a time
        (25, 3, 1, 2, 3),  # one runs for 5 s more, then the three that are missing of four pairs take 2 x 10
        (1, 4, 0, 1, 2),  # what has begun stays
        (1, 0, 0, 1, 2),  # and two there are
    ],
)
def test_the_last_round_has_as_many_seeds_as_fit(
    seconds: float, begun: int, running: int, workers: int, seeds: int
) -> None:
    fitting = seeds_in_time(seconds, 10, entrants=2, begun=begun, running=running, workers=workers, slack=0, least=2)
    assert fitting == seeds


def spend(budget: float, costs: Costs, *, slower: float, pruned: float) -> float:
    """When a study ends on one worker whose epochs take `slower` times as long as measured, and of whose trials every
    second one is pruned after a share of its epochs. The report takes what was expected."""
    race_plan = plan_budget(budget, costs, workers=1, race_workers=1)
    race, now, known, recent = Race(race_plan.keep, race_plan.seeds), 0.0, 1.0, costs.trial
    trials = 0
    while further_trials(
        budget - costs.report - now - race_seconds(race, costs.run * known, workers=1), recent, workers=1
    ):
        now += costs.trial * slower * (pruned if trials % 2 else 1.0)
        trials += 1
        known, recent = slower, costs.trial * slower * (1 + pruned) / 2
    race = largest_race(budget - costs.report - now, costs.run * known, workers=1)
    *earlier, last = rounds_of(race.keep, race.seeds)
    run = costs.run * slower
    now += run * runs_of(earlier)
    begun, entrants = 0, last.others + 1
    slack, least = SLACK * budget, 1 if earlier else 2
    while begun < entrants * seeds_in_time(
        budget - costs.report - now, run, entrants=entrants, begun=begun, running=0, workers=1, slack=slack, least=least
    ):
        now += run
        begun += 1
    return now + costs.report


@pytest.mark.parametrize("slower", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("pruned", [0.3, 1.0])
@pytest.mark.parametrize("budget", [120, 600, 7200])
def test_the_end_is_within_a_tenth_of_the_budget(budget: float, pruned: float, slower: float) -> None:
    """Whether the machine is as fast as measured or not, and however many trials are pruned."""
    costs = Costs(trial=1.5, run=5, report=4)
    assert spend(budget, costs, slower=slower, pruned=pruned) == pytest.approx(budget, rel=0.1)


# -- the words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("45m", 2700), ("2h", 7200), ("1h30m", 5400), ("1.5 h", 5400), ("1d", 86400), ("3 min 20 s", 200)],
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("seconds", [0.42, 12, 200, 7500])
def test_a_time_that_is_shown_can_be_given(seconds: float) -> None:
    assert seconds_of(duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "0s", "-1h", "two hours", "2h 3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="--budget: must be a time such as 90s, 45m, 2h or 1h30m; got"):
        hpo.run(toy_study(), budget=text)
    with pytest.raises(ValueError, match="budget: must be a time such as"):
        toy_study(budget=text)


@pytest.mark.parametrize("option", ["trials", "keep", "seeds", "timeout"])
def test_what_a_budget_plans_cannot_be_asked_for_beside_it(option: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"leave out --{option}"):
        hpo.run(toy_study(budget="1h"), runs=tmp_path, **{option: 2})
    assert not list(tmp_path.iterdir())


def test_preflight_says_where_the_cheap_fidelity_saves_epochs_instead_of_data() -> None:
    few_epochs = toy_study(cheap=replace(FULL, epochs=2), full=replace(FULL, epochs=6), smoke=replace(FULL, epochs=1))
    (check,) = cheap_check(few_epochs)
    assert (check.status, check.seen) == ("go", "saves epochs (2 of 6) and no data")
    assert cheap_check(replace(few_epochs, full=replace(FULL, epochs=6, train=FULL.train * 2))) == []
    assert cheap_check(replace(few_epochs, full=replace(FULL, epochs=2))) == []


# -- a whole study ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Steady(Toy):
    """The toy, with batches that take their time."""

    def batches(self, split, fidelity, batch_size, rng):
        for batch in super().batches(split, fidelity, batch_size, rng):
            time.sleep(0.01)
            yield batch


@pytest.mark.slow
def test_a_study_ends_in_its_budget_with_a_verdict(tmp_path: Path) -> None:
    """Against the clock, with room for a busy machine: what is tested is that the time is used and kept."""
    small = Fidelity(size=6, train=64, val=64, epochs=4)
    full = replace(small, epochs=6, test=64)
    study = toy_study(task=Steady(), smoke=replace(small, epochs=1), cheap=small, full=full, pruning=None)
    began = time.monotonic()
    verdict = hpo.run(study, budget="1m", workers=1, backend="inline", runs=tmp_path, device="cpu")
    took = time.monotonic() - began
    selection = read_selection(RunFolder(tmp_path / study.name))
    sweep = optuna.load_study(study_name=study.name, storage=RunFolder(tmp_path / study.name).storage)
    assert verdict.sentence
    assert verdict.rounds == selection.rounds
    assert sweep.user_attrs["trials"] == len(sweep.trials) > 12  # more than the study itself says
    assert 40 < took < 80
