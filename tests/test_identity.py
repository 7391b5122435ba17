"""What a study rests on: what is refused when it changes, in which words, and what may change."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from hpo.checking.kept import require_go
from hpo.contract.pruning import Median
from hpo.errors import Refused
from hpo.recipe import Recipe
from hpo.space import choose, log, uniform, when
from hpo.storage.database import open_study, package_changes
from hpo.storage.folder import RunFolder
from hpo.storage.identity import code_difference, differing_parts, keep_details
from hpo.study import StudySpec
from hpo.trial import provenance
from hpo.trial.provenance import identity, identity_details
from tests.toy import CHEAP, Toy, toy_study

SPACE = toy_study().space
SAID = {
    "a parameter that is added": (
        {"space": {**SPACE, "task.pull": uniform(0.0, 1.0)}},
        ["space: task.pull was not searched before; it is uniform(0.0, 1.0)"],
    ),
    "a parameter that is removed": (
        {"space": {"recipe.lr": SPACE["recipe.lr"]}},
        ["space: task.shift is not searched any more; it was uniform(-1.0, 1.0)"],
    ),
    "a wider range": (
        {"space": {**SPACE, "task.shift": uniform(-2, 2)}},
        ["space: task.shift has a wider range: uniform(-1.0, 1.0) there, uniform(-2.0, 2.0) now"],
    ),
    "a narrower range": (
        {"space": {**SPACE, "task.shift": uniform(-0.5, 1)}},
        ["space: task.shift has a narrower range: uniform(-1.0, 1.0) there, uniform(-0.5, 1.0) now"],
    ),
    "a range that is moved": (
        {"space": {**SPACE, "task.shift": uniform(-0.5, 2)}},
        ["space: task.shift has another range: uniform(-1.0, 1.0) there, uniform(-0.5, 2.0) now"],
    ),
    "another scale": (
        {"space": {**SPACE, "recipe.lr": uniform(1e-3, 0.3)}},
        ["space: recipe.lr is searched otherwise: log(0.001, 0.3) there, uniform(0.001, 0.3) now"],
    ),
    "a condition": (
        {
            "space": {
                "task.shift": SPACE["task.shift"],
                "recipe.batch_size": choose(16, 32),
                "recipe.lr": when("recipe.batch_size", 16, log(1e-3, 0.3)),
            }
        },
        [
            "space: recipe.batch_size was not searched before; it is choose(16, 32)",
            "space: recipe.lr is searched otherwise: log(0.001, 0.3) there, "
            "when('recipe.batch_size', 16, log(0.001, 0.3)) now",
        ],
    ),
    "a default of the task": ({"task": Toy(pull=0.5)}, ["task: task.pull was 0.0 there, and is 0.5 now"]),
    "a default of the recipe": (
        {"recipe": Recipe(lr=0.1, batch_size=16, clip=2.0)},
        ["recipe: recipe.clip was 1.0 there, and is 2.0 now"],
    ),
    "a fidelity": (
        {"cheap": replace(CHEAP, epochs=4, fixed={"task.pull": 0.1})},
        [
            "fidelity: fidelity.epochs was 5 there, and is 4 now",
            "fidelity: fidelity.fixed.task.pull is new: 0.1",
        ],
    ),
    "pruning": (
        {"pruning": Median(warmup_epochs=2, min_trials=2, startup_trials=3)},
        ["pruning: pruning.warmup_epochs was 1 there, and is 2 now"],
    ),
    "the seed": ({"seed": 1}, ["seed: 0 there, 1 now"]),
}


def opened(study: StudySpec, folder: RunFolder) -> None:
    folder.make()
    open_study(folder, "sweep", "toy", "minimize", identity(study), details=identity_details(study))


@pytest.mark.parametrize("change", SAID)
def test_a_refusal_says_which_parameter_or_field_differs(change: str, tmp_path: Path) -> None:
    changes, lines = SAID[change]
    folder = RunFolder(tmp_path)
    opened(toy_study(), folder)
    with pytest.raises(Refused) as error:
        opened(toy_study(**changes), folder)
    told = [line.strip() for line in str(error.value).splitlines() if line.startswith("  ")]
    assert [line for line in told if not line.startswith("data:")] == lines


def test_a_stale_preflight_says_the_same(tmp_path: Path) -> None:
    folder, before, now = RunFolder(tmp_path), toy_study(), toy_study(task=Toy(pull=0.5))
    keep_details(folder, identity(before), identity_details(before))
    folder.preflight.write_text(json.dumps({"status": "go", "identity": identity(before), "checks": []}))
    with pytest.raises(Refused, match=r"stale: task changed since \(task: task.pull was 0.0 there, and is 0.5 now\);"):
        require_go(folder, identity(now), "hpo preflight toy", identity_details(now))


def test_every_field_of_a_study_is_in_its_identity_or_in_its_budget() -> None:
    """A new field of StudySpec must be put in one of the two: what the trials depend on must not change unnoticed."""
    budget = {"name", "trials", "startup_trials", "stop_after", "limit", "keep", "seeds", "smoke", "budget"}
    parts = {"task": "task", "space": "space", "recipe": "recipe", "cheap": "fidelity", "pruning": "pruning"}
    others = {"seed": "seed", "full": "fidelity of the promotion", "cross_validate": "cross-validation", "warm": "warm"}
    others |= {"limits": "limits", "goals": "goals", "search": "search"}
    assert {field.name for field in fields(StudySpec)} == budget | parts.keys() | others.keys()
    assert parts.items() <= {**{part: part for part in identity_details(toy_study())}, "cheap": "fidelity"}.items()


def test_every_field_of_the_recipe_and_the_task_is_in_the_identity_with_its_default() -> None:
    details = identity_details(toy_study())
    assert details["recipe"].keys() == {"class"} | {field.name for field in fields(Recipe)}
    assert details["task"].keys() == {"class"} | {field.name for field in fields(Toy)}


NET = {"function net": "1", "constant A": "2", "the order of its definitions": "3"}
CODE = {"root": "disc.py", "files": {"disc.py": {"class Disc": "0"}, "net.py": NET}}
CODE_SAID = {
    "a function": ({"net.py": {**NET, "function net": "9"}}, ["net.py: function net changed"]),
    "another name": (
        {"net.py": {"function net": "1", "constant B": "2", "the order of its definitions": "4"}},
        ["net.py: constant B is new, constant A is gone"],
    ),
    "the order": (
        {"net.py": {**NET, "the order of its definitions": "4"}},
        ["net.py: the order of its definitions changed"],
    ),
    "another file": (
        {"far.py": {"class Far": "4"}},
        ["far.py was not imported before", "net.py is not imported any more"],
    ),
}


@pytest.mark.parametrize("change", CODE_SAID)
def test_a_difference_of_code_names_file_and_function(change: str) -> None:
    files, lines = CODE_SAID[change]
    now = {"root": "disc.py", "files": {"disc.py": {"class Disc": "0"}, **files}}
    assert list(code_difference(CODE, now)) == lines


def test_a_task_file_that_was_renamed_is_the_same_file() -> None:
    files = CODE["files"]
    renamed = {"root": "circle.py", "files": {"circle.py": files["disc.py"], "net.py": files["net.py"]}}
    assert list(code_difference(CODE, renamed)) == []


def test_a_package_of_another_version_is_recorded_and_said_and_refuses_nothing(tmp_path: Path) -> None:
    study, folder = toy_study(), RunFolder(tmp_path)
    older = {**identity_details(study)["packages"], "numpy": "1.0"}
    folder.make()
    before = {**identity(study), "packages": "older"}
    open_study(folder, "sweep", "toy", "minimize", before, details={**identity_details(study), "packages": older})
    now = identity_details(study)
    opened(study, folder)
    version = now["packages"]["numpy"]
    assert package_changes(folder, "toy", now) == (
        f"since the study began: numpy was 1.0 and is {version}; each trial records its own"
    )
    assert package_changes(folder, "another", now) == ""
    assert json.loads((folder.identity / f"packages-{identity(study)['packages']}.json").read_text()) == now["packages"]
    assert differing_parts(before, identity(study)) == []


def test_the_packages_are_those_that_train_and_those_that_the_task_imports() -> None:
    assert identity_details(toy_study())["packages"].keys() == {"python", "torch", "optuna", "numpy"}


def test_a_worker_with_other_code_or_packages_is_told_apart_by_name() -> None:
    from hpo.workers.dask_worker import Surroundings, differences_of

    here = Surroundings("1", CODE, {"numpy": "2.4"})
    there = Surroundings(
        "2", {**CODE, "files": {**CODE["files"], "net.py": {**NET, "function net": "9"}}}, {"numpy": "2.3"}
    )
    assert list(differences_of(here, there)) == ["net.py: function net changed", "numpy: 2.3 there, 2.4 here"]
    assert list(differences_of(here, here)) == []


def test_an_import_is_known_by_the_distribution_that_python_names_for_it() -> None:
    named = packages_distributions()
    for name in ("PIL", "sklearn", "torch", *list(named)[::20]):
        assert provenance._distribution_of(name) == named[name][0]
    assert provenance._distribution_of("no_package") is None
