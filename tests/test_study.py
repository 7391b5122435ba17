"""What a study file may declare. Every refusal names the key, what was given and what is allowed."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.code.harness import HARNESS, PACKAGE, PROMOTION, code_hash
from hpo.contract.pruning import Median, Rungs
from hpo.recipe import Recipe
from hpo.space import choose, log, uniform, when
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.data_identity import data_hash
from hpo.trial.provenance import identity
from tests.toy import CHEAP, FULL, INPUTS, SMOKE, Toy, study, toy_study

LONG = "x" * 100_000


class Sideways(Toy):
    direction = "minimise"


# -- key, given, and the words that say what is allowed ------------------------------------------------------------
BAD = [
    *(
        ({"name": name}, "name: must be 1 to 64 letters, digits, '.', '_' or '-'", shown)
        for name, shown in (
            ("a/b", "'a/b'"),
            ("a\n", r"'a\n'"),
            ("..", "'..'"),
            ("../../etc", "'../../etc'"),
            ("", "''"),
            (".", "'.'"),
            ("-rf", "'-rf'"),
            ("/etc/x", "'/etc/x'"),
            ("a b", "'a b'"),
            ("a\0b", r"'a\x00b'"),
            ("ü", "'ü'"),
            ("x" * 65, "'xxx"),
            ("\ud800", "'\\ud800'"),
            ("<script>", "'<script>'"),
            ("%s", "'%s'"),
            (LONG, "'xxx"),
            (None, "None"),
            (7, "7"),
        )
    ),
    ({"task": "ris"}, "task: must be a Task value", "'ris'"),
    ({"task": Toy}, "task: must be a Task value", "Toy"),
    ({"task": Sideways()}, "task.direction: must be 'minimize' or 'maximize'", "'minimise'"),
    ({"recipe": {"lr": 0.1}}, "recipe: must be a Recipe value", "{'lr': 0.1}"),
    ({"cheap": {"size": 8}}, "cheap: must be a Fidelity value", "{'size': 8}"),
    ({"full": None}, "full: must be a Fidelity value", "None"),
    ({"pruning": 5}, 'pruning: must be a Median, "auto", a Rungs, a pruner of Optuna\'s or None', "5"),
    *(
        ({key: given}, f"{key}: must be a whole number of at least {least}", repr(given))
        for key, least in (("trials", 1), ("keep", 1), ("seeds", 1), ("startup_trials", 0), ("seed", 0))
        for given in (least - 1, 2.5, "3", True, None, math.nan)
        if (key, given) != ("keep", None)  # as many as the fidelity gate says
    ),
    ({"cheap": replace(CHEAP, train=512)}, "cheap.train: must be at most full.train = 256", "512"),
    ({"cheap": replace(CHEAP, val=512)}, "cheap.val: must be at most full.val = 128", "512"),
    ({"cheap": replace(CHEAP, epochs=11)}, "cheap.epochs: must be at most full.epochs = 10", "11"),
    ({"cheap": replace(CHEAP, size=7)}, "cheap.size: must be at most full.size = 6", "7"),
    ({"smoke": replace(SMOKE, epochs=6)}, "smoke.epochs: must be at most cheap.epochs = 5", "6"),
    (
        {"smoke": replace(SMOKE, fixed={"task.shfit": 0.0})},
        "smoke.fixed: unknown hyperparameter 'task.shfit'; did you mean 'task.shift'?",
        "",
    ),
    ({"full": replace(FULL, fixed={"recipe.lr": -1.0})}, "full.fixed: recipe.lr must be a finite number above", "-1.0"),
    ({"cheap": replace(CHEAP, fixed={"task.shift": 0.5})}, "cheap.fixed: pins ['task.shift'], which the space se", ""),
    ({"pruning": Median(warmup_epochs=5)}, "pruning.warmup_epochs: must be below cheap.epochs = 5", "5"),
    (
        {"pruning": "auto", "search": optuna.samplers.RandomSampler()},
        'search: must be None with pruning="auto" or Rungs, which draw the configurations themselves',
        "RandomSampler",
    ),
    ({"pruning": Rungs(first=3)}, "pruning.first: must be at most 2, half of cheap.epochs", "3"),
    ({"pruning": Median(warmup_epochs=50)}, "pruning.warmup_epochs: must be below cheap.epochs = 5", "50"),
    ({"space": {}}, "space: must map at least one hyperparameter to its range", "{}"),
    ({"space": {"recipe.learning_rate": log(0.01, 1)}}, "space: unknown hyperparameter 'recipe.learning_rate'", ""),
    ({"space": {"task.shfit": uniform(-1, 1)}}, "unknown hyperparameter 'task.shfit'; did you mean 'task.shift'?", ""),
    ({"space": {"recipe.lr": log(0.2, 1)}}, "space['recipe.lr']: the default 0.1 must lie in the space; allowed:", ""),
    ({"space": {"recipe.ema": choose(0.0, 1.5)}}, "space['recipe.ema']: 1.5 lies in the space but is refused: rec", ""),
]


@pytest.mark.parametrize(("change", "message", "given"), BAD, ids=[message[:60] for _, message, _ in BAD])
def test_a_study_that_could_not_be_run_is_refused(change, message: str, given: str) -> None:
    with pytest.raises(ValueError, match=r"^[a-z_.]+(\[.+\])?: ") as error:
        toy_study(**change)
    assert message in str(error.value)
    assert given in str(error.value)
    assert len(str(error.value)) < 500, "a message is read, whatever was given"


@pytest.mark.parametrize("key", ["warmup_epochs", "min_trials", "startup_trials"])
@pytest.mark.parametrize("given", [-1, 1.5, "2", True])
def test_a_pruning_rule_that_makes_no_sense_is_refused(key: str, given: object) -> None:
    with pytest.raises(ValueError, match=rf"^pruning\.{key}: must be a whole number of at least \d; got ") as error:
        Median(**{key: given})
    assert repr(given) in str(error.value)


@pytest.mark.parametrize("key", ["size", "train", "val", "epochs", "test"])
@pytest.mark.parametrize("given", [0, -3, 1.5, "8", True, math.nan])
def test_a_fidelity_without_examples_or_epochs_is_refused(key: str, given: object) -> None:
    """A zero-length split among them."""
    fields = {"size": 8, "train": 8, "val": 8, "epochs": 1, "test": 8}
    with pytest.raises(ValueError, match=rf"^Fidelity\.{key} must be a whole number of at least 1; got ") as error:
        Fidelity(**fields | {key: given})
    assert repr(given) in str(error.value)


@given(name=st.text())
def test_a_name_is_refused_or_names_one_folder(name: str) -> None:
    """Whatever is accepted is one component of a path, and not a hidden or a parent one."""
    try:
        accepted = toy_study(name=name).name
    except ValueError:
        return
    path = Path("/runs") / accepted
    assert path.parent == Path("/runs")
    assert path.name == accepted
    assert accepted.isascii()
    assert not accepted.startswith((".", "-"))


@pytest.mark.parametrize("name", ["a", "ris", "RIS-2.v_3", "0", "x" * 64])
def test_ordinary_names_are_accepted(name: str) -> None:
    assert toy_study(name=name).name == name


def test_a_study_is_frozen_and_a_variant_is_a_changed_copy() -> None:
    with pytest.raises(FrozenInstanceError):
        study.trials = 3
    assert replace(study, trials=3).trials == 3


# -- how a value flows ---------------------------------------------------------------------------------------------
def test_defaults_then_a_trials_values_then_what_the_fidelity_pins() -> None:
    spec = toy_study(full=replace(FULL, fixed={"task.shift": 0.0, "recipe.lr": 0.02}))
    task, recipe = spec.configure({"task.shift": 0.5, "recipe.lr": 0.2}, spec.cheap)
    assert (task.shift, task.dropout, recipe.lr, recipe.batch_size) == (0.5, 0.0, 0.2, 16)
    task, recipe = spec.configure({"task.shift": 0.5, "recipe.lr": 0.2}, spec.full)
    assert (task.shift, recipe.lr) == (0.0, 0.02)
    with pytest.raises(ValueError, match=r"unknown hyperparameter 'task\.sift'; did you mean 'task\.shift'"):
        spec.configure({"task.sift": 1}, spec.cheap)


def test_seeds_derive_from_the_study_seed_and_the_trial_number() -> None:
    seeds = {toy_study(seed=seed).training_seed(number) for seed in range(20) for number in range(50)}
    assert len(seeds) == 1000
    assert toy_study(seed=3).training_seed(5) == toy_study(seed=3, trials=99).training_seed(5)


def test_the_sampler_is_tpe_seeded_by_trial_and_parameter() -> None:
    def draw(spec: StudySpec, *what) -> float:
        return spec.sampler(*what).sample_independent(optuna.create_study(), None, "x", uniform(0, 1))

    assert isinstance(study.sampler(0), optuna.samplers.TPESampler)
    draws = {draw(toy_study(seed=seed), number, *name) for seed in (0, 1) for number in (0, 1) for name in ((), ("x",))}
    assert len(draws) == 8
    assert draw(study, 3, "x") == draw(study, 3, "x")


def test_the_pruner_is_optunas_median_with_the_studys_own_patience() -> None:
    pruner = Median(warmup_epochs=6, min_trials=8, startup_trials=2).pruner(epochs=9)
    assert isinstance(pruner, optuna.pruners.MedianPruner)
    assert (pruner._n_warmup_steps, pruner._n_min_trials, pruner._n_startup_trials) == (6, 8, 2)
    assert isinstance(toy_study(pruning=None).pruner(), optuna.pruners.NopPruner)


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 1), (2, 1), (3, 1), (4, 2), (9, 3), (10, 4)])
def test_a_trial_is_not_pruned_in_a_third_of_its_epochs_unless_the_study_says_otherwise(
    epochs: int, warmup: int
) -> None:
    spec = toy_study(smoke=replace(SMOKE, epochs=1), cheap=replace(CHEAP, epochs=epochs), pruning=Median())
    pruner = spec.pruner()
    assert isinstance(pruner, optuna.pruners.MedianPruner)
    assert (pruner._n_warmup_steps, pruner._n_min_trials, pruner._n_startup_trials) == (warmup, 4, 5)
    assert spec.pruning_rule == Median(warmup_epochs=warmup, min_trials=4, startup_trials=5)
    assert spec.as_smoke().pruning == Median(), "it follows the epochs of the rehearsal"


def test_one_trial_in_ten_is_spared_and_always_the_same_ones() -> None:
    """Of 10,000 trials 1,000, give or take four standard deviations of the binomial distribution."""
    spared = {seed: [number for number in range(10_000) if toy_study(seed=seed).spares(number)] for seed in (0, 1)}
    assert all(880 < len(numbers) < 1120 for numbers in spared.values())
    assert spared[0] != spared[1]
    assert spared[0] == [number for number in range(10_000) if toy_study(trials=9, keep=1).spares(number)]


def test_the_smoke_study_is_a_sound_study_of_the_smoke_fidelity() -> None:
    spec = StudySpec(
        name="x" * 64,
        task=Toy(),
        recipe=Recipe(batch_size=16),
        space={"task.dropout": choose(0.0, 0.5), "task.shift": when("task.dropout", 0.5, uniform(-1, 1))},
        smoke=replace(SMOKE, epochs=1, fixed={"task.dropout": 0.5, "task.pull": 0.25}),
        cheap=CHEAP,
        full=FULL,
        pruning=Median(warmup_epochs=4),
    )
    smoke = spec.as_smoke()
    assert smoke.cheap == smoke.full == smoke.smoke == Fidelity(size=INPUTS, train=32, val=32, epochs=1)
    assert smoke.task == Toy(pull=0.25), "what the tier pins, unless the space searches it"
    assert smoke.trials <= 4
    assert smoke.pruning.warmup_epochs == 0
    assert smoke.name != spec.name
    assert len(smoke.name) == 64


# -- what a result rests on ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OtherData(Toy):
    noise: float = 0.0

    def batches(self, split, fidelity, batch_size, rng):
        for batch in super().batches(split, fidelity, batch_size, rng):
            yield batch._replace(y_BO=batch.y_BO + self.noise) if split == "val" else batch


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("space", toy_study(space={"recipe.lr": log(1e-3, 0.3), "task.shift": uniform(-1, 1.0000001)})),
        ("space", toy_study(space={"recipe.lr": uniform(1e-3, 0.3), "task.shift": uniform(-1, 1)})),
        ("space", toy_study(space={"recipe.lr": log(1e-3, 0.3)})),
        ("task", toy_study(task=Toy(pull=0.1))),
        ("recipe", toy_study(recipe=Recipe(lr=0.1, batch_size=16, clip=2.0))),
        ("fidelity", toy_study(cheap=replace(CHEAP, epochs=4))),
        ("pruning", toy_study(pruning=Median(warmup_epochs=2, min_trials=2, startup_trials=3))),
        ("seed", toy_study(seed=1)),
    ],
)
def test_each_part_of_the_identity_changes_with_its_cause_alone(part: str, changed: StudySpec) -> None:
    before, after = identity(study), identity(changed)
    differing = {key for key in before if before[key] != after[key]}
    assert part in differing
    assert differing <= {part, "data"}


def test_the_default_warm_up_written_as_a_number_is_the_same_study() -> None:
    written = toy_study(pruning=Median(warmup_epochs=2, min_trials=4, startup_trials=5))  # of CHEAP.epochs = 5
    assert identity(toy_study(pruning=Median()))["pruning"] == identity(written)["pruning"]


def test_a_study_that_says_how_it_prunes_is_still_the_one_that_was_begun() -> None:
    """The hash of v1.2_xtrans and v1.3_cloak in EXPERIMENTS.md."""
    assert identity(toy_study(pruning=Median(warmup_epochs=2, min_trials=4)))["pruning"] == "74e18e5639a7"


def test_the_identity_does_not_change_with_the_budget() -> None:
    assert identity(study) == identity(toy_study(trials=99, keep=5, seeds=7, smoke=replace(SMOKE, epochs=1)))


def test_the_data_hash_sees_one_changed_example() -> None:
    assert data_hash(OtherData(), CHEAP) == data_hash(Toy(), CHEAP)
    assert data_hash(OtherData(noise=1e-6), CHEAP) != data_hash(Toy(), CHEAP)


def test_the_code_hash_is_that_of_the_task_and_of_what_makes_its_values() -> None:
    assert code_hash(Toy) != code_hash(OtherData)
    assert code_hash(Toy) != code_hash(Toy, (*HARNESS, *PROMOTION))
    assert all(list(PACKAGE.glob(pattern)) for pattern in (*HARNESS, *PROMOTION))


@dataclass(frozen=True)
class Reading(Toy):
    data: str | None = None  # a folder


def test_the_same_data_in_another_folder_is_the_same_data() -> None:
    here, there = toy_study(task=Reading(data="/here")), toy_study(task=Reading(data="/there"))
    assert identity(here) == identity(there)
