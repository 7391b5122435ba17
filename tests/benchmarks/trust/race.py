"""What promotions deliver, on planted truths: races of the product, with made-up runs, judged by the product.

A world has the true mean of each configuration, with a spread of 1; the first is the default. More is better.

Shape suffixes: K configurations, G scenes, U test units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import special

from hpo.promotion.candidate import DEFAULT, Candidate, RunKey
from hpo.promotion.race import rounds_of
from hpo.promotion.results import Verdict
from hpo.promotion.runs import FinishedRun
from hpo.promotion.selection import Selection
from hpo.promotion.verdict import judge
from hpo.study import StudySpec
from hpo.trial.record import Outcome
from tests.benchmarks.trust.experiment import Experiment, Row
from tests.toy import Toy, toy_study

LUCK = 0.25  # standard deviation of a run's luck, which its validation and its test share
UNITS, UNIT_SD = 30, 0.1  # independent test units, and what a configuration adds to each: seeds rule
FOLDS, SCENES_A_FOLD, SCENE_SD, CROPS_SD = 5, 3, 0.5, 0.1  # the same where scenes are few, and each run has a fold
LOOKS = (3, 5, 8, 12, 20)  # seeds of the last round, raised after each look


@dataclass(frozen=True)
class Few(Toy):
    """Few scenes, in folds."""

    fold: int = 0
    direction = "maximize"
    cluster = "scene"
    folds = FOLDS


@dataclass(frozen=True)
class Many(Toy):
    """Many independent units."""

    direction = "maximize"


def study_of(task: Toy) -> StudySpec:
    overfit = replace(Toy.overfit, go=0.3, caution=0.05)
    type(task).overfit = overfit
    return toy_study(task=task)


FEW, MANY = study_of(Few()), study_of(Many())


@dataclass(frozen=True)
class World:
    """Configurations with what makes their runs."""

    truth_K: np.ndarray
    cheap_K: np.ndarray
    run: Callable[[int, int], Outcome]  # a configuration, a seed index


def truths(rng: np.random.Generator, trials: int) -> np.ndarray:
    """Of the default, which is in the best fifth, and of random trials: [1 + trials]."""
    default = special.ndtri(rng.uniform(0.8, 1.0))
    return np.array([default, *rng.normal(size=trials)])


def cheap(rng: np.random.Generator, truth_K: np.ndarray, rho: float) -> np.ndarray:
    """Cheap values with this correlation to the truth."""
    return rho * truth_K + np.sqrt(1 - rho**2) * rng.normal(size=len(truth_K))


def many_units(rng: np.random.Generator, truth_K: np.ndarray, luck: float = LUCK) -> Callable[[int, int], Outcome]:
    """Runs on the same independent units: what is left of an example's difficulty differs by configuration."""
    units_KU = rng.normal(0, 1.0, UNITS) + rng.normal(0, UNIT_SD, (len(truth_K), UNITS))
    validation_K = rng.normal(0, UNIT_SD / np.sqrt(UNITS), len(truth_K))
    luck_KS = rng.normal(0, luck, (len(truth_K), 64))

    def run(configuration: int, seed: int) -> Outcome:
        level = truth_K[configuration] + luck_KS[configuration, seed]
        return _outcome(level + validation_K[configuration], level + units_KU[configuration], None)

    return run


def few_scenes(rng: np.random.Generator, truth_K: np.ndarray) -> Callable[[int, int], Outcome]:
    """Run r is tested on the scenes of fold r, and validated on those of the next fold."""
    scenes_KFG = rng.normal(0, 1.0, (FOLDS, SCENES_A_FOLD)) + rng.normal(
        0, SCENE_SD, (len(truth_K), FOLDS, SCENES_A_FOLD)
    )
    luck_KS = rng.normal(0, LUCK, (len(truth_K), 64))
    crops_KSG = rng.normal(0, CROPS_SD, (len(truth_K), 64, 2, SCENES_A_FOLD))

    def run(configuration: int, seed: int) -> Outcome:
        level = truth_K[configuration] + luck_KS[configuration, seed]
        crops_2G = crops_KSG[configuration, seed]
        fold, following = seed % FOLDS, (seed + 1) % FOLDS
        validation = float((scenes_KFG[configuration, following] + crops_2G[0]).mean())
        return _outcome(level + validation, level + scenes_KFG[configuration, fold] + crops_2G[1], SCENES_A_FOLD)

    return run


def _outcome(validation: float, units_U: np.ndarray, clusters: int | None) -> Outcome:
    mean = float(units_U.mean())
    return Outcome(
        "complete",
        value=float(validation),
        test={"mse": mean},
        blocks={"mse": tuple(units_U)},
        examples=len(units_U),
        clusters=clusters,
    )


def promoted(study: StudySpec, world: World, keep: int, seeds: int, look: int = 1) -> Verdict:
    """The verdict on the best cheap configurations of a world."""
    best = 1 + np.argsort(-world.cheap_K[1:])[:keep]
    candidates = (Candidate(DEFAULT, {"number": 0}, 0, None), *map(_candidate, best.tolist()))
    number = {candidate.key: candidate.params["number"] for candidate in candidates}
    rounds = rounds_of(keep, seeds, folds=study.task.folds)
    selection = Selection(candidates, keep, seeds, len(world.truth_K), rounds, look=look)
    race = selection.race(study.direction)
    runs: dict[RunKey, FinishedRun] = {}
    while missing := [key for key in race.runs({key: run.value for key, run in runs.items()}) if key not in runs]:
        for key in missing:
            runs[key] = FinishedRun(len(runs), world.run(number[key.candidate], key.seed_index))
    return judge(study, selection, runs, ())


