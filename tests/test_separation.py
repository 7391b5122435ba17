"""What separates from chance, on planted truths: F tests against scipy, naming in order, and abstaining."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from hpo.direction import Direction
from hpo.page.draw_separation import separation_bars
from hpo.page.findings import Trial
from hpo.page.foreign import collect_foreign, render_foreign
from hpo.page.observed import observations
from hpo.page.separation_words import flat_sentence, lead, limit_sentence
from hpo.separation.effects import single
from hpo.separation.permutation import basis, f_tests
from hpo.separation.responses import Observation, final_values, responses
from hpo.separation.stepwise import Separation, separation
from hpo.space import Distribution, choose, integer, log, uniform

Score = Callable[[Mapping[str, Any]], float]
KNOBS: dict[str, Distribution] = {name: uniform(0, 1) for name in "abcde"}


def drawn(space: Mapping[str, Distribution], trials: int, score: Score, *, noise: float = 1.0, seed: int = 0) -> list:
    """Observations of configurations that were drawn at random, with normal noise on their scores."""
    rng = np.random.default_rng(seed)
    trial_list = []
    for _ in range(trials):
        params = {name: value_in(entry, rng) for name, entry in space.items()}
        trial_list.append(Observation(params, score(params) + noise * rng.standard_normal(), {}))
    return trial_list


def value_in(entry: Distribution, rng: np.random.Generator) -> Any:
    if hasattr(entry, "choices"):
        return entry.choices[rng.integers(len(entry.choices))]
    if entry.log:
        return math.exp(rng.uniform(math.log(entry.low), math.log(entry.high)))
    return rng.uniform(entry.low, entry.high)


def names(result: Separation) -> list[tuple[str, ...]]:
    return [finding.names for finding in result.named]


def judged(trials: list, space: Mapping[str, Distribution] = KNOBS) -> Separation:
    return separation(trials, space, Direction.MINIMIZE, seed=0)


# -- the F test ------------------------------------------------------------------------------------------------------
def test_the_p_of_a_choice_is_that_of_a_one_way_analysis_of_variance() -> None:
    space = {"kind": choose("x", "y", "z")}
    trials = drawn(space, 20, lambda params: {"x": 0, "y": 0.5, "z": 1}[params["kind"]])
    values = np.array([trial.value for trial in trials])
    (test,) = f_tests(
        [single("kind", space["kind"], trials)], values[:, None], constant(20), 0.05, np.random.default_rng()
    )
    groups = [values[[trial.params["kind"] == kind for trial in trials]] for kind in "xyz"]
    assert test.p == pytest.approx(stats.f_oneway(*groups).pvalue, rel=1e-9)


@pytest.mark.parametrize("entry", [uniform(0, 1), log(1e-4, 1), integer(1, 900)], ids=["uniform", "log", "integer"])
def test_the_p_of_a_number_is_that_of_a_parabola_on_its_own_scale(entry: Distribution) -> None:
    trials = drawn({"x": entry}, 15, lambda params: params["x"])
    values = np.array([trial.value for trial in trials])
    x = np.array([trial.params["x"] for trial in trials])
    x = np.log(x) if entry.log else x
    rest = np.square(values - np.polyval(np.polyfit(x, values, 2), x)).sum()
    whole = np.square(values - values.mean()).sum()
    (test,) = f_tests([single("x", entry, trials)], values[:, None], constant(15), 0.05, np.random.default_rng())
    assert test.p == pytest.approx(stats.f.sf((whole - rest) / 2 / (rest / 12), 2, 12), rel=1e-6)
    assert 1 - test.variances.with_it / test.variances.without == pytest.approx(1 - rest / 12 / (whole / 14), rel=1e-6)


def test_the_line_is_the_quantile_of_the_smallest_p_by_chance() -> None:
    """Of one effect alone, p is uniform by chance; of ten independent ones the smallest is below 1 - (1 - alpha)^(1/10)
    with probability alpha."""
    space = {str(number): uniform(0, 1) for number in range(10)}
    trials = drawn(space, 60, lambda _: 0.0)
    values = np.array([trial.value for trial in trials])[:, None]
    effects = [single(name, entry, trials) for name, entry in space.items()]
    (one, *_), many = (
        f_tests(some, values, constant(60), 0.2, np.random.default_rng(1)) for some in (effects[:1], effects)
    )
    assert one.line == pytest.approx(0.2, abs=0.06)
    assert many[0].line == pytest.approx(1 - 0.8**0.1, abs=0.008)


def constant(trials: int) -> np.ndarray:
    return basis(np.ones((trials, 1)), np.zeros((trials, 0)))


# -- what a trial came to --------------------------------------------------------------------------------------------
def test_a_stopped_trial_gains_what_those_that_went_on_gained_and_one_without_a_score_is_the_worst() -> None:
    ended = [Observation({}, end, {0: end + 4, 1: end + gain}) for end, gain in ((1.0, 1.0), (2.0, 2.0), (3.0, 9.0))]
    trials = [
        *ended,
        Observation({}, None, {0: 9.0, 1: 7.0}),
        Observation({}, None, {0: 6.0}),
        Observation({}, None, {}),
    ]
    assert final_values(trials, Direction.MINIMIZE).tolist() == [1, 2, 3, 7 - 2, 6 - 4, 5]
    assert final_values(trials, Direction.MAXIMIZE).tolist()[-1] == 1


def test_the_two_responses_are_normal_scores_and_values_without_their_tails() -> None:
    trials = [Observation({}, value, {}) for value in (0.0, 1.0, 2.0, 3.0, 1000.0)]
    scores, clipped = responses(trials, Direction.MINIMIZE).T
    assert scores == pytest.approx(stats.norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9]))
    assert clipped.tolist() == [0, 1, 2, 3, 2 + 3 * 2]


def trial(number: int = 0, state: str = "complete", **more: Any) -> Trial:
    fields = {"value": 1.0, "params": {"a": 0.5}, "curve": {0: 1.0}, "reason": "", **more}
    return Trial(number=number, state=state, epochs=1, best_epoch=0, seconds=1.0, began=None, ended=None, **fields)


def test_a_failed_trial_says_something_only_where_it_diverged_or_had_a_score() -> None:
    diverged = trial(1, "failed", value=1.0, reason="diverged: loss is NaN")
    killed = trial(2, "failed", value=None, curve={}, reason="its worker died 3 times")
    killed_late = trial(3, "failed", reason="its worker died 3 times")
    running = trial(4, "running")
    seen = observations([trial(), diverged, killed, killed_late, running, trial(12, "pruned")], startup_trials=10)
    assert [(each.value, dict(each.curve)) for each in seen] == [
        (1.0, {0: 1.0}),
        (None, {}),
        (None, {0: 1.0}),
        (None, {0: 1.0}),
    ]
    assert [each.is_modelled for each in seen] == [False, False, False, True]


# -- naming ----------------------------------------------------------------------------------------------------------
def test_hyperparameters_are_named_in_the_order_of_what_they_explain_and_at_most_three() -> None:
    weights = {"d": 12.0, "b": 7.0, "c": 4.0, "a": 3.0}
    result = judged(drawn(KNOBS, 200, lambda params: sum(weight * params[name] for name, weight in weights.items())))
    assert names(result) == [("d",), ("b",), ("c",)]
    assert [finding.names for finding in result.rest] == [("a",), ("e",)]
    whole = sum(weight**2 / 12 for weight in weights.values()) + 1
    assert [finding.explained for finding in result.named] == pytest.approx(
        [12 / whole, 49 / 12 / whole, 16 / 12 / whole], abs=0.08
    )
    assert all(finding.p < finding.line and finding.explained > finding.needed for finding in result.named)


def test_five_useless_hyperparameters_are_not_named() -> None:
    """In 5 of 100 studies one is; of 60, 8 or more with a chance of 1 %."""
    flat = [judged(drawn(KNOBS, 24, lambda _: 0.0, seed=seed)).is_flat for seed in range(60)]
    assert sum(flat) > 52


def test_a_useless_one_that_goes_along_with_the_driver_is_not_named_beside_it() -> None:
    rng = np.random.default_rng(0)
    trials = []
    for number in range(50):
        near = 1 / (1 + number / 5)  # a sampler draws all closer, to a = 0 and b = 1
        params = {"a": near * rng.random(), "b": 1 - near * rng.random(), "c": rng.random()}
        trials.append(Observation(params, 6 * params["a"] + 0.5 * rng.standard_normal(), {}))
    assert names(judged(trials, {name: KNOBS[name] for name in "abc"})) == [("a",)]


@pytest.mark.parametrize("seed", range(10))
def test_what_a_parabola_leaves_of_a_steep_valley_is_not_ascribed_to_one_that_goes_along(seed: int) -> None:
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(60):
        near = 1 / (1 + number / 10)
        place = near * (2 * rng.random() - 1)
        params = {"a": 0.5 + place / 2, "b": near * rng.random(), "c": rng.random()}
        trials.append(Observation(params, 10 * abs(place) + 0.3 * rng.standard_normal(), {}, number >= 10))
    assert names(judged(trials, {name: KNOBS[name] for name in "abc"})) == [("a",)]


def test_two_that_matter_only_together_are_named_as_a_pair() -> None:
    result = judged(drawn(KNOBS, 60, lambda params: 8 * (params["b"] - 0.5) * (params["d"] - 0.5), noise=0.3))
    assert names(result) == [("b", "d")]
    assert result.names == {"b", "d"}
    assert {finding.names[0] for finding in result.rest} == set("ace")
    kinds: dict[str, Distribution] = {"k": choose("x", "y"), **KNOBS}
    mixed = drawn(kinds, 60, lambda params: (4 if params["k"] == "x" else -4) * (params["d"] - 0.5), noise=0.3, seed=1)
    assert names(judged(mixed, kinds)) == [("k", "d")]


def test_a_driver_whose_bad_half_is_stopped_is_named() -> None:
    trials = [
        each if each.params["a"] < 0.5 else Observation(each.params, None, {0: each.value + 1})
        for each in drawn(KNOBS, 24, lambda params: 7 * params["a"])
    ]
    assert names(judged(trials)) == [("a",)]


def test_a_conditional_one_is_judged_where_it_is_and_its_switch_by_what_it_switches() -> None:
    space: dict[str, Distribution] = {"switch": choose("on", "off"), "inner": uniform(0, 1), "a": uniform(0, 1)}

    def with_condition(score: Score) -> list[Observation]:
        whole = [each.params for each in drawn(space, 60, lambda _: 0.0)]
        present = [{n: v for n, v in p.items() if n != "inner" or p["switch"] == "on"} for p in whole]
        rng = np.random.default_rng(1)
        return [Observation(params, score(params) + 0.3 * rng.standard_normal(), {}) for params in present]

    driver = with_condition(lambda params: 3 * params.get("inner", 0.5))
    assert names(judged(driver, space)) == [("inner",)]
    switch = with_condition(lambda params: 3.0 * ("inner" in params))
    assert names(judged(switch, space)) == [("switch",)]


def test_a_maximized_score_gives_the_same() -> None:
    trials = drawn(KNOBS, 30, lambda params: 9 * params["a"])
    trials[3] = replace(trials[3], value=None)
    turned = [replace(each, value=None if each.value is None else -each.value) for each in trials]
    least, most = judged(trials), separation(turned, KNOBS, Direction.MAXIMIZE, seed=0)
    assert [(f.names, pytest.approx(f.p)) for f in least.named] == [(f.names, f.p) for f in most.named]
    assert least == judged(trials), "and the same trials the same again"


@pytest.mark.parametrize("trials", [0, 1, 2, 3, 4])
def test_too_few_trials_say_so_and_nothing_of_the_hyperparameters(trials: int) -> None:
    result = judged(drawn(KNOBS, trials, lambda params: params["a"]))
    assert not result.named
    assert not result.is_flat
    assert "too few" in lead(result)
    assert separation_bars(result) is None


def test_what_never_changed_is_not_tested_and_equal_scores_are_flat() -> None:
    trials = [replace(each, params={**each.params, "b": 0.5}) for each in drawn(KNOBS, 24, lambda p: 9 * p["a"])]
    result = judged(trials)
    assert "b" not in {finding.names[0] for finding in (*result.named, *result.rest)}
    alike = judged([replace(each, value=1.0) for each in trials])
    assert alike.is_flat
    assert lead(alike) == "Nothing separates: all 24 trials scored alike."
    assert "all 24 trials scored alike" in flat_sentence(alike)


def test_thousands_of_trials_and_many_hyperparameters_stay_quick() -> None:
    began = time.process_time()
    assert names(judged(drawn(KNOBS, 3000, lambda params: params["a"])))[0] == ("a",)
    wide = {f"k{number}": uniform(0, 1) for number in range(100)}
    assert names(judged(drawn(wide, 60, lambda params: 20 * params["k7"]), wide))[0] == ("k7",)
    assert time.process_time() - began < 10


def test_the_page_of_a_study_of_plain_optuna_says_that_nothing_separates() -> None:
    study = optuna.create_study()
    study.add_trials(
        optuna.trial.create_trial(value=each.value, params=dict(each.params), distributions=dict(KNOBS))
        for each in drawn(KNOBS, 24, lambda _: 0.0)
    )
    page = render_foreign(collect_foreign(study, {}))
    assert "In the sweep nothing separates: its 24 trials" in page
    assert "Both put" not in page


# -- in words --------------------------------------------------------------------------------------------------------
def test_the_words_for_what_separates_and_for_nothing() -> None:
    clear = judged(drawn(KNOBS, 24, lambda params: 9 * params["c"]))
    assert lead(clear).startswith("c separates: ")
    assert "adjusted R²" in lead(clear)
    assert not flat_sentence(clear)
    assert "24 trials no measure can tell" in limit_sentence(clear)
    flat = judged(drawn(KNOBS, 24, lambda _: 0.0))
    assert lead(flat).startswith("Nothing separates: these 24 trials do not tell the hyperparameters apart.")
    assert "nothing separates" in flat_sentence(flat)
