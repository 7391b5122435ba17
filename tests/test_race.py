"""The race of a promotion: its rounds, who goes on, and what a failed run changes."""

from __future__ import annotations

import itertools

import pytest

from hpo.direction import Direction
from hpo.promotion.candidate import RunKey
from hpo.promotion.race import Race, Values, rounds_of

PLANS = {  # configurations, runs of the last round, folds -> configurations and seeds of each round
    (11, 3, 1): [(11, [0]), (4, [1]), (1, [2, 3, 4])],
    (7, 4, 3): [(7, [0]), (3, [1, 2]), (1, [3, 4, 5, 6])],
    (4, 2, 1): [(4, [0]), (2, [1]), (1, [2, 3])],
    (3, 2, 1): [(3, [0]), (2, [1]), (1, [2, 3])],
    (2, 3, 1): [(2, [0]), (1, [1, 2, 3])],
    (1, 5, 1): [(1, [0, 1, 2, 3, 4])],
    (0, 2, 1): [(0, [0, 1])],
}


@pytest.mark.parametrize("plan", PLANS)
def test_each_round_has_the_root_of_the_one_before_and_new_seeds(plan: tuple[int, int, int]) -> None:
    others, seeds, folds = plan
    rounds = rounds_of(others, seeds, folds=folds)
    assert [(race_round.others, list(race_round.seeds)) for race_round in rounds] == PLANS[plan]


def test_the_races_that_were_measured_have_the_runs_that_were_counted() -> None:
    assert sum(race_round.runs for race_round in rounds_of(4, 2)) == 12
    assert sum(race_round.runs for race_round in rounds_of(11, 3)) == 23
    assert sum(race_round.runs for race_round in rounds_of(7, 4, folds=3)) == 24


def race(others: str = "abcd", seeds: int = 2, direction: Direction = Direction.MAXIMIZE) -> Race:
    return Race("default", tuple(others), rounds_of(len(others), seeds), direction)


def ran(the_race: Race, scores: dict[str, float], failing: Values | None = None) -> dict[RunKey, float | None]:
    """All runs of a race, one after the other: each configuration scores the same each time, but for what fails."""
    values: dict[RunKey, float | None] = {}
    while missing := [run for run in the_race.runs(values) if run not in values]:
        values[missing[0]] = scores[missing[0].candidate] if missing[0] not in (failing or {}) else None
    return values


SCORES = {"default": 0.0, "a": 1.0, "b": 4.0, "c": 3.0, "d": 2.0}


def seeds_of(the_race: Race, values: Values) -> dict[str, list[int]]:
    return {key: [run.seed_index for run in runs] for key, runs in the_race.ended(values).items()}


def test_the_best_go_on_and_the_default_is_in_every_round() -> None:
    values = ran(race(), SCORES)
    assert seeds_of(race(), values) == {"default": [0, 1, 2, 3], "a": [0], "b": [0, 1, 2, 3], "c": [0, 1], "d": [0]}
    assert race().leader(values) == "b"
    assert race().ranked(values) == ["b", "default", "c", "d", "a"]


def test_where_less_is_better_the_least_go_on() -> None:
    downward = race(direction=Direction.MINIMIZE)
    assert downward.leader(ran(downward, SCORES)) == "a"


def test_the_mean_of_all_runs_so_far_decides_not_the_last_one() -> None:
    values = {RunKey(key, 0): score for key, score in SCORES.items()}
    values |= {RunKey("default", 1): 0.0, RunKey("b", 1): 1.0, RunKey("c", 1): 1.5}  # means: b 2.5, c 2.25
    assert race().stages(values)[-1].entrants == ("default", "b")


def test_a_round_begins_when_the_one_before_it_has_ended() -> None:
    assert [run.candidate for run in race().runs({})] == ["default", "a", "b", "c", "d"]
    all_but_one = {RunKey(key, 0): score for key, score in SCORES.items() if key != "d"}
    assert race().runs(all_but_one) == race().runs({})


def test_one_failed_run_is_out_and_the_next_best_takes_its_place() -> None:
    values = ran(race(), SCORES, {RunKey("b", 3): None})
    assert seeds_of(race(), values)["c"] == [0, 1, 2, 3]
    assert race().leader(values) == "c"
    assert race().planned(values) == len(values) == 14  # two more than without a failure


def test_where_the_default_fails_the_others_race_on() -> None:
    values = ran(race(), SCORES, {RunKey("default", 1): None})
    assert race().ranked(values)[0] == "b"
    assert RunKey("default", 2) not in values


def test_where_all_fail_the_race_is_over() -> None:
    failing = {RunKey(key, seed): None for key, seed in itertools.product(SCORES, range(4))}
    values = ran(race(), SCORES, failing)
    assert len(values) == 5
    assert race().ranked(values) == []


def test_runs_of_an_earlier_promotion_do_not_carry_a_configuration_past_its_round() -> None:
    """`d` has every run already, from a race that it led; in this one it is not among the best two."""
    before = {RunKey("d", seed): 2.0 for seed in range(4)}
    values = ran(race(), SCORES) | before
    assert race().leader(values) == "b"
    assert seeds_of(race(), values)["d"] == [0]


def test_how_many_runs_there_will_be_is_known_from_the_start() -> None:
    values = ran(race(), SCORES)
    planned = {race().planned(dict(itertools.islice(values.items(), count))) for count in range(13)}
    assert planned == {12}


def test_the_leader_counts_as_the_best_of_one_more_than_are_in_the_second_round() -> None:
    counts = {others: race("abcdefghijk"[:others]).comparisons for others in (1, 2, 3, 4, 5, 7, 11)}
    assert counts == {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 7: 4, 11: 5}


def test_the_seeds_that_chose_nothing_are_those_since_the_last_choice() -> None:
    assert race().seeds_after_last_choice() == (2, 3)
    assert race("a").seeds_after_last_choice() == (0, 1)
