"""Study files: how they are found, and what is said of a wrong one: file, line, cause, given, allowed, nearest."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from pathlib import Path

import pytest

from hpo.errors import Refused
from hpo.trial.artifact import load_winner
from hpo.trial.provenance import identity
from hpo.verbs.load import load_study

HEAD = """from dataclasses import replace
from hpo import Fidelity, Median, Recipe, StudySpec, choose, integer, log, uniform
from tests.toy import Toy, study as toy
"""
FRESH = itertools.count()  # a module of one name is imported once in a process


def write(folder: Path, text: str, name: str = "") -> Path:
    path = folder / f"{name or f'wrong_{next(FRESH)}'}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + text)
    return path


WRONG = {  # the text after HEAD, whose first line is line 4 -> line at fault, and what is said
    "syntax": ("study = (1,\n", 4, "study = (1,", "SyntaxError: '(' was never closed"),
    "misspelt function": ("study = lgo(1, 2)", 4, "study = lgo(1, 2)", "did you mean 'log'?"),
    "misspelt import": ("\nfrom hpo import lgo", 5, "from hpo import lgo", "did you mean 'log'?"),
    "misspelt attribute": ("import hpo\nstudy = hpo.StudySpc", 5, "hpo.StudySpc", "did you mean 'StudySpec'?"),
    "misspelt field": ("study = replace(toy, trails=3)", 4, "trails", "did you mean 'trials'?"),
    "unknown field": (
        "study = replace(toy, recipe=Recipe(speed=3))",
        4,
        "speed",
        "unexpected keyword argument 'speed'; known: lr, batch_size, ",
    ),
    "missing field": ("study = StudySpec(name='x', task=Toy())", 4, "StudySpec(", "missing 4 required"),
    "no module": ("from objectives.rsi import RIS", 4, "objectives.rsi", "No module named 'objectives.rsi'"),
    "an exception": ("x = [1]\n\n\nstudy = x[3]", 7, "study = x[3]", "IndexError: list index out of range"),
    "name with a slash": ("study = replace(toy, name='../x')", 4, "name=", "name: must be 1 to 64 letters"),
    "low above high": (
        "study = replace(toy, space={\n  'recipe.lr': log(1e-1, 1e-3)})",
        5,
        "log(1e-1, 1e-3)",
        "log: low must be below high; got low=0.1, high=0.001",
    ),
    "NaN": (
        "study = replace(toy, space={'recipe.lr': log(1e-3, float('nan'))})",
        4,
        "nan",
        "log: bounds must be finite numbers",
    ),
    "a duplicate choice": (
        "study = replace(toy, space={'recipe.batch_size': choose(8, 16, 8)})",
        4,
        "choose(8, 16, 8)",
        "choose: choices must differ; 8 stands twice",
    ),
    "unknown hyperparameter": (
        "study = replace(toy, space={'task.shfit': uniform(0, 1)})",
        4,
        "task.shfit",
        "unknown hyperparameter 'task.shfit'; did you mean 'task.shift'?",
    ),
    "default outside": (
        "study = replace(toy, space={'recipe.lr': log(0.2, 0.3)})",
        4,
        "log(0.2, 0.3)",
        "space['recipe.lr']: the default 0.1 must lie in the space; allowed: log(0.2, 0.3)",
    ),
    "cheap dearer than full": (
        "study = replace(toy, cheap=replace(toy.full, train=9999))",
        4,
        "train=9999",
        "cheap.train: must be at most full.train = 256; got 9999",
    ),
    "warm-up too long": (
        "study = replace(toy, pruning=Median(warmup_epochs=5))",
        4,
        "warmup_epochs=5",
        "pruning.warmup_epochs: must be below cheap.epochs = 5",
    ),
    "one test example": (
        "study = replace(toy, full=replace(toy.full, test=1))",
        4,
        "test=1",
        "full.test: must be at least 2",
    ),
    "no trials": ("study = replace(toy, trials=0)", 4, "trials=0", "trials: must be a whole number of at least 1"),
    "NaN in the recipe": (
        "study = replace(toy, recipe=Recipe(lr=float('nan')))",
        4,
        "nan",
        "recipe.lr must be a finite number above 0; got nan",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_line(case: str, tmp_path: Path) -> None:
    text, line, quoted, said = WRONG[case]
    path = write(tmp_path, text)
    with pytest.raises(Refused) as refused:
        load_study(str(path))
    first, *rest = str(refused.value).splitlines()
    assert first.startswith(f"{path}:{line}: ")
    assert quoted in first
    assert said in "\n".join(rest)
    assert len(rest) <= 3


@pytest.mark.parametrize(("text", "given"), [("", "None"), ("study = 3", "3"), ("study = Toy()", "Toy(")])
def test_a_file_that_assigns_no_study_is_refused(text: str, given: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(Refused, match=r"must assign `study = StudySpec\(\.\.\.\)`; got study = ") as refused:
        load_study(str(path))
    assert given in str(refused.value)


def test_a_study_is_found_by_its_path_with_or_without_py_and_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = write(tmp_path / "mine", "study = replace(toy, name='mine')", f"mine_{next(FRESH)}")
    assert load_study(str(elsewhere)).name == "mine"
    assert load_study(str(elsewhere.with_suffix(""))).name == "mine"
    relative = write(tmp_path, "study = replace(toy, name='here')", f"here_{next(FRESH)}")
    assert load_study(relative.name).name == "here"


def test_a_study_that_is_not_there_is_told_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "studies", "study = toy", "photographs")
    for name in ("photograhs", "studies/photograhs", "studies/photograhs.py"):
        with pytest.raises(Refused, match=f"no study '{name}'.*did you mean 'photographs'?"):
            load_study(name)
    with pytest.raises(Refused, match="studies there are: photographs"):
        load_study("zzz")
    with pytest.raises(Refused, match="no study"):
        load_study(str(tmp_path))


def test_a_file_named_like_a_module_that_is_loaded_is_refused_and_not_mixed_up(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"another module is called 'json'.*rename json\.py"):
        load_study(str(write(tmp_path, "study = toy", "json")))


@pytest.mark.parametrize("by", ["import sys\nsys.exit()", "import sys\nsys.exit(0)", "raise GeneratorExit"])
def test_a_file_that_quits_when_it_is_imported_is_refused_with_its_line(by: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"study = toy\n{by}")
    with pytest.raises(Refused, match=r"Exit: a study file is imported, .* must not end the process") as refused:
        load_study(str(path))
    assert str(refused.value).startswith(f"{path}:{len(HEAD.splitlines()) + 1 + len(by.splitlines())}: ")


def test_a_file_that_parses_the_command_line_finds_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", words := ["a notebook", "-f", "kernel.json"])
    text = "import argparse, sys\nargparse.ArgumentParser().parse_args()\nstudy = replace(toy, name=str(len(sys.argv)))"
    assert load_study(str(write(tmp_path, text))).name == "1"
    assert sys.argv is words


def test_a_file_with_a_dot_in_its_name_is_refused_with_a_name_that_works(tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match=r"disc\.v2\.py: Python cannot import .* dot in its name; rename it to disc_v2\.py"
    ):
        load_study(str(write(tmp_path, "study = toy", "disc.v2")))


def test_a_file_with_a_byte_order_mark_is_a_study(tmp_path: Path) -> None:
    path = write(tmp_path, "class Mine(Toy):\n    pass\n\nstudy = replace(toy, task=Mine())")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(identity(load_study(str(path)))["code"]) == 12


def test_a_winner_whose_task_is_not_found_says_which_folder_is_needed(tmp_path: Path) -> None:
    weights = b"weights"
    card = {"task": "rings.tasks:Rings", "fields": {}, "sha256": hashlib.sha256(weights).hexdigest()}
    (tmp_path / "card.json").write_text(json.dumps(card))
    (tmp_path / "weights.safetensors").write_bytes(weights)
    with pytest.raises(
        ValueError, match=r"'rings.tasks', and no module 'rings' is found .* folder in which rings\.py .* PYTHONPATH"
    ):
        load_winner(tmp_path)
