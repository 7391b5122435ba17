"""`hpo next` writes the study that follows from a sweep; one with `warm` begins with the best of an earlier study."""

from __future__ import annotations

import math
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo
from hpo.errors import Refused
from hpo.page.collect_sweep import collect_sweep
from hpo.page.next_range import Range
from hpo.page.next_space import NextSpace, next_space
from hpo.recipe import Recipe
from hpo.space import choose, integer, log, suggest, uniform, when
from hpo.storage.database import open_storage, stored_study
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.trial.provenance import identity
from tests import test_cli
from tests.sweeper import Request, Sweeper, rows, sweeper
from tests.test_cli import FRESH, files, home, refused
from tests.toy import CHEAP, toy_study

__all__ = ["home"]


# -- what is decided -------------------------------------------------------------------------------------------------
def after(study: StudySpec, value: Callable[[dict[str, Any]], float], trials: int = 32) -> NextSpace:
    """What follows from a sweep of that many random trials with a known value each."""
    sweep = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction=study.direction.value)
    sweep.optimize(lambda trial: value(suggest(trial, study.space)), n_trials=trials)
    return next_space(study, collect_sweep(study, sweep))


def test_a_study_of_which_everything_is_left_is_not_made_again() -> None:
    study = toy_study(space={"task.shift": uniform(-1, 1)})
    assert after(study, lambda _: 0.0).study is study  # a space of 120 is checked in 60 ms, and 120 times for nothing


def reason(result: NextSpace, name: str) -> str:
    return next(decision.reason for decision in result.decisions if decision.name == name)


def test_a_range_whose_best_trials_crowd_at_an_edge_is_widened_beyond_the_optimum() -> None:
    result = after(toy_study(space={"task.shift": uniform(-1, 1)}), lambda drawn: (drawn["task.shift"] - 1.5) ** 2)
    assert 1.5 < result.study.space["task.shift"].high == 2.0
    assert result.study.space["task.shift"].low == 0.0, "the default"
    assert "widened at its upper edge" in reason(result, "task.shift")
    rate = after(toy_study(space={"recipe.lr": log(1e-3, 0.1)}), lambda drawn: abs(math.log(drawn["recipe.lr"] / 2e-4)))
    assert rate.study.space["recipe.lr"].low == 1e-4
    assert "widened at its lower edge" in reason(rate, "recipe.lr")


def test_what_is_good_inside_a_range_is_narrowed_to_and_the_default_stays_in() -> None:
    result = after(toy_study(space={"task.shift": uniform(-1, 1)}), lambda drawn: abs(drawn["task.shift"] - 0.3))
    shift = result.study.space["task.shift"]
    assert -0.5 < shift.low <= 0.0 <= 0.3 < shift.high < 0.9
    result = after(toy_study(space={"task.pull": uniform(0, 8)}), lambda drawn: abs(drawn["task.pull"] - 5))
    pull = result.study.space["task.pull"]
    assert pull.low == 0.0, "the default"
    assert 5 < pull.high < 7.5


def test_what_the_trials_do_not_tell_from_chance_is_left() -> None:
    study = toy_study(space={"task.shift": uniform(-1, 1)})
    result = after(study, lambda drawn: math.sin(1000 * drawn["task.shift"]), trials=80)
    assert result.study.space == study.space
    assert reason(result, "task.shift") == "left: the trials do not tell it from chance"


def test_what_does_not_separate_beside_a_driver_is_neither_narrowed_nor_loses_a_choice() -> None:
    space = {"task.shift": uniform(-1, 1), "task.pull": uniform(0, 1), "recipe.batch_size": choose(8, 16, 32, 64)}
    result = after(toy_study(space=space), lambda drawn: drawn["task.shift"], trials=30)
    assert result.study.space["task.shift"].high < 1
    assert result.study.space["recipe.batch_size"] == space["recipe.batch_size"]
    pull = result.study.space["task.pull"]
    assert (pull.low, pull.high) == (0, 1)


NATURAL = {
    "a share at 0": ("task.dropout", uniform(0, 0.5), 0, "low"),
    "a share at 1": ("task.dropout", uniform(0, 1), 1, "high"),
    "a count at 1": ("recipe.batch_size", integer(1, 32), 1, "low"),
    "what was never negative": ("task.pull", uniform(0, 7), 0, "low"),
    "a factor at 1, by logarithm": ("recipe.drop_every", log(0.01, 1), 1, "high"),
    "what the recipe refuses beyond": ("recipe.ema", uniform(0, 0.99), 1, "high"),
}


@pytest.mark.parametrize("case", NATURAL)
def test_a_natural_edge_is_not_passed(case: str) -> None:
    name, entry, best, edge = NATURAL[case]
    study = toy_study(recipe=Recipe(lr=0.1, batch_size=16, schedule="step"), space={name: entry})
    result = after(study, lambda drawn: abs(drawn[name] - best))
    assert getattr(result.study.space[name], edge) == getattr(entry, edge)
    assert "a natural one" in reason(result, name)


