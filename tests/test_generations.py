"""A study that is changed while it runs goes on, with every trial that still fits."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo
from hpo.errors import Refused
from hpo.space import choose, integer, uniform, when
from hpo.storage.database import open_storage, stored_study
from hpo.storage.folder import RunFolder, promotion_name
from hpo.study import StudySpec
from hpo.trial.carry import fit_params, misfit
from hpo.trial.changes import read_changes
from hpo.trial.record import read_asked
from tests.toy import Toy, toy_study

SPACE = toy_study().space
WIDER = {**SPACE, "task.shift": uniform(-2, 2)}


def sweep(study: StudySpec, runs: Path, *accept: str, **more: Any) -> Any:
    return hpo.sweep(study, runs=runs, backend="inline", device="cpu", force=True, accept=accept, **more)


def study_of(**changes: Any) -> StudySpec:
    return toy_study(pruning=None, trials=6, **changes)


def trials(folder: RunFolder, generation: int | None = None) -> list[optuna.trial.FrozenTrial]:
    stored = stored_study(folder, "toy", generation)
    assert stored
    return stored.get_trials(deepcopy=False)


def told(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    return trial.number, trial.state, trial.value, trial.params, trial.intermediate_values


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("swept")
    sweep(study_of(), runs)
    return runs


@pytest.fixture
def runs(swept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(swept, tmp_path / "runs"))


# -- which trials fit ------------------------------------------------------------------------------------------------
FITS = {
    "the same space": (SPACE, {"recipe.lr": 0.1, "task.shift": 0.5}, {"recipe.lr": 0.1, "task.shift": 0.5}),
    "a wider range": (WIDER, {"recipe.lr": 0.1, "task.shift": 0.5}, {"recipe.lr": 0.1, "task.shift": 0.5}),
    "a new parameter is at its default": (
        {**SPACE, "task.pull": uniform(0, 1)},
        {"recipe.lr": 0.1, "task.shift": 0.5},
        {"recipe.lr": 0.1, "task.shift": 0.5, "task.pull": 0.0},
    ),
    "a removed parameter was at its default": (
        {"recipe.lr": SPACE["recipe.lr"]},
        {"recipe.lr": 0.1, "task.shift": 0.0},
        {"recipe.lr": 0.1},
    ),
    "a new condition does not hold": (
        {"recipe.batch_size": choose(16, 32), "task.shift": when("recipe.batch_size", 32, uniform(-1, 1))},
        {"recipe.batch_size": 16, "task.shift": 0.0},
        {"recipe.batch_size": 16},
    ),
}
MISFITS = {
    "outside a narrower range": (
        {**SPACE, "task.shift": uniform(-0.1, 0.1)},
        {"recipe.lr": 0.1, "task.shift": 0.5},
        "task.shift = 0.5",
    ),
    "a choice that is gone": ({"recipe.batch_size": choose(16, 32)}, {"recipe.batch_size": 8}, "recipe.batch_size = 8"),
    "between the steps": (
        {"recipe.batch_size": integer(8, 24, step=8)},
        {"recipe.batch_size": 12},
        "recipe.batch_size = 12",
    ),
    "a removed parameter was elsewhere": (
        {"recipe.lr": SPACE["recipe.lr"]},
        {"recipe.lr": 0.1, "task.shift": 0.5},
        "task.shift = 0.5, which is not the default",
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_a_trial_fits_where_the_new_space_could_have_drawn_it(case: str) -> None:
    space, params, carried = FITS[case]
    study = toy_study(space=space)
    assert misfit(study, params) == ""
    assert fit_params(study, params) == carried


@pytest.mark.parametrize("case", MISFITS)
def test_a_trial_does_not_fit_where_it_could_not(case: str) -> None:
    space, params, why = MISFITS[case]
    assert misfit(toy_study(space=space), params) == why


# -- accepted --------------------------------------------------------------------------------------------------------
def test_a_changed_space_is_asked_about_once_and_every_trial_goes_on(runs: Path) -> None:
    folder = RunFolder(runs / "toy")
    before, files = trials(folder), sorted(folder.path.rglob("*"))
    with pytest.raises(Refused) as error:
        sweep(study_of(space=WIDER), runs)
    said = str(error.value)
    assert "  space: task.shift has a wider range: uniform(-1.0, 1.0) there, uniform(-2.0, 2.0) now" in said
    assert f"hpo sweep toy --runs {runs} --accept space" in said
    assert "6 trials carried over, with their numbers, curves and folders; none is set aside" in said
    assert sorted(folder.path.rglob("*")) == files, "a question changes nothing"

    wider = replace(study_of(space=WIDER), trials=8)
    assert sweep(wider, runs, "space").done == 8
    assert [told(trial) for trial in trials(folder)[:6]] == [told(trial) for trial in before]
    assert [told(trial) for trial in trials(folder, 1)] == [told(trial) for trial in before], "the old one is kept"
    assert trials(folder)[0].distributions["task.shift"] == WIDER["task.shift"]
    assert folder.name_of("toy") == "toy@2"
    assert sweep(replace(wider, trials=9), runs).done == 9, "asked once"
    (status,) = hpo.status("toy", runs=runs)
    assert (status.done, status.trials) == (9, 9)


def test_what_does_not_fit_is_set_aside_and_its_number_is_asked_again(runs: Path) -> None:
    folder = RunFolder(runs / "toy")
    before = trials(folder)
    limit = sorted(abs(trial.params["task.shift"]) for trial in before)[3]
    narrower = study_of(space={**SPACE, "task.shift": uniform(-limit, limit)})
    outside = [trial.number for trial in before if abs(trial.params["task.shift"]) > limit]
    assert len(outside) == 2
    with pytest.raises(Refused, match=rf"4 trials carried over.*set aside: trial {outside[0]} \(task.shift = "):
        sweep(narrower, runs)
    assert sweep(narrower, runs, "space").done == 6
    after = trials(folder)
    for old, new in zip(before, after, strict=True):
        aside = read_asked(folder.path / "set-aside" / "1" / "sweep" / f"{old.number:04d}")
        if old.number in outside:
            assert aside
            assert aside.params == old.params
            assert abs(new.params["task.shift"]) <= limit
        else:
            assert aside is None
            assert told(new) == told(old)


def test_a_parameter_that_is_added_and_one_that_is_removed(runs: Path) -> None:
    added = study_of(space={**SPACE, "task.pull": uniform(0, 1)})
    sweep(added, runs, "space")
    folder = RunFolder(runs / "toy")
    assert all(trial.params["task.pull"] == 0.0 for trial in trials(folder))
    assert sweep(replace(added, trials=8), runs).done == 8
    with pytest.raises(Refused, match=r"set aside: trial 6 .*trial 7"):
        sweep(study_of(), runs)
    assert sweep(study_of(), runs, "space").done == 6, "two were set aside"
    assert folder.name_of("toy") == "toy@3"


def test_a_storage_of_a_later_generation_is_rebuilt_from_the_folders(runs: Path) -> None:
    folder = RunFolder(runs / "toy")
    wider = replace(study_of(space=WIDER), trials=7)
    sweep(wider, runs, "space")
    before = [told(trial) for trial in trials(folder)]
    folder.database.unlink()
    assert hpo.rebuild(wider, runs=runs).trials == 7
    assert [told(trial) for trial in trials(folder)] == before
    assert sweep(replace(wider, trials=8), runs).done == 8
    with pytest.raises(Refused, match="the study has another space than the trials that were accepted"):
        hpo.rebuild(study_of(), runs=runs)


def test_other_things_cannot_be_accepted(runs: Path) -> None:
    with pytest.raises(Refused, match=r"exists with other task:\n  task: task.pull was 0.0 there, and is 0.5 now"):
        sweep(study_of(task=Toy(pull=0.5)), runs, "space", "code")
    with pytest.raises(Refused, match="--accept: must be code or space; got 'data'"):
        sweep(study_of(), runs, "data")


@pytest.mark.slow
def test_a_change_that_was_interrupted_is_finished_by_the_next_command(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the change is written down, killed at each step of the making of the new storage."""
    folder = RunFolder(runs / "toy")
    before = [told(trial) for trial in trials(folder)]
    wider = study_of(space=WIDER)
    steps = _steps_of_making(wider, Path(shutil.copytree(runs, runs.with_name("counted"))), monkeypatch)
    for step in range(steps):
        copy = Path(shutil.copytree(runs, runs.with_name(f"killed-{step}")))
        with monkeypatch.context() as patched:
            patched.setattr("hpo.trial.restore.add_running_trial", _Killed(step))
            with pytest.raises(KeyboardInterrupt):
                sweep(wider, copy, "space")
        assert sweep(wider, copy).done == 6
        assert [told(trial) for trial in trials(RunFolder(copy / "toy"))] == before