def _candidate(number: int) -> Candidate:
    return Candidate(f"trial {number}", {"number": number}, number, None)


def _truth(world: World, name: str) -> float:
    return float(world.truth_K[0 if name == DEFAULT else int(name.removeprefix("trial "))])


def _regret(world: World, verdict: Verdict) -> float:
    return float(world.truth_K.max()) - _truth(world, verdict.winner)


def _covers(world: World, verdict: Verdict) -> float:
    assert verdict.leader is not None
    assert verdict.leading is not None
    lead, truth = verdict.leading.ahead_of_default, _truth(world, verdict.leader) - world.truth_K[0]
    assert lead is not None
    return float(lead.low <= truth <= lead.high)


def _beats(verdict: Verdict) -> float:
    return float(verdict.winner != DEFAULT)


def few(seed: int) -> Mapping[str, float]:
    """16 scenes (5 folds of 3), 24 runs, race 7>3>1."""
    rng = np.random.default_rng(seed)
    truth_K = truths(rng, 24)
    world = World(truth_K, cheap(rng, truth_K, 0.6), few_scenes(rng, truth_K))
    verdict = promoted(FEW, world, 7, 4)
    equal_K = np.zeros(25)
    equal = World(equal_K, rng.normal(size=25), few_scenes(rng, equal_K))
    return {
        "race-16-scenes-false-beats": _beats(promoted(FEW, equal, 7, 4)),
        "race-16-scenes-lead-covered": _covers(world, verdict),
        "race-16-scenes-regret": _regret(world, verdict),
    }


def many(seed: int) -> Mapping[str, float]:
    """Independent units, 24 runs, race 11>4>1."""
    rng = np.random.default_rng(seed)
    truth_K = truths(rng, 24)
    world = World(truth_K, cheap(rng, truth_K, 0.6), many_units(rng, truth_K))
    return {"race-regret-24-runs": _regret(world, promoted(MANY, world, 11, 3))}


def all_equal(seed: int) -> Mapping[str, float]:
    """All configurations are equal, and seeds are raised until one beats the default."""
    rng = np.random.default_rng(seed)
    truth_K = np.zeros(25)
    world = World(truth_K, rng.normal(size=25), many_units(rng, truth_K))
    first = promoted(MANY, world, 3, 2)
    looks = [promoted(MANY, world, 3, seeds, look) for look, seeds in enumerate(LOOKS, start=1)]
    return {
        "race-false-beats-keep-3": _beats(first),
        "race-false-beats-keep-7": _beats(promoted(MANY, world, 7, 3)),
        "race-false-beats-seeds-raised": max(map(_beats, looks)),
        "race-tie-exports-default": _exports_default(first),
    }


def _exports_default(verdict: Verdict) -> float:
    """1 where the default is exported; NaN where the lead is no tie."""
    assert verdict.leading is not None
    assert verdict.leading.ahead_of_default is not None
    return np.nan if verdict.leading.ahead_of_default.excludes_zero else float(verdict.winner == DEFAULT)


def power(seed: int) -> Mapping[str, float]:
    """One configuration leads by 4 standard errors of a lead over 3 seeds, the others not at all; 12 runs."""
    rng = np.random.default_rng(seed)
    truth_K = np.zeros(25)
    truth_K[1] = 4 * LUCK * np.sqrt(2 / 3)
    cheap_K = rng.normal(size=25)
    cheap_K[1] = 9.0
    world = World(truth_K, cheap_K, many_units(rng, truth_K))
    return {"race-power-4-se-12-runs": _beats(promoted(MANY, world, 4, 2))}


def optimism(seed: int) -> Mapping[str, float]:
    """60 trials, and luck of half the spread in the cheap and in the full runs; three seeds report."""
    rng = np.random.default_rng(seed)
    truth_K = truths(rng, 60)
    world = World(truth_K, truth_K + rng.normal(0, 0.5, 61), many_units(rng, truth_K, luck=0.5))
    verdict = promoted(MANY, world, 4, 3)
    winning = verdict.winning
    assert winning.test is not None
    return {"race-optimism-of-the-winner": winning.test.mean - _truth(world, verdict.winner)}


def experiments() -> tuple[Experiment, ...]:
    """The rows of the race."""
    value = partial(Row, is_share=False)
    return (
        Experiment(
            few,
            (
                Row("race-16-scenes-false-beats", most=0.04),
                Row("race-16-scenes-lead-covered", least=0.95),
                value("race-16-scenes-regret", most=0.26),
            ),
            repeats=400,
        ),
        Experiment(many, (value("race-regret-24-runs", most=0.10),), repeats=400),
        Experiment(
            all_equal,
            (
                Row("race-false-beats-keep-3", most=0.025),
                Row("race-false-beats-keep-7", most=0.025),
                Row("race-false-beats-seeds-raised", most=0.025),
                Row("race-tie-exports-default", least=0.99),
            ),
            repeats=1000,
        ),
        Experiment(power, (Row("race-power-4-se-12-runs", least=0.75),), repeats=600),
        Experiment(optimism, (value("race-optimism-of-the-winner", most=0.05),), repeats=1000),
    )
