"""Spaces: what is refused and how it is said, what is drawn, and what a fingerprint tells apart."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.contract.space_entries import check_space
from hpo.plain import fingerprint
from hpo.recipe import Recipe
from hpo.space import (
    choose,
    contains,
    defaults,
    describe,
    integer,
    known_names,
    log,
    put,
    suggest,
    uniform,
    when,
)
from hpo.task import Fidelity


@dataclass(frozen=True)
class Net:
    """Stands for a task: fields with defaults, and one that checks itself."""

    width: int = 16
    attention: bool = False
    heads: int = 4
    gain: float = 1  # a whole number where others are meant, too
    name: str = "relu"
    gate: float | None = None

    def __post_init__(self) -> None:
        if self.width % 8:
            raise ValueError(f"task.width must be a multiple of 8; got {self.width}")
        if self.attention and self.heads not in (2, 4, 8):
            raise ValueError(f"task.heads must be 2, 4 or 8; got {self.heads}")


OWNERS = {"task": Net(), "recipe": Recipe()}
SPACE = {
    "recipe.lr": log(1e-4, 1e-1),
    "task.width": integer(8, 32, step=8),
    "task.attention": choose(False, True),
    "task.heads": when("task.attention", True, choose(2, 4, 8)),
    "task.gain": uniform(0, 2),
}

# -- refused by the constructors: kind, given, and the words that say what is allowed -------------------------------
BAD = [
    (lambda: log(0, 1), "log: low must be above 0; got low=0, high=1"),
    (lambda: log(-1.0, 1), "log: low must be above 0; got low=-1.0, high=1"),
    (lambda: log(1, 1), "log: low must be below high; got low=1, high=1"),
    (lambda: log(2, 1), "log: low must be below high; got low=2, high=1"),
    (lambda: log(math.nan, 1), "log: bounds must be finite numbers; got low=nan, high=1"),
    (lambda: log(1e-3, math.inf), "log: bounds must be finite numbers; got low=0.001, high=inf"),
    (lambda: log("1e-3", 1), "log: bounds must be finite numbers; got low='1e-3', high=1"),
    (lambda: log(False, True), "log: bounds must be finite numbers; got low=False, high=True"),
    (lambda: uniform(0, math.nan), "uniform: bounds must be finite numbers; got low=0, high=nan"),
    (lambda: uniform(-math.inf, 0), "uniform: bounds must be finite numbers; got low=-inf, high=0"),
    (lambda: uniform(1, 0), "uniform: low must be below high; got low=1, high=0"),
    (lambda: uniform(None, 0), "uniform: bounds must be finite numbers; got low=None, high=0"),
    (lambda: uniform(-1.7e308, 1.7e308), "uniform: bounds must lie within +-1e+300; got low=-1.7e+308, high=1.7e+308"),
    (lambda: uniform(0, 10**400), "uniform: bounds must lie within +-1e+300; got low=0, high=1000"),
    (lambda: integer(0, 1.5), "integer: bounds and step must be whole numbers; got low=0, high=1.5, step=1"),
    (lambda: integer(0, 8.0), "integer: bounds and step must be whole numbers; got low=0, high=8.0, step=1"),
    (lambda: integer(3, 3), "integer: low must be below high; got low=3, high=3"),
    (lambda: integer(0, 10, step=3), "integer: step must be at least 1 and divide high - low; got low=0, hi"),
    (lambda: integer(0, 10, step=0), "integer: step must be at least 1"),
    (lambda: integer(0, 10, step=-5), "integer: step must be at least 1"),
    (lambda: integer(0, 10, step=True), "integer: bounds and step must be whole numbers; got low=0, high=10, step=Tr"),
    (lambda: integer(0, 2**53 + 1), "integer: bounds must lie within +-2**53, which a storage keeps exactly; got low="),
    (lambda: choose(), "choose: needs at least one choice; got none"),
    (lambda: choose(1, 2, 1), "choose: choices must differ; 1 stands twice in (1, 2, 1)"),
    (lambda: choose(1, True), "choose: choices must differ; True stands twice in (1, True)"),
    (lambda: choose(0.0, False), "choose: choices must differ; False stands twice"),
    (lambda: choose(1, 1.0), "choose: choices must differ; 1.0 stands twice"),
    (lambda: choose(math.nan), "choose: a choice is a finite number, a string, a boolean or None; got nan"),
    (lambda: choose(1, math.inf), "choose: a choice is a finite number, a string, a boolean or None; got inf"),
    (lambda: choose((1, 2), (3, 4)), "choose: a choice is a finite number, a string, a boolean or None; got (1, 2)"),
    (lambda: choose([8, 16]), "choose: a choice is a finite number, a string, a boolean or None; got [8, 16]"),
    (lambda: when("task.attention", True, 3), "when: the third argument must be log, uniform, integer or choose; got"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:60] for _, message in BAD])
def test_a_range_that_cannot_be_drawn_from_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=r"^\w+: ") as error:
        make()
    assert message in str(error.value)


# -- refused by check_space: what each message must contain --------------------------------------------------------
UNFIT = [
    ({}, "space: must map at least one hyperparameter to its range; got {}"),
    ([("recipe.lr", log(1e-4, 1))], "space: must map at least one hyperparameter to its range; got [("),
    ({"recipe.rl": log(1e-4, 1)}, "space: unknown hyperparameter 'recipe.rl'; did you mean 'recipe.lr'?"),
    ({"task.widht": integer(8, 32, step=8)}, "'task.widht'; did you mean 'task.width'?"),
    ({"lr": log(1e-4, 1)}, "space: unknown hyperparameter 'lr'; "),
    ({"zzz": log(1e-4, 1)}, "space: unknown hyperparameter 'zzz'; known: task.width, task.attention"),
    ({"": log(1e-4, 1)}, "space: unknown hyperparameter ''; known: "),
    ({7: log(1e-4, 1)}, "space: unknown hyperparameter 7; known: "),
    ({"task.__class__": choose(1)}, "space: unknown hyperparameter 'task.__class__'"),
    ({"recipe.lr": (1e-4, 1)}, "space['recipe.lr']: must be log, uniform, integer, choose or when; got (0.0001, 1)"),
    ({"recipe.lr": log(1e-2, 1)}, "space['recipe.lr']: the default 0.001 must lie in the space; allowed: log(0.01, 1"),
    ({"task.width": integer(24, 64, step=8)}, "the default 16 must lie in the space; allowed: integer(24, 64, step=8)"),
    ({"task.width": integer(8, 36, step=4)}, "space['task.width']: 36 lies in the space but is refused: task.width mu"),
    ({"task.width": choose(8.0, 16.0)}, "the default 16 must lie in the space; allowed: choose(8.0, 16.0)"),
    ({"task.attention": choose(0, 1)}, "the default False must lie in the space; allowed: choose(0, 1)"),
    ({"recipe.warmup": uniform(0, 1)}, "space['recipe.warmup']: 1.0 lies in the space but is refused: recipe.warmup"),
    ({"recipe.batch_size": uniform(8, 64)}, "8.0 lies in the space but is refused: recipe.batch_size must be a whole"),
    ({"recipe.precision": choose("fp32", "fp8")}, "'fp8' lies in the space but is refused: recipe.precision must be"),
    (
        {"task.heads": when("task.attention", True, choose(2, 4))},
        "space['task.heads']: its condition names 'task.attention', which is not searched; known: task.heads",
    ),
    (
        {"task.attention": choose(False, True), "task.heads": when("task.atention", True, choose(2, 4))},
        "its condition names 'task.atention', which is not searched; did you mean 'task.attention'?",
    ),
    (
        {"task.heads": when("task.attention", True, choose(2, 4)), "task.attention": choose(False, True)},
        "space['task.heads']: must stand after 'task.attention', which it depends on",
    ),
    ({"task.attention": when("task.attention", True, choose(False, True))}, "must stand after 'task.attention'"),
    (
        {"task.attention": choose(False, True), "task.heads": when("task.attention", "on", choose(2, 4))},
        "its condition task.attention = 'on' can never hold; allowed: choose(False, True)",
    ),
    (
        {"task.attention": choose(False, True), "task.heads": when("task.attention", 1, choose(2, 4))},
        "its condition task.attention = 1 can never hold",
    ),
    (
        {"task.gain": uniform(0, 2), "task.heads": when("task.gain", 1.0, choose(2, 4))},
        "its condition names 'task.gain', which is searched by uniform(0.0, 2.0) and hardly ever takes 1.0; use choose",
    ),
    (
        {"task.attention": choose(False, True), "task.heads": when("task.attention", True, choose(4, 5))},
        "space['task.heads']: 5 lies in the space but is refused: task.heads must be 2, 4 or 8; got 5",
    ),
    ({"task.gain": FloatDistribution(math.nan, 1.0)}, "space['task.gain']: bounds must be finite numbers; got low=nan"),
    ({"task.width": CategoricalDistribution((16, 16))}, "space['task.width']: choices must differ; 16 stands twice"),
]


@pytest.mark.parametrize(("space", "message"), UNFIT, ids=[message[:60] for _, message in UNFIT])
def test_a_space_that_no_study_can_be_run_with_is_refused(space, message: str) -> None:
    with pytest.raises(ValueError, match="space") as error:
        check_space(space, OWNERS)
    assert message in str(error.value)


def test_a_sound_space_passes_conditional_and_plain_and_of_optunas_own_distributions() -> None:
    check_space(SPACE, OWNERS)
    check_space(
        {
            "task.gain": FloatDistribution(0, 2, step=0.25),
            "task.heads": IntDistribution(1, 64, log=True),
            "recipe.precision": CategoricalDistribution(("fp32", "bf16")),
        },
        OWNERS,
    )
    check_space({"task.gate": choose(None, 0.5), "task.name": choose("relu", "gelu")}, OWNERS)


finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=3), st.none())


def attempt(make, *arguments):
    """What is made and nothing, or nothing and what the refusal says. Any other error than ValueError escapes."""
    try:
        return make(*arguments), ""
    except ValueError as error:
        return None, str(error)


@given(make=st.sampled_from([log, uniform, integer]), low=anything, high=anything)
def test_whatever_the_bounds_they_are_refused_by_name_or_can_be_drawn_from(make, low, high) -> None:
    distribution, said = attempt(make, low, high)
    if distribution is None:
        assert said.startswith(f"{make.__name__}: ")
        assert repr(low) in said
        assert repr(high) in said
        return
    assert contains(distribution, low)
    assert contains(distribution, high)
    drawn = optuna.samplers.RandomSampler(seed=0).sample_independent(None, None, "x", distribution)
    assert contains(distribution, drawn)


@given(choices=st.lists(anything, max_size=5))
def test_whatever_the_choices_they_are_refused_or_each_can_be_told_from_the_others(choices) -> None:
    distribution, said = attempt(choose, *choices)
    if distribution is None:
        assert said.startswith("choose: ")
        return
    for index, choice in enumerate(choices):
        assert contains(distribution, choice)
        assert distribution.to_internal_repr(choice) == index
    assert len({repr(choice) for choice in choices}) == len(choices)


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        (uniform(0, 1), [0, 1, 0.5, np.float64(0.25)], [-1e-9, 1.1, math.nan, math.inf, True, "0.5", None]),
        (integer(2, 8, step=3), [2, 5, 8], [3, 1, 11, 2.0, True, "5", None]),
        (choose(True, "on", None), [True, "on", None], [1, False, 1.0, "off", 0]),
        (FloatDistribution(0, 0.3, step=0.1), [0, 0.1, 0.2, 0.3], [0.05, 0.25, 0.4]),
    ],
)
def test_what_lies_in_a_distribution(distribution, inside, outside) -> None:
    assert [value for value in inside if not contains(distribution, value)] == []
    assert [value for value in outside if contains(distribution, value)] == []


# -- put and defaults ----------------------------------------------------------------------------------------------
def test_values_reach_the_fields_they_are_named_after_and_nothing_else() -> None:
    owners = put({"task.width": 24, "recipe.lr": 0.5}, OWNERS)
    assert owners == {"task": Net(width=24), "recipe": Recipe(lr=0.5)}
    assert put({}, OWNERS) == OWNERS
    with pytest.raises(ValueError, match=r"unknown hyperparameter 'recipe\.learning_rate'; "):
        put({"recipe.learning_rate": 1}, OWNERS)
    with pytest.raises(ValueError, match=r"did you mean 'recipe\.batch_size'"):
        put({"recipe.batchsize": 1}, OWNERS)


@given(name=st.text(max_size=20).filter(lambda name: name not in known_names(OWNERS)))  # it tries words of the code
def test_no_name_but_a_known_one_is_put(name: str) -> None:
    with pytest.raises(ValueError, match="unknown hyperparameter"):
        put({name: 1}, OWNERS)


def test_defaults_leave_out_what_their_own_conditions_switch_off() -> None:
    assert defaults(SPACE, OWNERS) == {"recipe.lr": 1e-3, "task.width": 16, "task.attention": False, "task.gain": 1}
    on = {**OWNERS, "task": Net(attention=True)}
    assert defaults(SPACE, on) == {
        "recipe.lr": 1e-3,
        "task.width": 16,
        "task.attention": True,
        "task.heads": 4,
        "task.gain": 1,
    }


# -- suggest -------------------------------------------------------------------------------------------------------
def test_every_parameter_is_suggested_and_a_conditional_one_where_its_condition_holds() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(30):
        trial = study.ask()
        values = suggest(trial, SPACE)
        assert values == trial.params
        assert ("task.heads" in values) == values["task.attention"]
        put(values, OWNERS)
        seen.add(values.get("task.heads"))
    assert seen == {None, 2, 4, 8}


def test_a_chain_of_conditions_holds_only_where_every_link_does() -> None:
    space = {
        "task.attention": choose(False, True),
        "task.heads": when("task.attention", True, choose(4, 8)),
        "task.gain": when("task.heads", 8, uniform(0, 2)),
    }
    check_space(space, OWNERS)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        values = suggest(study.ask(), space)
        assert ("task.gain" in values) == (values.get("task.heads") == 8)


def test_step_and_log_of_optunas_own_distributions_are_kept() -> None:
    space = {"task.gain": FloatDistribution(0, 2, step=0.25), "task.heads": IntDistribution(1, 1000, log=True)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), space) for _ in range(50)]
    assert all(values["task.gain"] % 0.25 == 0 for values in drawn)
    assert sum(values["task.heads"] <= 32 for values in drawn) > 15, "half of the draws, were they uniform: 3 in 100"


def test_a_whole_number_default_of_a_float_is_the_same_value_before_and_after_it_was_stored() -> None:
    """Else the resumed default trial, read back as 1.0, is "another run" than the one that was begun with 1."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(defaults(SPACE, OWNERS))
    trial = study.ask()
    first = suggest(trial, SPACE)
    again = suggest(optuna.trial.Trial(study, trial._trial_id), SPACE)
    assert repr(first) == repr(again)
    assert repr(first["task.gain"]) == "1.0"


