"""The overfit check where the task gives no bands, and what it says of a set that is not learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo.checking import overfit
from hpo.recipe import Recipe
from hpo.space import log
from hpo.task import Overfit
from tests.test_preflight import (
    FAULTS,
    BlindModel,
    DeadRate,
    Mislabelled,
    Spoiled,
    Unlabelled,
    WrongSign,
    check,
    failed,
    healthy,
    run_preflight,
)
from tests.toy import FULL, Toy, toy_study

Change = Callable[[type[Toy]], None]


@pytest.fixture
def without_bands(monkeypatch: pytest.MonkeyPatch) -> Change:
    """Gives a task an overfit check with the default bands, and nothing pinned."""

    def change(task: type[Toy]) -> None:
        monkeypatch.setattr(task, "overfit", Overfit(start=task.overfit.start))

    return change


# -- bands that nobody had to invent ---------------------------------------------------------------------------------
CAUGHT_TWICE = (Unlabelled, BlindModel)  # by a control, and without bands by the overfit check as well


@pytest.mark.parametrize("task", FAULTS, ids=lambda task: task.__name__)
def test_a_planted_fault_is_caught_without_bands_too(task: type[Toy], without_bands: Change, tmp_path: Path) -> None:
    without_bands(task)
    expected = FAULTS[task][0]
    names = failed(run_preflight(toy_study(task=task()), tmp_path))
    assert names
    assert ("overfit" in names) == ("overfit" in expected or task in CAUGHT_TWICE)
    assert "overfit" in names or names == expected


@pytest.mark.parametrize("kind", ["offset", "dropout and average", "classes"])
def test_healthy_tasks_need_no_bands(
    kind: str, without_bands: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(5):
        study = healthy(kind, seed)
        without_bands(type(study.task))
        monkeypatch.setattr(overfit, "SEED", seed)
        result = run_preflight(study, tmp_path)
        assert [(made.name, made.seen, made.allowed) for made in result.checks if made.status != "go"] == []


def test_a_default_set_is_no_larger_than_the_training_split_and_is_given_steps_enough() -> None:
    """256 examples in batches of 64 are 4 steps an epoch: 300 of them take 75 epochs."""

    class Plain(Spoiled):
        overfit = Overfit()

    fidelity = overfit.fixed_set(toy_study(task=Plain(), recipe=Recipe(batch_size=64))).fidelity
    assert (fidelity.train, fidelity.epochs) == (FULL.train, 75)


# -- what is said of a set that is not learned -----------------------------------------------------------------------
class TooFewSteps(Spoiled):
    """Sound, but for want of steps."""

    overfit = replace(Toy.overfit, epochs=3, pinned={"recipe.lr": 0.02, "recipe.batch_size": 16})


UNLEARNED = {
    TooFewSteps: ("it was learning: 12 steps may be too few", "more epochs"),
    Mislabelled: ("inputs and labels seem not to belong together", "how each input gets its label"),
    DeadRate: ("almost nothing was learned", "the learning rate"),
    BlindModel: ("the same with zeroed inputs", "a model that does not look at its input"),
}


@pytest.mark.parametrize("task", UNLEARNED, ids=lambda task: task.__name__)
def test_a_set_that_is_not_learned_says_why(task: type[Toy], without_bands: Change, tmp_path: Path) -> None:
    if task is BlindModel:  # its own bands are so wide that it passes them
        without_bands(task)
    made = check(run_preflight(toy_study(task=task()), tmp_path), "overfit")
    remark, look_at = UNLEARNED[task]
    assert made.status != "go"
    assert made.seen.endswith(remark)
    assert look_at in made.look_at
    assert ("label" in made.seen + made.look_at) == (task is Mislabelled)


class Slow(Spoiled):
    """Sound, and its learning rate so low that 480 steps do not learn the set."""

    overfit = Overfit()


def test_without_bands_a_set_that_is_being_learned_is_a_caution(tmp_path: Path) -> None:
    """Nobody has said how many steps it takes; what is not learned at all is a no-go."""
    study = toy_study(task=Slow(), recipe=Recipe(lr=3e-4, batch_size=16), space={"recipe.lr": log(1e-4, 1e-1)})
    made = check(run_preflight(study, tmp_path), "overfit")
    assert made.status == "caution"
    assert made.seen.endswith("; it was learning: 480 steps may be too few")


def test_a_loss_that_falls_while_the_goal_gets_worse_is_named(without_bands: Change, tmp_path: Path) -> None:
    without_bands(WrongSign)
    made = check(run_preflight(toy_study(task=WrongSign()), tmp_path), "overfit")
    assert "but mse is" in made.seen
    assert "sign" in made.look_at


# -- bands that contradict the task ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (
            Overfit(go=0.9, caution=0.5, measure="mse"),
            "mse is to be minimized, so go must lie below caution",
        ),
        (Overfit(go=0.9, caution=0.5), "loss is to be minimized"),
    ],
)
def test_bands_that_want_the_goal_to_get_worse_are_refused_with_the_study(bands: Overfit, message: str) -> None:
    class Contradictory(Toy):
        overfit = bands

    with pytest.raises(ValueError, match=message):
        toy_study(task=Contradictory())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"go": 0.1}, "both go and caution, or neither"),
        ({"measure": "mse"}, "without go and caution it must be 'loss'"),
    ],
)
def test_half_of_the_bands_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Overfit(**fields)