def test_a_share_is_widened_to_1_at_most_and_a_count_to_1() -> None:
    study = toy_study(space={"task.dropout": uniform(0, 0.9), "recipe.batch_size": integer(4, 32, step=2)})
    result = after(study, lambda drawn: -100 * drawn["task.dropout"] + drawn["recipe.batch_size"], trials=200)
    assert result.study.space["task.dropout"].high == 1.0
    assert Range(study.space["recipe.batch_size"]).around([4, 4, 6], ("low",)) == (2, 10)


def test_what_does_not_matter_is_fixed_at_its_best_value_only_where_there_are_trials_enough() -> None:
    study = toy_study(space={"task.shift": uniform(-1, 1), "task.pull": uniform(0, 1), "recipe.ema": uniform(0, 0.9)})
    drawn_values = []

    def value(drawn: dict[str, Any]) -> float:
        drawn_values.append((abs(drawn["task.shift"] - 0.5), drawn["task.pull"]))
        return drawn_values[-1][0]

    result = after(study, value, trials=80)
    assert "task.pull" not in result.study.space
    assert "task.shift" in result.study.space
    assert result.study.task.pull == min(drawn_values)[1]
    assert "does not matter" in reason(result, "task.pull")
    few = after(study, value, trials=30)
    assert set(few.study.space) == set(study.space)


def test_a_choice_that_was_tried_and_is_not_among_the_best_goes_unless_something_needs_it() -> None:
    space = {
        "recipe.batch_size": choose(8, 16, 32, 64),
        "task.shift": when("recipe.batch_size", 64, uniform(-1, 1)),
        "task.pull": when("recipe.batch_size", 32, uniform(0, 1)),
    }
    result = after(toy_study(space=space), lambda drawn: abs(drawn["recipe.batch_size"] - 32), trials=40)
    assert result.study.space["recipe.batch_size"] == choose(16, 32, 64), "without 8; 16 is the default, 64 a condition"
    assert reason(result, "task.shift") == "left: only 0 of the best 10 trials have it"
    alone = after(toy_study(space={"recipe.batch_size": choose(8, 16, 32)}), lambda drawn: drawn["recipe.batch_size"])
    assert alone.study.space["recipe.batch_size"] == choose(8, 16)


# -- the range, in closed form ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("distribution", "best", "ends"),
    [
        pytest.param(uniform(-1, 1), [0.9, 1.0], (0.7, 2.0), id="half of the width more"),
        pytest.param(log(1e-3, 0.1), [0.09, 0.1], (0.056, 1.0), id="half of the width more, by logarithm"),
        pytest.param(log(1e-6, 0.1), [0.05, 0.1], (0.015, 1.0), id="tenfold at most"),
        pytest.param(integer(2, 10, step=2), [10, 10], (8, 14), id="on the grid"),
        pytest.param(uniform(-1000.5, 1000.5), [1000, 1000.5], (700, 2100), id="two digits, outwards"),
    ],
)
def test_the_ends_of_a_widened_range(distribution: Any, best: list[float], ends: tuple[float, float]) -> None:
    assert Range(distribution).crowded(best) == ("high",)
    assert Range(distribution).around(best, ("high",)) == pytest.approx(ends, rel=1e-12)


def test_a_narrowed_range_never_passes_the_old_one() -> None:
    rng = random.Random(0)
    for _ in range(300):
        low = rng.choice([rng.uniform(-5, 5), 10 ** rng.uniform(-9, 3)])
        high = low + 10 ** rng.uniform(-3, 3)
        for make in (uniform, log) if low > 0 else (uniform,):
            best = [rng.uniform(low, high) for _ in range(3)]
            ends = Range(make(low, high)).around(best, ())
            assert low <= ends.low < min(best) <= max(best) < ends.high <= high or ends.low == low or ends.high == high
            assert low <= ends.low <= min(best) <= max(best) <= ends.high <= high


# -- the file --------------------------------------------------------------------------------------------------------
def run(study: Any, **more: Any) -> Any:
    return hpo.sweep(study, backend="inline", device="cpu", force=True, **more)


def write_study(**changes: str) -> Path:
    """A study file of a name of its own: a module is imported once in a process."""
    name = f"before_{next(FRESH)}"
    fields = "".join(f", {key}={value}" for key, value in {"trials": "10", "pruning": "None", **changes}.items())
    Path(f"{name}.py").write_text(
        f"from hpo import *\nfrom tests.toy import toy_study\nstudy = toy_study(name={name!r}{fields})\n"
    )
    return Path(f"{name}.py")


