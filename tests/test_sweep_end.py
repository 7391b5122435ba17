"""How a sweep ends: its trials are done, so many in a row were no better, or its time is up; and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

import hpo
from hpo.cli.main import app
from hpo.direction import Direction
from hpo.errors import ExitCode, StoppedEarly
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.trial.lifecycle import fruitless
from tests.test_generations import forget, told
from tests.toy import toy_study

STUDY = toy_study(trials=12, startup_trials=6, pruning=None)


def sweep(study: StudySpec, runs: Path, **more: Any) -> Any:
    return hpo.sweep(study, runs=runs, backend="inline", device="cpu", force=True, **more)


def stored(runs: Path) -> list[optuna.trial.FrozenTrial]:
    study_there = stored_study(RunFolder(runs / "toy"), "toy")
    assert study_there
    return study_there.get_trials(deepcopy=False)


def trial(number: int, state: TrialState, value: float | None = None, **attributes: Any) -> optuna.trial.FrozenTrial:
    made = optuna.trial.create_trial(state=state, value=value)
    made.number = number
    return made


# -- so many in a row that were no better ----------------------------------------------------------------------------
def test_trials_are_counted_after_the_best_by_their_numbers_and_failed_ones_are_passed_over() -> None:
    complete, pruned, failed = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    trials = [trial(0, complete, 2.0), trial(1, complete, 1.0), trial(2, pruned), trial(3, failed)]
    assert fruitless(trials[:1], Direction.MINIMIZE) == 0
    assert fruitless(trials, Direction.MINIMIZE) == 1
    assert fruitless(trials, Direction.MAXIMIZE) == 2
    assert fruitless([*trials, trial(4, complete, 1.0)], Direction.MINIMIZE) == 2, "an equal one is no better"
    assert fruitless([*trials, trial(4, complete, 0.5)], Direction.MINIMIZE) == 0
    assert fruitless(trials[2:], Direction.MINIMIZE) == 0, "before any is complete nothing is concluded"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("whole")
    sweep(STUDY, runs)
    return runs


def test_a_sweep_ends_after_so_many_in_a_row_that_were_no_better_also_after_a_resume(
    whole: Path, tmp_path: Path
) -> None:
    values = [row.value for row in stored(whole)]
    limit = 3
    bests = [min(range(end), key=lambda number: values[number]) for end in range(1, len(values) + 1)]
    end = next(end for end, best in enumerate(bests, start=1) if end - 1 - best == limit)
    assert end < len(values), "or nothing is shown here"

    study = replace(STUDY, stop_after=limit)
    for trials in (1, end - 1, 12, 12):  # a sweep that is stopped and resumed ends at the same trial
        standing = sweep(replace(study, trials=trials), tmp_path)
    assert [told(row) for row in stored(tmp_path)] == [told(row) for row in stored(whole)[:end]]
    assert (standing.done, standing.trials, standing.is_over) == (end, 12, True)
    assert standing.end == "ended after 3 in a row that were no better"

    (status,) = hpo.status("toy", runs=tmp_path)
    assert (status.done, status.trials, status.ended, status.seconds_left) == (end, 12, standing.end, 0.0)
    page = hpo.report(study, runs=tmp_path).read_text()
    assert standing.end in page
    assert "The sweep has" not in page, "it is not unfinished"
    assert f"{end}/12, ended" in CliRunner().invoke(app, ["status", "--runs", str(tmp_path)]).stdout

    assert sweep(STUDY, tmp_path).done == 12, "without the limit it goes on"
    assert [told(row) for row in stored(tmp_path)] == [told(row) for row in stored(whole)]


def test_what_somebody_wants_to_see_is_tried_although_the_sweep_has_ended(tmp_path: Path) -> None:
    study = replace(STUDY, stop_after=1)
    before = sweep(study, tmp_path)
    assert before.is_stopped
    sweep(study, tmp_path, tries=[{"recipe.lr": 0.02}])
    assert stored(tmp_path)[before.done].params["recipe.lr"] == 0.02


def test_the_limit_is_no_part_of_what_the_study_asks(whole: Path) -> None:
    assert sweep(replace(STUDY, stop_after=100), whole).done == 12
    with pytest.raises(ValueError, match="stop_after: must be a whole number of at least 1; got 0"):
        replace(STUDY, stop_after=0)


# -- time is up ------------------------------------------------------------------------------------------------------
@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "toy.py").write_text("from tests.test_sweep_end import STUDY as study\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget(tmp_path)


def test_a_sweep_that_the_time_limit_ends_early_says_so_and_goes_on(home: Path) -> None:
    words = ["sweep", "toy.py", "--force", "--backend", "inline", "--trials", "2"]
    early = CliRunner().invoke(app, [*words, "--timeout", "0"])
    assert early.exit_code == ExitCode.TRY_AGAIN
    assert "0 of 2 trials" in early.stdout
    assert "--timeout has ended the sweep before its trials were done; the same command goes on" in early.stderr
    done = CliRunner().invoke(app, [*words, "--timeout", "1000"])
    assert (done.exit_code, "2 of 2 trials" in done.stdout) == (0, True)
    again = CliRunner().invoke(app, [*words, "--timeout", "0"])
    assert again.exit_code == 0, "nothing was left to do"


def test_a_run_does_not_promote_what_was_not_searched_through_without_saying_so(home: Path) -> None:
    with pytest.raises(StoppedEarly) as error:
        hpo.run("toy.py", smoke=True, backend="inline", device="cpu", force=True, trials=2, timeout=0)
    assert str(error.value) == (
        "--timeout has ended the sweep of toy-smoke after 0 of 2 trials, so nothing is promoted yet; the same command "
        "goes on, and this one promotes what there is: hpo promote toy.py --smoke"
    )
    assert error.value.exit_code == ExitCode.TRY_AGAIN


# -- fewer trials than have run --------------------------------------------------------------------------------------
def test_where_fewer_trials_are_asked_for_than_have_run_all_of_those_are_done(home: Path) -> None:
    sweep("toy.py", home / "runs", trials=4)
    said = CliRunner().invoke(app, ["sweep", "toy.py", "--force", "--backend", "inline", "--trials", "2"])
    assert "2 of 2 trials (4 in all): 4 complete" in said.stdout
    assert " 2/2 " in CliRunner().invoke(app, ["status"]).stdout
    assert "4 in all: 4 complete" in hpo.report("toy.py").read_text()
