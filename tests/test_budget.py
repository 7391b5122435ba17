"""A budget of time: what is planned for it, how the plan follows the clock, and that `hpo run` keeps to it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

import hpo
from hpo.checking.cost import Cost, cheap_check
from hpo.contract.tuned import Tuned
from hpo.direction import Direction
from hpo.errors import Refused
from hpo.files import write_json
from hpo.formatting import duration, seconds_of
from hpo.promotion import rivals, tuning
from hpo.promotion.gate import Gate, RankCorrelation, read_gate, write_gate
from hpo.promotion.race import RoundsOf, rounds_of, rounds_of_front, runs_of
from hpo.promotion.rivals import rival_seconds
from hpo.promotion.selection import read_selection, sweep_trials
from hpo.promotion.test_split import score_baselines
from hpo.space import distributions, uniform
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.provenance import identity
from hpo.trial.record import Outcome, write_outcome
from hpo.verbs.budget import Schedule
from hpo.verbs.clock import Budget
from hpo.verbs.display import Display
from hpo.verbs.gate import gate_in_run
from hpo.verbs.opening import open_study
from hpo.verbs.options import Options
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
from hpo.verbs.plan_words import kept_line, plan_lines
from tests.epochs import epoch
from tests.test_gate import GO, misleading, started
from tests.test_limits import FIDELITY, Wide, wide_study
from tests.toy import FULL, Batch, Toy, toy_study

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


@pytest.mark.parametrize(
    ("runs", "race"),
    [
        (12, Race(1, 2)),  # a third of it is 4 runs: two seeds of the one and of the default
        (24, Race(3, 2)),  # 8 runs: two seeds of four
        (54, Race(8, 2)),  # 18 runs: two seeds of nine
        (80, Race(8, 2)),  # 26 runs: a third seed of nine would be the 27th
        (81, Race(8, 3)),
        (10_000, Race(8, 8)),
    ],
)
def test_with_several_goals_all_that_start_train_equally_often(runs: int, race: Race) -> None:
    costs = Costs(trial=1, run=10, report=0)
    plan = plan_budget(10.0 * runs, costs, workers=1, race_workers=1, rounds=rounds_of_front)
    assert Race(plan.keep, plan.seeds) == race
    assert plan.promotion_seconds == 10 * (race.keep + 1) * race.seeds
    assert plan.sweep_seconds + plan.promotion_seconds == 10 * runs


def test_where_few_configurations_can_race_there_are_more_seeds() -> None:
    """A gate said that two are enough, or the front has two: 3 + 2 x 2 runs, then 3 + 2 x 3, and so on."""
    assert largest_race(70, 10, workers=1, most=2) == Race(2, 2)
    assert largest_race(109, 10, workers=1, most=2) == Race(2, 3)
    assert largest_race(1000, 10, workers=1, most=2) == Race(2, 8)
    assert largest_race(120, 10, workers=1, rounds=rounds_of_front, most=2) == Race(2, 4)


@pytest.mark.parametrize(
    ("runs", "workers", "gate", "gate_seconds"),
    [
        (39, 1, 0, 0),  # a fifth of it is 7 runs, and the gate decides nothing before the 8th
        (40, 1, 8, 80),
        (60, 1, 12, 120),
        (300, 1, 24, 240),  # it never needs more
        (19, 2, 0, 0),  # three times two side by side
        (20, 2, 8, 40),
    ],
)
def test_the_gate_has_at_most_a_fifth_and_the_rest_is_shared(
    runs: int, workers: int, gate: int, gate_seconds: float
) -> None:
    costs = Costs(trial=1, run=10, report=0)
    plan = plan_budget(10.0 * runs, costs, workers=workers, race_workers=workers, gate=24)
    assert (plan.gate, plan.gate_seconds) == (gate, gate_seconds)
    assert plan.gate_seconds + plan.sweep_seconds + plan.promotion_seconds == 10 * runs
    assert plan.promotion_seconds <= (10 * runs - gate_seconds) / 3
    assert plan_budget(10.0 * runs, costs, workers=workers, race_workers=workers).gate == 0, "nothing to test"


def test_on_several_devices_runs_come_one_at_a_time() -> None:
    assert plan_budget(240, Costs(1, 10, 0), workers=4, race_workers=1).promotion_seconds == 70


@pytest.mark.parametrize("rounds", [rounds_of, rounds_of_front])
@pytest.mark.parametrize("most", [1, 2, 8])
def test_races_are_planned_from_the_shortest_to_the_longest(rounds: RoundsOf, most: int) -> None:
    for workers in (1, 2, 3, 4, 8):
        lengths = [race_seconds(race, 1, workers=workers, rounds=rounds) for race in races(most)]
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


def spend(budget: float, costs: Costs, rounds: RoundsOf, *, slower: float, pruned: float) -> float:
    """When a study ends on one worker whose epochs take `slower` times as long as measured, and of whose trials every
    second one is pruned after a share of its epochs. The report takes what was expected."""
    planned = plan_budget(budget, costs, workers=1, race_workers=1, rounds=rounds)
    race, now, known, recent = Race(planned.keep, planned.seeds), 0.0, 1.0, costs.trial
    trials = 0
    while further_trials(
        budget - costs.report - now - race_seconds(race, costs.run * known, workers=1, rounds=rounds),
        recent,
        workers=1,
    ):
        now += costs.trial * slower * (pruned if trials % 2 else 1.0)
        trials += 1
        known, recent = slower, costs.trial * slower * (1 + pruned) / 2
    race = largest_race(budget - costs.report - now, costs.run * known, workers=1, rounds=rounds)
    *earlier, last = rounds(race.keep, race.seeds)
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
@pytest.mark.parametrize("rounds", [rounds_of, rounds_of_front])
def test_the_end_is_within_a_tenth_of_the_budget(rounds: RoundsOf, budget: float, pruned: float, slower: float) -> None:
    """Whether the machine is as fast as measured or not, and however many trials are pruned."""
    costs = Costs(trial=1.5, run=5, report=4)
    assert spend(budget, costs, rounds, slower=slower, pruned=pruned) == pytest.approx(budget, rel=0.1)


# -- the plan, kept to what things take ------------------------------------------------------------------------------


def schedule_of(study: StudySpec, runs: Path, seconds: float = 1000, *, gate: int = 0) -> Schedule:
    """One worker; a cheap trial takes 1 s with the default and up to 3 s with others, a run of the default 10 s."""
    opened = open_study("run", study, Options(runs=runs, workers=1, backend="inline"))
    cost = Cost(1.0, 3.0, sweep_least_seconds=0, sweep_seconds=0, workers=1, peak_mb=0)
    return Schedule(opened, Budget(seconds), cost, 10.0, gate=gate)


def completed(
    schedule: Schedule, number: int, params: dict[str, Any], value: float, seconds: float, **attributes: Any
) -> FrozenTrial:
    """A trial that took so long, all of it in its epochs, and its folder."""
    study = schedule.study
    each = seconds / study.cheap.epochs
    history = tuple(epoch(index, seconds=each) for index in range(study.cheap.epochs))
    outcome = Outcome("complete", value, epochs=len(history), seconds=seconds, history=history)
    write_outcome(schedule.folder.trial("sweep", number), outcome, "")
    trial = optuna.trial.create_trial(
        value=value,
        params=study.defaults() | params,
        distributions=distributions(study.space),
        user_attrs={"seconds": seconds, **attributes},
    )
    trial.number = number
    trial.datetime_start = datetime(2026, 1, 1)
    trial.datetime_complete = datetime(2026, 1, 1) + timedelta(seconds=seconds)
    return trial


def test_a_run_takes_as_many_times_as_long_as_the_trials_do_against_the_default(tmp_path: Path) -> None:
    """Trials that are as fast as the default's say that runs are; that others would be slower does not matter."""
    schedule = schedule_of(toy_study(), tmp_path)
    schedule.planned([])
    for seconds in (1.0, 2.0):
        trials = [completed(schedule, number, {"task.shift": 0.01 * number}, 1.0, seconds) for number in range(12)]
        schedule.epoch_seconds.clear()
        schedule.trials_wanted(trials)
        assert schedule.run_seconds == pytest.approx(10 * seconds)