def trials_of(name: str) -> list[optuna.trial.FrozenTrial]:
    stored = stored_study(RunFolder(Path("runs") / name), name)
    assert stored
    return stored.get_trials(deepcopy=False)


def best_of(name: str, study: StudySpec) -> list[dict[str, Any]]:
    """The best three configurations that lie in the space of a study, by hand."""
    ranked = sorted(trials_of(name), key=lambda trial: trial.value)
    inside = [
        trial.params
        for trial in ranked
        if all(entry.low <= trial.params[key] <= entry.high for key, entry in study.space.items())
    ]
    return [params for params in inside if params != study.defaults()][:3]


def test_the_file_that_it_writes_is_a_study_that_begins_with_the_default_and_the_best(home: Path) -> None:
    path = write_study()
    run(path)
    said = test_cli.hpo("next", str(path))
    assert said.code == 0, said.err
    written = Path(f"{path.stem}_next.py")
    assert f"hpo run {written}" in said.out
    study = hpo.load_study(written)
    assert (study.name, study.warm) == (f"{path.stem}_next", path.stem)
    for line in written.read_text().splitlines():
        assert not line.strip().startswith('"') or "  # " in line or line.startswith('"""'), "each decision says why"
    run(written, trials=6)
    params = [trial.params for trial in trials_of(study.name)]
    best = best_of(path.stem, study)
    assert len(best) >= 2, "the default may itself be among the best"
    assert params[: 1 + len(best)] == [study.defaults(), *best]
    assert len(params) == 6, "they count in the trials"


def test_a_file_in_studies_imports_from_there_and_has_conditions_and_fixed_values(home: Path) -> None:
    Path("studies").mkdir()
    space = (
        '{"recipe.batch_size": choose(8, 16), "task.shift": when("recipe.batch_size", 16, uniform(-1, 1)), '
        '"recipe.lr": log(1e-3, 0.3), "recipe.schedule": choose("cosine", "step")}'
    )
    path = write_study(space=space).rename(f"studies/below_{next(FRESH)}.py")
    text = path.read_text()
    path.write_text(text.replace("before_", "below_"))
    name = hpo.load_study(path).name
    run(path.stem)
    result = hpo.next_study(path.stem)
    assert result.path == Path("studies") / f"{path.stem}_next.py"
    assert f"from studies.{path.stem} import study as base" in result.path.read_text()
    study = hpo.load_study(result.path)
    assert study.warm == name
    run(result.path, trials=2)


def test_what_it_writes_is_clean_for_a_formatter(home: Path) -> None:
    path = write_study()
    run(path)
    hpo.next_study(path)
    text = Path(f"{path.stem}_next.py").read_text()
    assert max(map(len, text.splitlines())) <= 120
    compile(text, "next", "exec")


@pytest.mark.slow
def test_it_refuses_what_it_cannot_learn_from_and_writes_nothing(home: Path) -> None:
    path = write_study()
    assert f"there is no sweep of '{path.stem}'" in refused(home, "next", str(path))
    run(path, trials=7)
    assert "needs 8 completed trials" in refused(home, "next", str(path))
    run(path, trials=12, timeout=0)
    assert "is not finished: 7 of 12 trials" in refused(home, "next", str(path))
    run(path, trials=12)
    other = Path(f"{path.stem}x.py")
    other.write_text(path.read_text().replace(")\n", ", space={'task.shift': uniform(-2, 2)})\n"))
    assert "has changed since it was swept" in refused(home, "next", str(other))
    dashed = shutil.copy(path, f"dashed-{path.stem}.py")
    assert "rename it to letters, digits and _" in refused(home, "next", dashed)
    Path(f"{path.stem}_next.py").write_text("mine")
    assert "exists, and is not overwritten" in refused(home, "next", str(path))
    Path(f"{path.stem}_next.py").unlink()
    stored = optuna.load_study(study_name=path.stem, storage=open_storage(RunFolder(home / "runs" / path.stem).storage))
    stored.set_user_attr("trials", 100)
    assert "is not finished: 12 of 100 trials" in refused(home, "next", str(path))
    stored.set_user_attr("stop_after", 1)  # the last trial was no better, so the sweep has ended by itself
    assert test_cli.hpo("next", str(path)).code == 0


# -- a warm start ----------------------------------------------------------------------------------------------------
EARLIER = toy_study(name="earlier", pruning=None, trials=8)
WARM = replace(EARLIER, name="later", warm="earlier", trials=5, seed=1, space={"task.shift": uniform(-0.9, 2)})


@pytest.fixture(scope="module")
def swept(memory_disk: Path) -> Path:
    runs = memory_disk / "earlier-runs"
    run(EARLIER, runs=runs)
    return runs


@pytest.fixture
def runs(swept: Path, home: Path) -> Path:
    return Path(shutil.copytree(swept, home / "runs"))


