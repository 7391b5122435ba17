"""Samplers and pruners of Optuna's in a study: they resume bit for bit, and their settings are part of the question."""

from __future__ import annotations

import json
import random
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.pruners import HyperbandPruner, MedianPruner, PatientPruner
from optuna.samplers import CmaEsSampler, GPSampler, GridSampler, PartialFixedSampler, QMCSampler, RandomSampler
from scipy.stats import qmc

from hpo.contract.optuna_objects import copy_for_trial, described, random_note, resume_note, settings
from hpo.contract.pruning import Median
from hpo.errors import Refused
from hpo.search.sweep import sweep
from hpo.space import choose, uniform, when
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.trial.provenance import identity
from tests.sweeper import OBJECTS, Request, Sweeper, rows, sweeper
from tests.toy import toy_study


class Counting(RandomSampler):
    """Somebody's own sampler."""

    def __init__(self, step: float = 0.5) -> None:
        super().__init__()
        self.step = step
        self.noise = np.random.default_rng()


@pytest.fixture(autouse=True)
def _without_experimental_warnings() -> None:
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


@pytest.fixture
def tmp_path(memory_disk: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=memory_disk))


def run(study: StudySpec, folder: Path) -> list[dict]:
    sweep(study, RunFolder(folder), identity(study), device="cpu")
    return rows(folder, study.name)


@pytest.fixture(scope="module")
def process() -> Iterator[Sweeper]:
    with sweeper(hash_seed=1) as process:
        yield process


def require_packages(name: str) -> None:
    if name == "CMA-ES":
        pytest.importorskip("cmaes")


@pytest.mark.parametrize("name", ["CMA-ES", "GP", "Hyperband"])  # of QMC: see point i below
def test_a_sweep_that_goes_on_gives_the_rows_of_an_unbroken_one(name: str, tmp_path: Path) -> None:
    require_packages(name)
    study = toy_study(trials=6, **OBJECTS[name])
    run(replace(study, trials=4), tmp_path / "in parts")
    assert run(study, tmp_path / "in parts") == run(study, tmp_path / "unbroken")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OBJECTS if name])
def test_a_sweep_killed_anywhere_gives_the_rows_of_an_unbroken_one(process: Sweeper, name: str, tmp_path: Path) -> None:
    require_packages(name)
    rng = random.Random(name)
    process.start(Request(str(tmp_path / "unbroken"), trials=7, objects=name))
    assert process.code() == 0
    kills, code = 0, -9
    while code == -9:
        process.start(Request(str(tmp_path / "killed"), trials=7, objects=name, die_at=rng.randint(30, 160)))
        code = process.code()
        kills += code == -9
    assert code == 0
    assert kills > 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "unbroken")


def test_cma_es_learns_from_the_trials_before(tmp_path: Path) -> None:
    """Its second generation begins after the first four configurations that it drew itself."""
    pytest.importorskip("cmaes")
    study = toy_study(search=CmaEsSampler(popsize=4), pruning=None, trials=8)
    run(study, tmp_path)
    stored = optuna.load_study(study_name=study.name, storage=RunFolder(tmp_path).storage).trials
    generations = [trial.system_attrs.get("cma:generation") for trial in stored]
    assert generations == [None, 0, 0, 0, 0, 1, 1, 1]


def test_point_i_of_a_quasi_random_sequence_is_trial_i(tmp_path: Path) -> None:
    """Against scipy's Sobol sequence. A trial that is drawn twice has the same point twice."""
    study = toy_study(
        space={"task.pull": uniform(0, 1), "task.shift": uniform(0, 1)}, search=QMCSampler(), pruning=None, trials=6
    )
    drawn = [[row["params"][name] for name in ("task.pull", "task.shift")] for row in run(study, tmp_path)]
    assert np.array(drawn[1:]) == pytest.approx(qmc.Sobol(2, scramble=False).random(8)[1:6])


def test_hyperband_ends_trials_and_says_so(tmp_path: Path) -> None:
    study = toy_study(trials=10, pruning=HyperbandPruner(reduction_factor=2))
    pruned = [row for row in run(study, tmp_path) if row["state"] == "PRUNED"]
    assert pruned
    assert all(row["attributes"]["reason"].startswith("ended by HyperbandPruner at epoch ") for row in pruned)


def draw(sampler: optuna.samplers.BaseSampler) -> float:
    return optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1)


