"""pruning="auto": which trial comes next, and sweeps whose trials pause and go on."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from torch import nn

import hpo
from hpo.checking.cost import Cost, rungs_check
from hpo.cli.status import show_statuses
from hpo.contract.pruning import Rungs
from hpo.direction import Direction
from hpo.errors import Refused, SweepFailed
from hpo.page.status import status_of, statuses
from hpo.promotion.selection import freeze
from hpo.search.climb import curves_of
from hpo.search.ladder import Begin, Curve, GoOn, Ladder
from hpo.search.points import drawn_params, sobol_params
from hpo.search.random_trials import RandomTrials
from hpo.search.sweep import SweepTrials, sweep
from hpo.search.tries import checked_tries, keep_tries, require_room
from hpo.space import choose, integer, log, uniform, when
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.summary import Row, Summary, read_summary, write_summary
from hpo.study import StudySpec
from hpo.trial.lifecycle import Standing, is_orphan, standing, state_of
from hpo.trial.provenance import identity
from hpo.trial.rebuild import rebuild
from hpo.trial.record import read_asked, read_pause, write_asked
from hpo.trial.sealed import UNTIL
from hpo.verbs.budget import Budget, Schedule
from hpo.verbs.export import export_trials
from hpo.verbs.opening import Opened
from hpo.verbs.options import Options
from tests.faults.processes import code_of, start
from tests.sweeper import rows
from tests.toy import CHEAP, FULL, Toy, toy_study

LADDER = Ladder(epochs=8, budget=80)


# -- which trial comes next ------------------------------------------------------------------------------------------
def climber(number: int, *costs: float, spent: int = 0) -> Curve:
    return Curve(number, "ladder", costs, spent or len(costs), is_paused=len(costs) < 8, is_complete=len(costs) == 8)


def arm(number: int, cost: float) -> Curve:
    return Curve(number, "straight", (cost,) * 8, 8, is_complete=True)


def test_rungs_are_halves_of_the_epochs_down_to_one() -> None:
    assert [Ladder(epochs, 1).rungs for epochs in (1, 2, 8, 27, 54)] == [
        (1,),
        (1, 2),
        (1, 2, 4, 8),
        (1, 2, 3, 7, 14, 27),
        (1, 2, 3, 7, 14, 27, 54),
    ]


def test_no_rung_is_below_the_first_one() -> None:
    ladder = Ladder(27, 100, first=6)
    assert ladder.rungs == (7, 14, 27)
    assert ladder.next([]) == Begin(7, "ladder", "sobol")


def test_new_trials_run_to_the_first_rung_and_two_straight_once_the_ladder_has_brought_one_to_the_end() -> None:
    assert LADDER.next([]) == Begin(1, "ladder", "sobol")
    assert LADDER.next([], is_given=True) == Begin(8, "given", "sobol")
    ended = climber(0, *[1.0] * 8)
    running = [Curve(1, "straight", (), 8), Curve(2, "straight", (), 8)]
    assert LADDER.next([ended]) == Begin(8, "straight", "sobol")
    assert LADDER.next([ended, *running[:1]]) == Begin(8, "straight", "sobol")
    assert LADDER.next([ended, *running]) == Begin(1, "ladder", "sobol")


def test_the_better_half_of_a_rung_goes_on_and_higher_rungs_come_first() -> None:
    curves = [arm(0, 5.0), climber(1, 3.0), climber(2, 2.0), climber(3, 4.0), arm(4, 6.0)]
    assert LADDER.next(curves) == GoOn(2, 2)
    curves[2] = climber(2, 2.0, 2.0)  # now three have ended two epochs
    assert LADDER.next(curves) == GoOn(2, 4)
    curves[2] = replace(curves[2], spent=4, is_paused=False)  # it runs
    assert LADDER.next(curves) == GoOn(1, 2)
    assert LADDER.next([arm(0, 1.0), climber(1, 3.0), arm(2, 2.0)]) == Begin(1, "ladder", "sobol")


def test_where_early_rankings_mislead_new_trials_run_straight() -> None:
    misled = [arm(0, 1.0), arm(9, 1.5), climber(1, *[2.0] * 8), climber(2, *[3.0] * 8)]
    assert LADDER.next(misled) == Begin(8, "straight", "sobol")
    assert LADDER.next([*misled, *(arm(number, 1.0) for number in range(3, 8))]) == Begin(8, "straight", "tpe")
    doubted = [arm(0, 1.0), arm(9, 3.0), climber(1, *[2.0] * 8)]  # better than one of two: chance does as much
    assert LADDER.next(doubted) == Begin(8, "straight", "sobol")
    believed = [*doubted, climber(2, *[0.5] * 8), climber(3, *[1.0] * 8)]  # 4.5 of 6 pairs, since a tie counts half
    assert LADDER.next(believed) == Begin(1, "ladder", "sobol")


def test_the_default_is_no_arm() -> None:
    """Nobody can be better than a perfect default, and that says nothing about early rankings."""
    perfect = Curve(0, "given", (0.0,) * 8, 8, is_complete=True)
    assert LADDER.next([perfect, climber(1, *[2.0] * 8)]) == Begin(8, "straight", "sobol")
    assert LADDER.next([perfect, climber(1, *[2.0] * 8), arm(2, 3.0), arm(3, 4.0)]) == Begin(1, "ladder", "sobol")


def test_every_second_new_trial_begins_near_the_best_once_five_are_completed() -> None:
    curves = [arm(0, 2.0), arm(1, 3.0), *(climber(number, *[1.0] * 8) for number in (2, 3))]
    assert LADDER.next(curves) == Begin(1, "ladder", "sobol")
    curves.append(climber(4, *[1.0] * 8))
    assert LADDER.next(curves) == Begin(1, "ladder", "sobol")
    curves.append(Curve(5, "ladder", (), 1))
    assert LADDER.next(curves) == Begin(1, "ladder", "near")


def test_it_ends_where_the_budget_brings_no_trial_to_its_end() -> None:
    assert Ladder(epochs=8, budget=15).next([arm(0, 1.0)]) is None
    ladder = Ladder(epochs=8, budget=17)
    assert ladder.next([arm(0, 1.0), climber(1, *[0.5] * 2)]) == GoOn(1, 4)
    assert ladder.next([arm(0, 1.0), climber(1, *[2.0] * 2)]) == Begin(1, "ladder", "sobol")


def test_each_point_belongs_to_its_number_and_covers_every_kind_of_parameter() -> None:
    from scipy.stats import qmc

    space = {
        "a": uniform(-1, 1),
        "b": log(1e-4, 1e-1),
        "c": integer(2, 10, step=2),
        "d": choose("x", "y"),
        "e": when("d", "y", uniform(0, 1)),
    }
    points = [sobol_params(space, 3, number) for number in range(256)]
    unit = qmc.Sobol(5, rng=3).random(256)
    assert [point["a"] for point in points] == pytest.approx(2 * unit[:, 0] - 1)
    assert np.log10([point["b"] for point in points]) == pytest.approx(3 * unit[:, 1] - 4)
    counts = np.unique([point["c"] for point in points], return_counts=True)
    assert list(counts[0]) == [2, 4, 6, 8, 10]
    assert counts[1].min() >= 50
    assert all(("e" in point) == (point["d"] == "y") for point in points)
    assert points[100] == sobol_params(space, 3, 100)


def test_what_is_drawn_near_the_best_lies_in_the_space_around_it() -> None:
    space = {
        "a": uniform(-1, 1),
        "b": log(1e-4, 1e-1),
        "c": integer(2, 10, step=2),
        "d": choose("x", "y", "z"),
        "e": when("d", "y", uniform(0, 1)),
    }
    params = {"a": 0.5, "b": 1e-2, "c": 6, "d": "x"}
    inner = {name: distribution for name, distribution in space.items() if name in params}
    best, worse, paused = (
        optuna.trial.create_trial(params=params | {"a": a}, distributions=inner, **more)
        for a, more in (
            (0.5, {"value": 3.0}),
            (-0.5, {"value": 2.0}),
            (-0.9, {"state": optuna.trial.TrialState.RUNNING, "intermediate_values": {0: 9.0}}),
        )
    )
    draws = [drawn_params("near", space, 1, number, [worse, best, paused], Direction.MAXIMIZE) for number in range(500)]
    a, b = np.array([draw["a"] for draw in draws]), np.log10([draw["b"] for draw in draws])
    assert (a.mean(), a.std()) == (pytest.approx(0.5, abs=0.04), pytest.approx(0.2, abs=0.03))
    assert (b.mean(), b.std()) == (pytest.approx(-2, abs=0.05), pytest.approx(0.3, abs=0.05))
    assert a.max() <= 1
    assert {4, 6, 8} <= {draw["c"] for draw in draws} <= {2, 4, 6, 8, 10}
    assert np.mean([draw["c"] == 6 for draw in draws]) == pytest.approx(0.683, abs=0.06)  # within one deviation
    assert np.mean([draw["d"] == "x" for draw in draws]) == pytest.approx(0.6 + 0.4 / 3, abs=0.06)
    assert all(("e" in draw) == (draw["d"] == "y") for draw in draws)
    assert draws[7] == drawn_params("near", space, 1, 7, [worse, best], Direction.MAXIMIZE)


def test_tpe_sees_completed_trials_alone() -> None:
    space = {"x": uniform(0, 1)}
    complete = [
        optuna.trial.create_trial(value=abs(x - 0.2), params={"x": x}, distributions=space)
        for x in np.linspace(0, 1, 12)
    ]
    paused = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING, params={"x": 0.2}, distributions=space, intermediate_values={0: 0.0}
    )
    args = ("tpe", space, 1, 20)
    alone = drawn_params(*args, complete, Direction.MINIMIZE)
    assert drawn_params(*args, [*complete, paused], Direction.MINIMIZE) == alone


# -- a sweep ---------------------------------------------------------------------------------------------------------
EPOCHS = 4
STUDY = toy_study(
    pruning="auto",
    cheap=replace(CHEAP, epochs=EPOCHS, train=32, val=32),
    full=replace(FULL, epochs=EPOCHS),
    trials=5,
)


def run(study: StudySpec, folder: Path, **more) -> Standing:
    return sweep(study, RunFolder(folder), identity(study), device="cpu", **more)


@pytest.fixture
def tmp_path(memory_disk: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=memory_disk))


@pytest.fixture(scope="module")
def unbroken(memory_disk: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=memory_disk)) / STUDY.name
    run(STUDY, folder)
    return folder


def cost_of(trial: float) -> Cost:
    return Cost(trial, trial, trial, trial, workers=1, peak_mb=1.0)


def epochs_of(found: list[dict]) -> int:
    return sum(row["attributes"]["epochs"] for row in found)


def test_it_takes_at_most_the_epochs_of_so_many_full_length_trials(unbroken: Path) -> None:
    found = rows(unbroken, STUDY.name)
    assert (STUDY.trials - 1) * EPOCHS < epochs_of(found) <= STUDY.trials * EPOCHS
    assert len(found) > STUDY.trials
    assert {row["state"] for row in found} == {"COMPLETE", "PRUNED"}
    assert found[0]["state"] == "COMPLETE"  # the default
    assert not list(unbroken.rglob("epoch-*.pt"))
    assert read_summary(RunFolder(unbroken)).done == STUDY.trials


def test_no_trial_pauses_before_the_first_rung(tmp_path: Path) -> None:
    study = replace(STUDY, pruning=Rungs(first=2), trials=2)
    run(study, tmp_path / study.name)
    epochs = {row["attributes"]["epochs"] for row in rows(tmp_path / study.name, study.name)}
    assert epochs == {2, EPOCHS}
    assert study.as_smoke().first_rung == 1


@pytest.mark.parametrize(
    ("first", "advice"), [(1, "pruning=Rungs(first=10)"), (10, None), (4, "pruning=Rungs(first=10)")]
)
def test_preflight_says_where_pauses_cost_more_than_a_tenth(first: int, advice: str | None) -> None:
    """An epoch takes 0.1 s, and a pause as much: before the first one there must be ten of them."""
    study = toy_study(pruning=Rungs(first=first), cheap=replace(CHEAP, epochs=40), full=replace(FULL, epochs=40))
    assert [check.look_at for check in rungs_check(study, cost_of(trial=4.0))] == ([advice] if advice else [])


def test_where_a_whole_trial_is_short_preflight_advises_a_pruner() -> None:
    study = toy_study(pruning="auto", cheap=replace(CHEAP, epochs=40), full=replace(FULL, epochs=40))
    (check,) = rungs_check(study, cost_of(trial=1.0))
    assert (check.status, check.look_at) == ("caution", "pruning=Median()")
    assert rungs_check(replace(study, pruning=None), cost_of(trial=1.0)) == []


@pytest.mark.slow
def test_a_killed_sweep_ends_in_the_same_rows(unbroken: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / STUDY.name, random.Random(1)
    kills = 0
    while (code := code_of(start(lambda: run(STUDY, folder), die_at=rng.randint(20, 200)))) != 0:
        assert code == -signal.SIGKILL
        kills += 1
    assert kills >= 2
    assert rows(folder, STUDY.name) == rows(unbroken, STUDY.name)


@pytest.mark.slow
def test_two_workers_keep_to_the_budget(tmp_path: Path) -> None:
    folder = tmp_path / STUDY.name
    now = run(STUDY, folder, workers=2)
    found = rows(folder, STUDY.name)
    assert now.is_over
    assert now.unfinished == 0
    assert epochs_of(found) <= STUDY.trials * EPOCHS
    assert {row["state"] for row in found} == {"COMPLETE", "PRUNED"}


@pytest.fixture(scope="module")
def broken(memory_disk: Path) -> Path:
    """A sweep that was interrupted while trials were paused."""
    folder = Path(tempfile.mkdtemp(dir=memory_disk)) / STUDY.name

    def interrupt(summary: Summary) -> None:
        if summary.count("paused") >= 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(STUDY, folder, watch=interrupt)
    return folder


class Interrupted(Exception):
    pass


def paused(folder: Path) -> list[int]:
    stored = stored_study(RunFolder(folder), STUDY.name)
    return [trial.number for trial in stored.trials if state_of(trial) == "paused"] if stored else []


def test_a_paused_trial_is_told_from_an_orphan(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = stored_study(RunFolder(broken), STUDY.name)
    for trial in stored.trials:
        is_waiting = state_of(trial) == "paused"
        assert not (is_waiting and is_orphan(trial, ()))
        outcome = read_pause(RunFolder(broken).trial("sweep", trial.number))
        assert not is_waiting or outcome.epochs == trial.user_attrs["paused_at"]
    exported = [row.number for row in export_trials(STUDY.name, runs=broken.parent) if row.state == "paused"]
    assert exported == paused(broken)
    (status,) = statuses(broken.parent, None)
    assert status.paused == len(paused(broken)) > 0
    assert status.interrupted <= 1
    assert 0 < status.done < STUDY.trials
    assert status.done == standing(stored, STUDY.trials).done
    show_statuses([status], trials=True, every=True)
    assert "paused" in capsys.readouterr().out


def test_status_says_how_long_a_paused_trial_has_trained(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (status,) = statuses(broken.parent, None)
    waiting = [replace(row, seconds=2.5, began=0.0) for row in status.rows if row.state == "paused"]
    show_statuses([replace(status, rows=tuple(waiting[:1]))], trials=True, every=True)
    assert "2.5 s" in capsys.readouterr().out


def test_status_says_what_the_rest_of_a_ladder_takes_that_stands_still(broken: Path, tmp_path: Path) -> None:
    """Of the 20 epochs of 5 trials 15 are left, of a second each."""
    rows = (
        Row("sweep", 0, "complete", epoch=4, epochs=EPOCHS, value=1.0, seconds=4.0),
        Row("sweep", 1, "running", epoch=1, epochs=EPOCHS),
    )
    summary = replace(read_summary(RunFolder(broken)), seconds_left=None, workers=1, rows=rows)
    folder = RunFolder(tmp_path / STUDY.name)
    folder.path.mkdir()
    write_summary(folder, summary)
    assert status_of(folder).seconds_left == pytest.approx(15.0)


def test_a_paused_trial_of_an_adopted_study_is_pruned(broken: Path, tmp_path: Path) -> None:
    """Nobody can send it on there, and it has not failed."""
    hpo.adopt("theirs", str(broken / "study.db"), runs=tmp_path)
    theirs = stored_study(RunFolder(tmp_path / "theirs"), "theirs").trials
    waiting = [theirs[number] for number in paused(broken)]
    assert {state_of(trial) for trial in waiting} == {"pruned"}
    assert {trial.user_attrs["reason"] for trial in waiting} == {"it was paused when the study was adopted"}


def test_status_takes_from_the_folders_what_a_killed_sweep_has_not_summarized(broken: Path, tmp_path: Path) -> None:
    """Trials have paused since the summary was written, and one was sent on."""
    folder = RunFolder(tmp_path / STUDY.name)
    shutil.copytree(broken, folder.path)
    sent_on, *waiting = paused(folder.path)
    older = read_summary(folder)
    states = {number: "running" for number in waiting}
    rows = [replace(row, state=states.get(row.number, row.state)) for row in older.rows]
    write_summary(folder, replace(older, rows=tuple(rows)))
    asked = read_asked(folder.trial("sweep", sent_on))
    write_asked(folder.trial("sweep", sent_on), replace(asked, attributes={**asked.attributes, UNTIL: EPOCHS}))
    (status,) = statuses(tmp_path, None)
    assert waiting
    assert [row.number for row in status.rows if row.state == "paused"] == waiting
    assert status.paused == len(waiting)


def test_a_storage_that_is_rebuilt_goes_on_to_the_same_rows(broken: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / STUDY.name
    shutil.copytree(broken, folder)
    (folder / "study.db").unlink()
    before = paused(broken)
    rebuild(STUDY, RunFolder(folder), identity(STUDY))
    assert paused(folder) == before
    run(STUDY, folder)
    assert rows(folder, STUDY.name) == rows(unbroken, STUDY.name)


def test_where_the_space_is_widened_paused_trials_stay_paused_and_go_on(broken: Path, tmp_path: Path) -> None:
    folder, wider = tmp_path / STUDY.name, replace(STUDY, space=STUDY.space | {"task.shift": uniform(-2, 2)})
    shutil.copytree(broken, folder)
    before = {row["number"]: row["params"] for row in rows(folder, STUDY.name)}
    waiting = paused(folder)
    how = {"runs": tmp_path, "accept": ["space"], "backend": "inline", "device": "cpu", "force": True}
    hpo.sweep(wider, timeout=0.0, **how)  # which begins no trial, and sends none on
    assert set(waiting) <= set(paused(folder))
    run(wider, folder)
    found = rows(folder, RunFolder(folder).name_of(STUDY.name))
    assert {row["number"]: row["params"] for row in found[: len(before)]} == before
    assert {row["state"] for row in found} == {"COMPLETE", "PRUNED"}
    assert epochs_of(found) <= STUDY.trials * EPOCHS


def test_the_log_of_a_trial_that_was_not_sent_on_says_so(unbroken: Path) -> None:
    pruned = [row["number"] for row in rows(unbroken, STUDY.name) if row["state"] == "PRUNED"]
    for number in pruned:
        last = (RunFolder(unbroken).trial("sweep", number) / "output.log").read_text().splitlines()[-1]
        assert "pruned after" in last
        assert "not sent on before the sweep ended" in last


def test_a_trial_that_the_gate_was_killed_in_counts_all_its_epochs(tmp_path: Path) -> None:
    """It goes on to its end: what another worker begins meanwhile must leave it its epochs."""
    folder = RunFolder(tmp_path / STUDY.name)
    with study_lock(folder):
        begun = RandomTrials(STUDY, folder, identity(STUDY), configurations=3, device="cpu").next()
    with study_lock(folder):
        swept = SweepTrials(STUDY, folder, identity(STUDY), device="cpu")
        job = swept.next()
    assert (job.number, job.params, job.pause_at) == (begun.number, begun.params, None)
    assert [curve.spent for curve in curves_of(swept.trials(), STUDY, {0})] == [EPOCHS]


def test_after_a_time_limit_paused_trials_stay_paused(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / STUDY.name
    now = run(STUDY, folder, timeout=0.0)
    assert now.timed_out
    assert run(STUDY, folder).is_over
    assert rows(folder, STUDY.name) == rows(unbroken, STUDY.name)


def test_a_sweep_may_stop_after_the_epochs_of_fruitless_trials(tmp_path: Path) -> None:
    study = replace(STUDY, stop_after=1, trials=20)
    now = run(study, tmp_path / STUDY.name)
    assert now.is_stopped
    assert now.unfinished == 0
    assert epochs_of(rows(tmp_path / STUDY.name, STUDY.name)) < 20 * EPOCHS


@dataclass(frozen=True)
class Narrow(Toy):
    def model(self) -> nn.Module:
        if self.shift > 0.6:
            raise OSError("the disk is away")
        return super().model()


@pytest.mark.parametrize(("seed", "said"), [(0, ""), (6, "2 of 7 trials failed, more than a quarter")])
def test_the_share_of_failed_trials_is_one_of_all_that_have_ended(seed: int, said: str, tmp_path: Path) -> None:
    """Two fail, of eleven or of seven trials, which take the epochs of five full-length ones."""
    study = replace(STUDY, task=Narrow(), seed=seed)
    with pytest.raises(SweepFailed, match=said) if said else nullcontext():
        now = hpo.sweep(study, runs=tmp_path, backend="inline", device="cpu", force=True)
        assert (now.done, now.ended, now.failed) == (5, 11, 2)


def test_there_is_room_for_a_configuration_where_its_epochs_are_left(broken: Path, tmp_path: Path) -> None:
    """Three trials have begun, two of which are paused after an epoch."""
    folder, study = tmp_path / STUDY.name, replace(STUDY, trials=3)
    shutil.copytree(broken, folder)
    tries = checked_tries(study, [{"recipe.lr": 0.02}, {"recipe.lr": 0.03}])
    assert len(rows(folder, STUDY.name)) == 3
    with pytest.raises(Refused, match=r"2 configurations and the 2 trials before them .* give --trials 4 too"):
        require_room(study, RunFolder(folder), tries)
    require_room(study, RunFolder(folder), tries[:1])
    keep_tries(RunFolder(folder), tries[:1])
    run(study, folder)
    (given,) = (row for row in rows(folder, STUDY.name) if "try" in row["attributes"])
    assert (given["state"], given["params"]["recipe.lr"]) == ("COMPLETE", 0.02)
    assert epochs_of(rows(folder, STUDY.name)) <= 3 * EPOCHS


def test_a_configuration_is_tried_also_after_fruitless_trials(tmp_path: Path) -> None:
    study = replace(STUDY, stop_after=1, trials=20)
    run(study, tmp_path / STUDY.name)
    keep_tries(RunFolder(tmp_path / STUDY.name), checked_tries(study, [{"recipe.lr": 0.02}]))
    run(study, tmp_path / STUDY.name)
    last = rows(tmp_path / STUDY.name, STUDY.name)[-1]
    assert (last["state"], last["params"]["recipe.lr"]) == ("COMPLETE", 0.02)


def schedule_of(folder: Path) -> Schedule:
    """Of an hour, where a trial takes a second and a run of the promotion ten."""
    cost = cost_of(trial=1.0)
    opened = Opened("run", STUDY.name, STUDY, RunFolder(folder), {}, workers=1, on="inline", options=Options())
    return Schedule(opened, Budget(3600.0), cost, run_seconds=10.0, gate=0)


def test_a_budget_of_time_counts_full_length_trials(unbroken: Path) -> None:
    schedule, trials = schedule_of(unbroken), stored_study(RunFolder(unbroken), STUDY.name).trials
    assert len(trials) > STUDY.trials
    assert schedule.planned(trials).trials == STUDY.trials + schedule.plan.trials
    left = schedule.budget.left - schedule.budget.between - schedule.race_seconds
    assert schedule.trials_wanted(trials) == pytest.approx(STUDY.trials + left, abs=2)
    failed = optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED, user_attrs={"epochs": 0})
    more = [*trials, *[failed] * 40]  # of the ladder's budget each of them takes an epoch
    schedule = schedule_of(unbroken)
    assert schedule.planned(more).trials == STUDY.trials + 40 / EPOCHS + schedule.plan.trials
    assert schedule.trials_wanted(more) == pytest.approx(STUDY.trials + 40 / EPOCHS + left, abs=2)


def test_a_sweep_whose_promotion_has_begun_does_not_go_on(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / STUDY.name
    shutil.copytree(unbroken, folder)
    freeze(STUDY, RunFolder(folder))
    schedule = schedule_of(folder)
    study = schedule.planned(stored_study(RunFolder(folder), STUDY.name).trials)
    now = run(study, folder, wanted=schedule.trials_wanted)
    assert now.done == now.trials == STUDY.trials
    assert rows(folder, STUDY.name) == rows(unbroken, STUDY.name)


def test_it_is_part_of_the_question() -> None:
    assert identity(STUDY) != identity(replace(STUDY, pruning=None))
    assert identity(STUDY) == identity(replace(STUDY, pruning=Rungs()))
    assert identity(STUDY) != identity(replace(STUDY, pruning=Rungs(first=2)))
    with pytest.raises(ValueError, match='pruning: must be a Median, "auto", a Rungs'):
        replace(STUDY, pruning="automatic")