def test_the_first_trials_which_wait_for_their_worker_do_not_change_the_plan(tmp_path: Path) -> None:
    """1000 s, 6 and 3 s for the reports; trials of 1 s and 0.1 beside, 2/3 of the rest: a slow start is no pace."""
    schedule = schedule_of(toy_study(), tmp_path)
    schedule.planned([])
    first = completed(schedule, 0, {}, 1.0, 1.0)
    first.datetime_complete = datetime(2026, 1, 1) + timedelta(seconds=60)
    left = 991 - schedule.race_seconds
    assert schedule.trials_wanted([first]) == pytest.approx(1 + left / 1.1, abs=2)


def test_runs_of_a_front_are_as_slow_as_its_own_configurations(tmp_path: Path) -> None:
    """The default takes 1 s and the other one on the front 3, so runs take 20 s, and 0.2 beside: in 144 s there is time
    for 7, which are three seeds of both. The dominated one says nothing."""
    longer = replace(FIDELITY, epochs=5)
    study = wide_study(goals=("error", "parameters"), cheap=longer, full=longer, keep=None)
    schedule = schedule_of(study, tmp_path, 150)
    schedule.planned([])
    trials = [
        completed(schedule, 0, {}, 1.0, 1.0, costs={"parameters": 49.0}),
        completed(schedule, 1, {"task.width": 60}, 0.5, 3.0, costs={"parameters": 361.0}),
        completed(schedule, 2, {"task.width": 30}, 2.0, 1.0, costs={"parameters": 181.0}),
    ]
    raced = schedule.with_race(trials)
    assert schedule.run_seconds == pytest.approx(20.2)
    assert (raced.keep, raced.seeds) == (1, 3)


