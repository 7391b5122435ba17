"""A configuration that a user wants to see is checked like any other, tried first and once, and survives a kill."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo
from hpo.cli.tries import joined, parsed
from hpo.errors import Infeasible, Refused
from hpo.promotion.selection import freeze
from hpo.recipe import Recipe
from hpo.space import choose, integer, log, uniform, when
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.verbs.opening import Opened
from hpo.verbs.options import Options
from hpo.verbs.tries import require_tries
from tests.test_generations import told
from tests.toy import Toy, toy_study

STUDY = toy_study(trials=5, startup_trials=2, pruning=None)
TRY = {"recipe.lr": 0.02}


def sweep(study: StudySpec, runs: Path, *tries: dict[str, Any], **more: Any) -> Any:
    return hpo.sweep(study, runs=runs, backend="inline", device="cpu", force=True, tries=tries, **more)


def stored(runs: Path, study: StudySpec = STUDY) -> list[optuna.trial.FrozenTrial]:
    study_there = stored_study(RunFolder(runs / study.name), study.name)
    assert study_there
    return study_there.get_trials(deepcopy=False)


def params(runs: Path) -> list[dict[str, Any]]:
    return [trial.params for trial in stored(runs)]


def test_what_is_to_be_tried_comes_after_the_default_with_the_defaults_of_what_was_left_out(tmp_path: Path) -> None:
    sweep(STUDY, tmp_path, TRY, {"task.shift": 0.25, "recipe.lr": 0.05})
    assert params(tmp_path)[:3] == [
        STUDY.defaults(),
        {**STUDY.defaults(), "recipe.lr": 0.02},
        {"task.shift": 0.25, "recipe.lr": 0.05},
    ]
    assert len(params(tmp_path)) == 5, "they count in the budget"


def test_in_a_sweep_that_has_begun_it_is_the_next_trial_and_the_same_command_goes_on(tmp_path: Path) -> None:
    sweep(STUDY, tmp_path, trials=2)
    for trials in (3, 4, 5):
        sweep(STUDY, tmp_path, TRY, trials=trials)
    assert [row.get("recipe.lr") == 0.02 for row in params(tmp_path)] == [False, False, True, False, False]


def test_it_is_tried_once_whenever_the_sweep_is_killed_and_its_storage_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(STUDY, trials=3)
    sweep(short, tmp_path / "whole", TRY)
    for step in ("write_asked", "conclude"):  # of the trial that has it
        runs = tmp_path / step
        with monkeypatch.context() as patched:
            patched.setattr(f"hpo.trial.ask_tell.{step}", _Killed(f"hpo.trial.ask_tell.{step}", call=2))
            with pytest.raises(KeyboardInterrupt):
                sweep(short, runs, TRY)
        hpo.rebuild(short, runs=runs)
        sweep(short, runs)
        assert [told(trial) for trial in stored(runs)] == [told(trial) for trial in stored(tmp_path / "whole")]


class _Killed:
    """Is interrupted at the call of this number."""

    def __init__(self, place: str, call: int) -> None:
        module, _, name = place.rpartition(".")
        self.function, self.left = getattr(__import__(module, fromlist=[name]), name), call

    def __call__(self, *args: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.function(*args)


# -- refused ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Picky(Toy):
    width: int = 8
    mode: str = "plain"
    pull_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.mode == "wild" and self.width < 16:
            raise Infeasible("wild needs a width of 16")


PICKY = replace(
    STUDY,
    task=Picky(),
    recipe=Recipe(lr=0.01),
    space={
        "recipe.lr": log(1e-3, 1e-1),
        "task.width": integer(8, 32, step=8),
        "task.mode": choose("plain", "wild"),
        "task.pull_rate": when("task.mode", "wild", uniform(0, 1)),
    },
)
REFUSED = {
    "unknown hyperparameter 'recipe.lrr'; did you mean 'recipe.lr'?": {"recipe.lrr": 0.1},
    "task.shift is not searched; the space has recipe.lr, task.width, task.mode, task.pull_rate": {"task.shift": 0.1},
    "recipe.lr must lie in log(0.001, 0.1); got 0.5": {"recipe.lr": 0.5},
    "recipe.lr must lie in log(0.001, 0.1); got 'fast'": {"recipe.lr": "fast"},
    "recipe.lr must lie in log(0.001, 0.1); got True": {"recipe.lr": True},
    "task.width must lie in integer(8, 32, step=8); got 12": {"task.width": 12},
    "task.width must lie in integer(8, 32, step=8); got 16.0": {"task.width": 16.0},
    "task.mode must lie in choose('plain', 'wild'); got 'tame'": {"task.mode": "tame"},
    "task.pull_rate is searched only where task.mode = 'wild'; give that value too": {"task.pull_rate": 0.5},
    "cannot be trained: wild needs a width of 16": {"task.mode": "wild"},
    "must differ from the default configuration, which is trial 0": {"recipe.lr": 0.01},
    "must be NAME=VALUE, once or more often; got {}": {},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_tried_is_refused_before_anything_is_written(message: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as error:
        sweep(PICKY, tmp_path, {"recipe.lr": 0.02}, REFUSED[message])
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_where_the_budget_is_used_up_it_is_refused_with_the_one_that_is_needed(tmp_path: Path) -> None:
    sweep(STUDY, tmp_path)
    files = sorted(tmp_path.rglob("*"))
    with pytest.raises(Refused, match=r"2 configurations and the 5 trials before them .*; give --trials 7 too"):
        sweep(STUDY, tmp_path, TRY, {"task.shift": 0.5})
    assert sorted(tmp_path.rglob("*")) == files
    assert sweep(STUDY, tmp_path, TRY, {"task.shift": 0.5}, trials=7).done == 7
    assert sweep(STUDY, tmp_path, TRY, {"task.shift": 0.5}, trials=7).done == 7, "the same command again"


def test_with_a_budget_of_time_no_number_of_trials_is_too_small(tmp_path: Path) -> None:
    study, folder = replace(STUDY, trials=1), RunFolder(tmp_path / STUDY.name)
    opened = Opened("run", study.name, study, folder, {}, workers=1, on="inline", options=Options(tries=(TRY,)))
    assert len(require_tries(replace(opened, options=replace(opened.options, budget="1h")))) == 1
    opened = replace(opened, study=replace(study, budget="1h"))
    assert len(require_tries(opened)) == 1
    with pytest.raises(Refused, match="give --trials 2 too"):
        require_tries(replace(opened, verb="sweep"))


def test_with_a_budget_of_time_it_is_refused_once_the_promotion_is_under_way(tmp_path: Path) -> None:
    """The sweep is over then. What it has tried is no obstacle: the same command goes on with the promotion."""
    sweep(STUDY, tmp_path, TRY)
    folder = RunFolder(tmp_path / STUDY.name)
    freeze(STUDY, folder)
    written = sorted(folder.path.rglob("*"))
    with pytest.raises(Refused, match="promotion of toy is under way, so its sweep is over, and 1 configuration"):
        hpo.run(STUDY, runs=tmp_path, backend="inline", device="cpu", budget="1h", tries=({"recipe.lr": 0.03},))
    assert sorted(folder.path.rglob("*")) == written
    options = Options(runs=tmp_path, device="cpu", backend="inline", budget="1h", tries=(TRY,))
    opened = Opened("run", STUDY.name, STUDY, folder, identity={}, workers=1, on="inline", options=options)
    assert len(require_tries(opened)) == 1


def test_one_that_no_longer_lies_in_the_space_is_left_out(tmp_path: Path) -> None:
    sweep(STUDY, tmp_path, TRY, {"task.shift": 0.9}, trials=3)
    shutil.rmtree(tmp_path / "toy" / "sweep")
    (tmp_path / "toy" / "study.db").unlink()  # as if it had been killed before the first trial
    narrower = replace(STUDY, space={**STUDY.space, "task.shift": uniform(-0.5, 0.5)})
    sweep(narrower, tmp_path)
    assert [row["recipe.lr"] for row in params(tmp_path)].count(0.02) == 1
    assert all(abs(row["task.shift"]) <= 0.5 for row in params(tmp_path))


# -- the command line ------------------------------------------------------------------------------------------------
def test_several_values_may_follow_one_option_and_quotes_make_a_text() -> None:
    words = ["sweep", "--try", "recipe.lr=0.02", "task.width=16", "toy.py", "--try", "task.mode=wild", "--trials", "3"]
    whole = ["sweep", "--try", "recipe.lr=0.02 task.width=16", "toy.py", "--try", "task.mode=wild", "--trials", "3"]
    assert joined(words) == whole
    assert parsed(["recipe.lr=1e-3 task.width=16", "task.on=True"]) == [
        {"recipe.lr": 0.001, "task.width": 16},
        {"task.on": True},
    ]
    assert parsed(joined(["--try", "task.name='16'", "task.mode=two words"])[1:]) == [
        {"task.name": "16", "task.mode": "two words"}
    ]
    with pytest.raises(Refused, match=r"--try: must be NAME=VALUE, as recipe\.lr=0\.02; got 'lr'"):
        parsed(["lr"])