@pytest.mark.parametrize("step", ["move_aside", "make_generation"])
def test_a_change_that_was_interrupted_may_be_undone(step: str, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(runs / "toy")
    before = [told(trial) for trial in trials(folder)]
    narrower = study_of(space={**SPACE, "task.shift": uniform(-0.01, 0.01)})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"hpo.trial.generations.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep(narrower, runs, "space")
    with pytest.raises(Refused, match="has a wider range"):
        sweep(study_of(), runs)
    assert sweep(study_of(), runs, "space").done == 6
    fitting = [trial for trial in before if abs(trial[3]["task.shift"]) <= 0.01]
    assert fitting == [told(trial) for trial in trials(folder) if abs(trial.params["task.shift"]) <= 0.01]


class _Killed:
    """Adds so many trials to the storage, and is then interrupted."""

    def __init__(self, after: int) -> None:
        from hpo.storage.optuna_private import add_running_trial

        self.add, self.left, self.calls = add_running_trial, after, 0

    def __call__(self, *args: Any) -> optuna.Trial:
        self.calls += 1
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.add(*args)


def _steps_of_making(study: StudySpec, runs: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patched:
        counted = _Killed(after=-1)
        patched.setattr("hpo.trial.restore.add_running_trial", counted)
        sweep(study, runs, "space")
    return counted.calls


# -- code, range and folder ------------------------------------------------------------------------------------------
FILES = {
    "disc.py": "from dataclasses import dataclass, replace\nfrom net import SLOPE\nfrom hpo import uniform\n"
    "from tests import toy\n\n@dataclass(frozen=True)\nclass Disc(toy.Toy):\n    def loss(self, model, batch, at):\n"
    "        return {name: SLOPE * term for name, term in super().loss(model, batch, at).items()}\n\n"
    "study = replace(toy.study, name='disc', task=Disc(), trials=10, pruning=None,\n"
    "                space=toy.study.space | {'task.shift': uniform(-1, 1)})\n",
    "net.py": "SLOPE = 1.0\n",
}


@pytest.fixture
def disc(tmp_path: Path) -> Iterator[Path]:
    """A study file, its module beside it."""
    for name, source in FILES.items():
        (tmp_path / name).write_text(source)
    yield tmp_path / "disc.py"
    forget(tmp_path)


def forget(folder: Path) -> None:
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def edit(path: Path, changes: Mapping[str, str]) -> None:
    source = path.read_text()
    for old, new in changes.items():
        assert source.count(old) == 1
        source = source.replace(old, new)
    path.write_text(source)
    forget(path.parent)


@pytest.mark.slow
def test_a_sweep_whose_range_was_widened_whose_code_was_mended_and_whose_folder_was_moved_has_all_trials(
    disc: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    sweep(disc, runs)
    first = [told(trial) for trial in stored_study(RunFolder(runs / "disc"), "disc").get_trials()]

    edit(disc, {"uniform(-1, 1)": "uniform(-2, 2)", "trials=10": "trials=20"})
    assert sweep(disc, runs, "space").done == 20

    edit(disc.with_name("net.py"), {"1.0": "1.5"})
    edit(disc, {"trials=20": "trials=30"})
    with pytest.raises(Refused) as error:
        sweep(disc, runs)
    assert "  code: net.py: constant SLOPE changed" in str(error.value)
    moved = tmp_path / "elsewhere"
    shutil.move(runs, moved)
    assert sweep(disc, moved, "code").done == 30

    folder = RunFolder(moved / "disc")
    swept = stored_study(folder, "disc").get_trials()
    assert [trial.number for trial in swept] == list(range(30))
    assert [told(trial) for trial in swept[:10]] == first
    codes = [read_asked(folder.trial("sweep", number)).identity["code"] for number in range(30)]
    assert len(set(codes[:20])) == len(set(codes[20:])) == 1
    assert codes[0] != codes[20], "each trial's lineage says with which code it ran"
    assert [change.parts for change in read_changes(folder)] == [("space",), ("code",)]

    verdict = hpo.promote(disc, runs=moved, backend="inline", device="cpu", keep=1, seeds=2)
    (check,) = [check for check in verdict.checks if check.name == "one code"]
    assert check.status == "caution"
    assert "20 trials ran before this was accepted: code: net.py: constant SLOPE changed" in check.seen
    page = hpo.report(disc, runs=moved).read_text()
    assert "10 trials ran before this was accepted: space: task.shift has a wider range" in page
    assert "20 trials ran before this was accepted: code: net.py: constant SLOPE changed" in page


def test_a_promotion_of_other_code_is_kept_aside_and_made_anew(disc: Path, tmp_path: Path) -> None:
    runs, folder = tmp_path / "runs", RunFolder(tmp_path / "runs" / "disc")
    sweep(disc, runs, trials=2)
    promote = {"runs": runs, "backend": "inline", "device": "cpu", "keep": 1, "seeds": 2}
    before = hpo.promote(disc, **promote)
    edit(disc.with_name("net.py"), {"1.0": "1.5"})
    with pytest.raises(Refused, match="the promotion that is there is kept in set-aside/; nothing is destroyed"):
        sweep(disc, runs, trials=2)
    sweep(disc, runs, "code", trials=2)
    assert {path.name for path in (folder.path / "set-aside" / "1").iterdir()} >= {
        "promotion",
        "verdict.json",
        "winner",
    }
    assert not folder.verdict.exists()
    after = hpo.promote(disc, **promote)
    assert after.results[0].scores != before.results[0].scores
    assert stored_study(folder, promotion_name("disc"))
    assert len(open_storage(folder.storage).get_all_studies()) == 4


def test_unfinished_trials_do_not_go_on_with_other_code(disc: Path, tmp_path: Path) -> None:
    runs, folder = tmp_path / "runs", RunFolder(tmp_path / "runs" / "disc")
    sweep(disc, runs, trials=3)
    (folder.trial("sweep", 1) / "result.json").unlink()
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
        connection.execute("DELETE FROM trial_values WHERE trial_id = 2")
        connection.commit()
    edit(disc.with_name("net.py"), {"1.0": "1.5"})
    with pytest.raises(Refused, match=r"set aside: trial 1 \(it was interrupted, and would go on with other code\)"):
        sweep(disc, runs, trials=3)
    assert sweep(disc, runs, "code", trials=3).done == 3


def test_paused_trials_do_not_go_on_with_other_code(disc: Path, tmp_path: Path) -> None:
    runs, folder = tmp_path / "runs", RunFolder(tmp_path / "runs" / "disc")
    edit(disc, {"pruning=None": "pruning='auto'"})
    sweep(disc, runs, trials=3)
    swept = stored_study(folder, "disc").get_trials()
    number = next(trial.number for trial in swept if trial.state is optuna.trial.TrialState.PRUNED)
    (folder.trial("sweep", number) / "result.json").unlink()
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.execute(f"UPDATE trials SET state = 'RUNNING' WHERE number = {number}")
        connection.commit()
    edit(disc.with_name("net.py"), {"1.0": "1.5"})
    with pytest.raises(Refused, match=rf"set aside: trial {number} \(it was paused, and would go on with other code\)"):
        sweep(disc, runs, trials=3)
    assert sweep(disc, runs, "code", trials=3).done == 3


def test_what_was_set_aside_is_moved_once_even_where_it_was_removed_since(runs: Path) -> None:
    """Its name is that of a new trial by then, which a rebuilding must leave where it is."""
    folder, narrower = RunFolder(runs / "toy"), study_of(space={**SPACE, "task.shift": uniform(0, 0.3)})
    sweep(narrower, runs, "space")
    shutil.rmtree(folder.path / "set-aside")
    before = [told(trial) for trial in trials(folder)]
    hpo.rebuild(narrower, runs=runs)
    assert [told(trial) for trial in trials(folder)] == before
    assert len(folder.numbers("sweep")) == 6