def test_the_gate_says_how_many_may_start_the_race(tmp_path: Path) -> None:
    """It takes two where the cheap setting ranks well; the time is for further seeds then."""
    schedule = schedule_of(toy_study(), tmp_path)
    schedule.planned([])
    trials = [completed(schedule, number, {"task.shift": 0.01 * number}, 1.0, 1.0) for number in range(12)]
    assert schedule.with_race(trials).keep == 8
    write_gate(schedule.folder, Gate("pass", RankCorrelation(0.95, 0.7, 0.99, 8), 2, Direction.MINIMIZE, ()))
    raced = schedule.with_race(trials)
    assert (raced.keep, raced.seeds) == (2, 8)


def test_the_gate_trains_nothing_fully_once_that_takes_much_longer_than_planned(tmp_path: Path) -> None:
    """A fifth of 991 s is 198, and half as much again is borne: eight runs of 30 s are, those of 40 s are not."""
    schedule = schedule_of(toy_study(), tmp_path, gate=24)
    schedule.planned([])
    for seconds, fits in ((3.0, True), (4.0, False)):
        schedule.epoch_seconds.clear()
        trials = [completed(schedule, number, {"task.shift": 0.01 * number}, 1.0, seconds) for number in range(8)]
        assert schedule.affords_gate(trials) is fits


def test_a_gate_that_takes_too_long_leaves_its_trials_to_the_sweep(tmp_path: Path) -> None:
    opened = open_study("run", misleading(), Options(runs=tmp_path, workers=1, backend="inline", device="cpu"))
    assert gate_in_run(opened, Display(), None, 24, lambda _: False) is None
    assert len(sweep_trials(opened.study, opened.folder)) == len(started(tmp_path / "toy")) == 8
    assert read_gate(opened.folder) is None


def test_the_plan_is_said_a_line_each_stage(tmp_path: Path) -> None:
    """A fifth of 991 s has time for 19 runs of 10.2 s, and a third of the rest for 9 + 4 + 2 x 6."""
    first, *lines = plan_lines(schedule_of(toy_study(), tmp_path, gate=24))
    assert re.fullmatch(r"budget of 16 min 40 s, done by \d\d:\d\d:\d\d; the plan, on 1 worker:", first)
    assert lines == [
        "  gate: full runs of 8 to 19 random configurations, in at most 3 min 14 s; their cheap trials are the "
        "first of the sweep",
        "  sweep: about 258 trials of 2.1 s, in 9 min 02 s",
        "  promotion: 25 runs of 10 s, in rounds, 8 configurations and the default, in about 4 min 15 s",
        "  verdict and reports: 9 s",
    ]