@pytest.mark.parametrize("sampler", [RandomSampler(), RandomSampler(seed=7), PartialFixedSampler({}, RandomSampler())])
def test_a_trials_copy_draws_by_the_studys_seed_and_its_number_alone(sampler: optuna.samplers.BaseSampler) -> None:
    draws = [draw(copy_for_trial(sampler, seed, number)) for seed in (0, 1) for number in (3, 4)]
    assert len(set(draws)) == 4
    assert draws == [draw(copy_for_trial(sampler, seed, number)) for seed in (0, 1) for number in (3, 4)]


def test_generators_of_a_sampler_of_ones_own_are_seeded_too() -> None:
    first, again, next_one = (copy_for_trial(Counting(), 0, number).noise.random() for number in (1, 1, 2))
    assert first == again != next_one


def test_settings_are_part_of_the_question_and_seeds_are_not() -> None:
    def question(**changes: object) -> str:
        return identity(toy_study(**changes))["search"]

    assert question(search=GPSampler(n_startup_trials=5)) != question(search=GPSampler(n_startup_trials=6))
    assert question(search=QMCSampler(scramble=True, seed=1)) == question(search=QMCSampler(scramble=True))
    assert question(search=Counting(0.5)) != question(search=Counting(0.6))
    assert question(search=PartialFixedSampler({}, GPSampler(n_startup_trials=2))) != question(
        search=PartialFixedSampler({}, GPSampler(n_startup_trials=3))
    )


def test_settings_are_plain_and_the_same_in_each_process() -> None:
    """Of a function its name, and never its address."""
    assert json.loads(json.dumps(settings(GPSampler()))) == settings(GPSampler())
    assert settings(GPSampler())["log_prior"] == "optuna._gp.prior.default_log_prior"


def test_a_study_without_them_asks_what_it_asked_before() -> None:
    assert "search" not in identity(toy_study())


def test_a_sweep_with_other_settings_is_another_question(tmp_path: Path) -> None:
    study = toy_study(trials=1, search=GPSampler(n_startup_trials=5), pruning=HyperbandPruner(reduction_factor=2))
    run(study, tmp_path)
    with pytest.raises(Refused, match=r"search\.n_startup_trials was 5 there, and is 6 now"):
        run(replace(study, search=GPSampler(n_startup_trials=6)), tmp_path)
    with pytest.raises(Refused, match=r"pruning\.reduction_factor was 2 there, and is 3 now"):
        run(replace(study, pruning=HyperbandPruner(reduction_factor=3)), tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"search": GPSampler}, r"search: must be a sampler of Optuna's or None; .*; write GPSampler\(...\)"),
        ({"search": MedianPruner()}, "search: must be a sampler of Optuna's or None; got <optuna"),
        ({"pruning": RandomSampler()}, 'pruning: must be a Median, "auto", a Rungs, a pruner of Optuna\'s or None'),
        ({"search": GridSampler({"recipe.lr": [0.1]})}, "search: GridSampler ends a study itself"),
        ({"search": PartialFixedSampler({}, GridSampler({"recipe.lr": [0.1]}))}, "search: GridSampler ends"),
        (
            {"search": optuna.samplers.NSGAIISampler(child_generation_strategy=lambda *_: {})},
            "search: NSGAIISampler cannot be part of a study's identity: .*has no name that tells it from others",
        ),
    ],
)
def test_what_a_sweep_cannot_work_with_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        toy_study(**changes)


def test_one_line_says_what_does_not_resume_bit_for_bit() -> None:
    assert resume_note(None, Median()) == resume_note(GPSampler(), MedianPruner()) == resume_note(QMCSampler()) == ""
    assert resume_note(None, PatientPruner(HyperbandPruner(), 1)).startswith("HyperbandPruner keeps its state in the")
    assert resume_note(Counting(), None).startswith("Counting is not one of Optuna's own: each trial gets a fresh copy")


def test_one_line_says_what_is_drawn_at_random() -> None:
    space = {
        "task.pull": uniform(0, 1),
        "task.dropout": choose(0, 1),
        "task.shift": when("task.dropout", 1, uniform(0, 1)),
    }
    assert random_note(GPSampler(), space) == "GPSampler cannot model task.shift: drawn at random"
    assert random_note(CmaEsSampler(), space).startswith("CmaEsSampler cannot model task.dropout, task.shift:")
    assert random_note(RandomSampler(), space) == random_note(None, space) == ""


def test_the_report_names_them() -> None:
    assert described(HyperbandPruner(max_resource=9)).startswith("HyperbandPruner, min_resource = 1, max_resource = 9")
    assert described(PatientPruner(MedianPruner(), 2)).startswith(
        "PatientPruner, wrapped_pruner = MedianPruner, patience"
    )
