"""What every task that is shipped owes, on every study file and the toy, at the smoke fidelity."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from hpo.checking import overfit
from hpo.checking.data import check_splits
from hpo.checking.promotable import check_promotable
from hpo.checking.repeatable import check_repeatable
from hpo.checking.smoke import check_rows, check_same_run, smoke_run
from hpo.engine.evaluation import baseline_columns, evaluate, scores_of
from hpo.engine.training import fit
from hpo.seeds import generator
from hpo.space import contains, distribution_of
from hpo.study import StudySpec
from hpo.task import Check, Moment, Split, example_hash
from hpo.verbs.load import load_study
from tests.toy import study as toy

FILES = sorted(Path(__file__).parent.parent.glob("studies/[!_]*.py"))
NAMES = ["toy", *(path.stem for path in FILES)]


@functools.cache
def named(name: str) -> StudySpec:
    return toy if name == "toy" else load_study(str(next(path for path in FILES if path.stem == name)))


@pytest.fixture(params=NAMES)
def study(request: pytest.FixtureRequest) -> StudySpec:
    return named(request.param)


def _one_each() -> list[str]:
    """A study for every task: others ask other questions of the same one."""
    return list({type(named(name).task): name for name in reversed(NAMES)}.values())


@pytest.fixture(params=_one_each())
def one_study(request: pytest.FixtureRequest) -> StudySpec:
    return named(request.param)


def said(study: StudySpec, *found: Check) -> None:
    """Every one of these checks says go; what it saw otherwise."""
    assert [(check.name, check.seen) for check in found if check.status != "go"] == []


def test_there_is_a_study_for_every_objective() -> None:
    folders = (path.parent.name for path in Path(__file__).parent.parent.glob("objectives/*/task.py"))
    assert set(folders) <= {type(named(name).task).__module__.split(".")[-2] for name in NAMES}


def test_the_defaults_lie_in_the_space(study: StudySpec) -> None:
    defaults = study.defaults()
    outside = [name for name, value in defaults.items() if not contains(distribution_of(study.space[name]), value)]
    assert outside == []


def test_each_fidelity_costs_more_than_the_one_before(study: StudySpec) -> None:
    smoke, cheap, full = ((one.train * one.epochs) for one in (study.smoke, study.cheap, study.full))
    assert smoke < cheap < full


def test_the_rehearsal_is_a_study_too(study: StudySpec) -> None:
    rehearsed = study.as_smoke()
    assert rehearsed.cheap == rehearsed.full == rehearsed.smoke
    assert rehearsed.trials <= 4


def test_the_loss_is_made_of_finite_scalars_with_a_gradient(study: StudySpec) -> None:
    task, recipe = study.configure({}, study.smoke)
    torch.manual_seed(0)
    model = task.model()
    batch = next(task.batches("train", study.smoke, recipe.batch_size, generator("train")))
    terms = task.loss(model, batch, Moment(0, study.smoke.epochs, 0, 100))
    assert {name: tuple(term.shape) for name, term in terms.items()} == dict.fromkeys(terms, ())
    assert all(torch.isfinite(term) for term in terms.values())
    sum(terms.values()).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_the_same_seed_gives_the_same_run_to_the_bit_and_another_one_another(one_study: StudySpec) -> None:
    said(one_study, *check_same_run(one_study, "cpu", smoke_run(one_study, "cpu").numbers))


def rows(study: StudySpec, split: Split, batch_size: int, seed: str) -> list[str]:
    task, _ = study.configure({}, study.smoke)
    return [
        example_hash(field[row] for field in batch)
        for batch in task.batches(split, study.smoke, batch_size, generator(seed))
        for row in range(len(batch[0]))
    ]


@pytest.mark.parametrize("split", ["val", "test"])
def test_validation_and_test_depend_on_neither_batch_size_nor_rng(one_study: StudySpec, split: Split) -> None:
    examples = rows(one_study, split, 1, "a")
    assert examples == rows(one_study, split, 5, "b")
    assert len(examples) == one_study.smoke.examples(split)


def test_the_batches_are_sound_and_the_splits_disjoint(one_study: StudySpec) -> None:
    said(
        one_study,
        *check_splits(one_study.as_smoke()),
        *check_repeatable(one_study),
    )


def test_a_trained_model_is_judged_example_by_example_and_can_be_promoted(one_study: StudySpec) -> None:
    trained = smoke_run(one_study, "cpu").model
    said(one_study, *check_rows(one_study, trained), *check_promotable(one_study, trained))


def test_the_baselines_have_scores_of_the_models_names_and_the_goal(one_study: StudySpec) -> None:
    task, recipe = one_study.configure({}, one_study.smoke)
    batches = list(task.batches("val", one_study.smoke, recipe.batch_size, generator("validation")))
    scores = evaluate(task, overfit.seeded_model(task, batches), batches)
    for name, columns in baseline_columns(task, one_study.smoke, batches).items():
        assert task.goal in scores_of(task, columns), name
        assert set(scores_of(task, columns)) <= set(scores), name


def test_an_epoch_leaves_every_parameter_and_score_finite(study: StudySpec) -> None:
    task, recipe = study.configure({}, study.smoke)
    progress = next(fit(task, recipe, study.smoke, seed=0, device="cpu"))
    assert progress.steps_skipped == 0
    assert all(torch.isfinite(parameter).all() for parameter in progress.model.parameters())