def test_the_plan_says_where_there_is_no_time_for_the_gate_and_what_a_front_takes(tmp_path: Path) -> None:
    study = wide_study(goals=("error", "parameters"), keep=None)
    _, gate, _, promotion, _ = plan_lines(schedule_of(study, tmp_path, 300, gate=24))
    assert gate == (
        "  gate: left out, since its first 8 full runs would take 1 min 22 s, more than a fifth of the time that is "
        "left; so whether the cheap setting ranks like the full one is not tested"
    )
    assert promotion == (
        "  promotion: 8 runs of 10 s, 2 each of the default and of up to 3 configurations of the front, in about "
        "1 min 22 s"
    )
    assert not [line for line in plan_lines(schedule_of(study, tmp_path, 300)) if "gate" in line]


def test_at_the_end_it_is_said_how_the_time_was_kept() -> None:
    budget = Budget(600)
    budget.spent = {"preflight": 20.0, "sweep": 200.0}
    budget.end_stage("promotion")
    assert re.fullmatch(
        r"budget of 10 min 00 s: done (10 min 00|9 min 59) s before its end, after preflight 20 s, "
        r"sweep 3 min 20 s and promotion \S+ s",
        kept_line(budget),
    )
    budget.ends -= 630
    assert "done 30 s after its end" in kept_line(budget)


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


def test_what_classical_methods_take_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods, which take half a second and two on 64 examples, in twelve trials, and then on 200 test examples."""
    now = [0.0]
    for module in (tuning, rivals):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def method(batch: Batch, scale: float = 1.0, *, seconds: float):
        now[0] += seconds / 64 * len(batch.y_BO)
        return Toy().judged(scale * batch.y_BO, batch)

    @dataclass(frozen=True)
    class Rivalled(Toy):
        def baselines(self, fidelity: Fidelity):
            return {
                name: Tuned({"scale": uniform(0, 1)}, partial(method, seconds=seconds), examples=64)
                for name, seconds in {"quick": 0.5, "slow": 2.0}.items()
            }

    study, folder = toy_study(task=Rivalled()), RunFolder(tmp_path / "toy")
    folder.make()
    scoring = 200 / 64 * 2.5
    assert rival_seconds(study, folder) == pytest.approx(12 * 2.5 + scoring)
    assert {baseline.name for baseline in score_baselines(study, folder)} == {"quick", "slow"}
    assert rival_seconds(study, folder) == pytest.approx(scoring)
    assert rival_seconds(replace(study, task=Bare()), folder) == 0


@dataclass(frozen=True)
class Bare(Toy):
    """The toy without classical methods."""

    def baselines(self, fidelity: Fidelity):
        return {}


# -- a whole study ---------------------------------------------------------------------------------------------------


class Unhurried:
    """Before a task: its batches take their time."""

    def batches(self, split, fidelity, batch_size, rng):
        for batch in super().batches(split, fidelity, batch_size, rng):
            time.sleep(0.01)
            yield batch


@dataclass(frozen=True)
class Steady(Unhurried, Toy):
    """The toy, with such batches."""


@pytest.mark.slow
def test_a_gate_that_refuses_is_said_and_the_study_comes_to_its_verdict(tmp_path: Path) -> None:
    study = misleading()
    write_json(tmp_path / "toy/preflight.json", GO | {"identity": identity(study)})
    verdict = hpo.run(study, budget="30s", runs=tmp_path, backend="inline", device="cpu")
    gate = read_gate(RunFolder(tmp_path / "toy"))
    assert gate is not None
    assert (gate.decision, gate.forced) == ("refuse", True)
    assert verdict.sentence
    assert "does not rank like the full one" in (tmp_path / "toy/report.html").read_text()


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


@dataclass(frozen=True)
class SteadyWide(Unhurried, Wide):
    """The task with a front of error and parameters, with such batches."""


@pytest.mark.slow
def test_a_study_with_several_goals_ends_in_its_budget_with_a_front(tmp_path: Path) -> None:
    small = Fidelity(train=64, val=32, epochs=4)
    study = wide_study(
        goals=("error", "parameters"),
        task=SteadyWide(),
        smoke=replace(small, epochs=1),
        cheap=small,
        full=replace(small, epochs=6, test=64),
    )
    began = time.monotonic()
    verdict = hpo.run(study, budget="1m", workers=1, backend="inline", runs=tmp_path, device="cpu", force=True)
    took = time.monotonic() - began
    assert len({len(result.runs) for result in verdict.results}) == 1, "all run equally often"
    assert len(verdict.rounds) == 1
    assert verdict.rounds[0].others == len(verdict.results) - 1 <= 8
    assert len(verdict.rounds[0].seeds) >= 2
    assert 40 < took < 80