def test_what_is_not_searched_any_more_has_its_default(runs: Path) -> None:
    run(WARM)
    assert [trial.params for trial in trials_of("later")][:4] == [{"task.shift": 0.0}, *expected()]


def expected() -> list[dict[str, Any]]:
    ranked = sorted(trials_of("earlier"), key=lambda trial: trial.value)
    shifts = [trial.params["task.shift"] for trial in ranked]
    return [{"task.shift": shift} for shift in shifts if shift not in (0.0,) and shift >= -0.9][:3]


def test_they_are_trained_anew_on_the_seeds_of_this_study(runs: Path) -> None:
    same = replace(EARLIER, name="later", warm="earlier", trials=2, seed=1)
    run(same)
    earlier = min(trials_of("earlier"), key=lambda trial: trial.value)
    later = trials_of("later")[1]
    assert later.params == earlier.params
    assert later.value != earlier.value


def test_a_sweep_that_has_begun_keeps_what_it_begins_with_whatever_becomes_of_the_earlier_study(runs: Path) -> None:
    best = expected()
    run(WARM, trials=2)
    shutil.rmtree(runs / "earlier")
    run(WARM)
    assert [trial.params for trial in trials_of("later")][1:4] == best


def test_a_storage_that_is_made_anew_asks_the_same(runs: Path) -> None:
    best = expected()
    run(WARM, trials=3)
    (runs / "later" / "sweep" / "0003").mkdir()
    (runs / "later" / "study.db").unlink()
    hpo.rebuild(WARM)
    run(WARM)
    assert [trial.params for trial in trials_of("later")][1:4] == best


def test_in_a_space_that_was_changed_since_those_that_do_not_fit_are_left_out(runs: Path) -> None:
    best = expected()
    run(WARM, trials=1)
    ends = sorted([0.0, best[1]["task.shift"]])
    narrow = replace(WARM, space={"task.shift": uniform(ends[0] - 1e-6, ends[1] + 1e-6)})
    fits = [narrow.space["task.shift"].low <= params["task.shift"] <= ends[1] + 1e-6 for params in best]
    run(narrow, accept=["space"])
    params = [trial.params for trial in trials_of("later")]
    assert [params[number] == best[number - 1] for number in (1, 2, 3)] == fits
    assert fits[1]
    assert not all(fits)


DIFFERENT = {
    "the fidelity": ({"cheap": replace(CHEAP, epochs=4)}, "other fidelity"),
    "the data": ({"cheap": replace(CHEAP, train=48)}, "other data, fidelity"),
    "no such study": ({"warm": "lost"}, "there is no sweep of 'lost'"),
    "nothing that fits": ({"space": {"task.pull": uniform(5, 6)}, "task": None}, "none of the 8 completed trials"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_an_earlier_study_that_says_nothing_is_refused_before_anything_is_written(runs: Path, case: str) -> None:
    changes, why = DIFFERENT[case]
    if "task" in changes:
        changes = {**changes, "task": replace(EARLIER.task, pull=5.0)}
    before = files(runs)
    with pytest.raises(Refused, match=why):
        run(replace(WARM, **changes))
    assert files(runs) == before


def test_it_is_a_part_of_the_identity_where_it_is_set_and_no_part_of_a_rehearsal() -> None:
    assert identity(WARM)["warm"] == "earlier"
    assert "warm" not in identity(EARLIER)
    assert WARM.as_smoke().warm is None


@pytest.mark.parametrize("name", ["later", "", "a/b", 3])
def test_a_name_that_no_earlier_study_can_have_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match=r"^warm: must be the name of"):
        replace(WARM, warm=name)


@pytest.fixture(scope="module")
def killable() -> Iterator[Sweeper]:
    with sweeper(hash_seed=0) as process:
        yield process


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_gives_the_unbroken_rows(killable: Sweeper, home: Path) -> None:
    """SIGKILL just before the n-th commit or rename, n drawn anew at each start."""
    asked = {"name": "later", "warm": "interrupted", "trials": 5}
    killable.start(Request(str(home / "interrupted"), trials=6))
    assert killable.code() == 0
    shutil.copytree(home / "interrupted", home / "elsewhere" / "interrupted")
    killable.start(Request(str(home / "elsewhere" / "later"), **asked))
    assert killable.code() == 0
    unbroken = rows(home / "elsewhere" / "later", "later")
    rng, codes = random.Random(5), []
    while 0 not in codes:
        killable.start(
            Request(str(home / "later"), die_at=rng.choice([rng.randint(1, 60), rng.randint(50, 120)]), **asked)
        )
        codes.append(killable.code())
        assert codes[-1] in (0, -signal.SIGKILL)
        assert len(codes) < 60
    assert len(codes) > 5
    assert rows(home / "later", "later") == unbroken