@pytest.mark.parametrize("known", range(5))
@pytest.mark.parametrize("finished", [0, 15])
def test_what_a_parameter_draws_does_not_depend_on_which_are_drawn_already(known: int, finished: int) -> None:
    """A process killed between two suggestions leaves a trial with some: the rest must come out as if it had lived.
    With 15 trials behind it, TPE draws what it can jointly."""

    def sampler(*names: str) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(seed=hash(names) % 2**32, multivariate=True, group=True)

    def draw(upto: int) -> dict:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for value in range(finished):
            trial = study.ask()
            suggest(trial, SPACE)
            study.tell(trial, value)
        study.sampler = sampler()
        trial = study.ask()
        suggest(trial, dict(list(SPACE.items())[:upto]), sampler)
        study.sampler = sampler()
        return suggest(optuna.trial.Trial(study, trial._trial_id), SPACE, sampler)

    assert draw(known) == draw(0)


# -- fingerprints --------------------------------------------------------------------------------------------------
def test_a_fingerprint_tells_apart_whatever_changes_a_result() -> None:
    values = [
        log(1e-4, 0.12345678),
        log(1e-4, 0.12345679),
        uniform(1e-4, 0.12345678),
        FloatDistribution(0, 1),
        FloatDistribution(0, 1, step=0.5),
        IntDistribution(1, 8),
        IntDistribution(1, 8, log=True),
        integer(0, 8),
        integer(0, 8, step=2),
        choose(1, 2),
        choose(2, 1),
        choose(1.0, 2),
        choose("1", "2"),
        choose(True, 2),
        when("a", True, choose(1, 2)),
        when("a", 1, choose(1, 2)),
        when("b", True, choose(1, 2)),
        Net(),
        Net(width=24),
        Recipe(),
        Recipe(lr=1),
        Recipe(lr=1.0),
        Recipe(patience=1),
        None,
        "None",
        (1, 2),
        (2, 1),
        {"a": 1},
        {"a": 1, "b": 1},
        frozenset("ab"),
        frozenset("abc"),
        Fidelity(size=8, train=8, val=8, epochs=1),
        Fidelity(size=8, train=8, val=8, epochs=1, fixed={"task.width": 8}),
    ]
    assert len({fingerprint(value) for value in values}) == len(values)


@given(low=finite, high=finite)
def test_a_description_is_exact(low: float, high: float) -> None:
    if not (low < high and max(abs(low), abs(high)) <= 1e300):
        return
    assert eval(describe(uniform(low, high)), {"uniform": uniform}) == uniform(low, high)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    """Sets and strings are iterated in another order under another PYTHONHASHSEED."""
    code = (
        "from hpo.plain import fingerprint; from hpo.space import *; import dataclasses\n"
        "T = dataclasses.make_dataclass('T', [('names', frozenset), ('x', dict)], frozen=True)\n"
        "print(fingerprint(T(frozenset(['red', 'green', 'blue', 'rgb']), {'b': 1, 'a': log(1e-4, 1)})))"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(prints) == 1
    assert len(prints.pop().strip()) == 12
