"""The check that one model has one score: what is searched must not change how a model is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hpo.checking.moving import NAME, check_goal_stays
from hpo.checking.preflight import preflight
from hpo.checking.smoke import smoke_run
from hpo.seeds import generator
from hpo.space import Space, choose, uniform, when
from hpo.storage.folder import RunFolder
from hpo.task import Check, Columns, Fidelity, Method, Moment, Split
from tests.toy import A_OI, INPUTS, OUTPUTS, Batch, Linear, Toy, toy_study


class Clean(Toy):
    """Nothing that is searched is read by score(): `shift` is a part of the model."""

    def model(self) -> nn.Module:
        model = Linear(self.dropout)
        with torch.no_grad():
            model.map.bias.fill_(self.shift)
        return model

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return {"mse": (model(batch.x_BI) - batch.y_BO).square().mean()}

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return self.judged(model(batch.x_BI), batch)

    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        return {"zero": lambda batch: self.judged(torch.zeros_like(batch.y_BO), batch)}


@dataclass(frozen=True)
class Weighted(Clean):
    """Its goal contains a searched weight: where that is 0 every model looks better."""

    weight: float = 0.5

    def judged(self, said_BO: Tensor, batch: Batch) -> Columns:
        return {"mse": (said_BO - batch.y_BO).square().mean(1) + self.weight * said_BO.square().mean(1)}


class WithMap(Clean):
    """It has a baseline that reads the inputs."""

    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        return {"half": lambda batch: self.judged(batch.x_BI @ A_OI.T / 2, batch)}


class WeightedMap(WithMap, Weighted):
    pass


@dataclass(frozen=True)
class Noisy(Clean):
    """Searched noise, meant for training, reaches the validation examples too."""

    noise: float = 0.1

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        for batch in super().batches(split, fidelity, batch_size, rng):
            draws = torch.randn(batch.x_BI.shape, generator=generator("noise", split))
            yield batch._replace(x_BI=batch.x_BI + self.noise * draws)


class NoisyMap(WithMap, Noisy):
    pass


@dataclass(frozen=True)
class Gained(Clean):
    """`gain` belongs to how the model predicts."""

    gain: float = 1.0

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return self.judged(self.gain * model(batch.x_BI), batch)


class GainedMap(WithMap, Gained):
    pass


class Rescored(Gained):
    def rescored(self) -> dict[str, tuple[float, ...]]:
        return {"task.gain": (0.5, 1.0)}


@dataclass(frozen=True)
class Padded(Clean):
    """With another `width` it cannot read the model of the default width."""

    width: int = OUTPUTS

    def model(self) -> nn.Module:
        return nn.Linear(INPUTS, self.width)

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return {"mse": (model(batch.x_BI)[:, :OUTPUTS] - batch.y_BO).square().mean()}

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return self.judged(model(batch.x_BI).view(-1, self.width)[: len(batch.x_BI), :OUTPUTS], batch)


def looked_at(task: Toy, space: Space) -> Check:
    study = toy_study(task=task, space=space)
    (check,) = check_goal_stays(study, smoke_run(study, "cpu").model)
    assert check.name == NAME
    return check


@pytest.mark.parametrize("task", [Weighted(), WeightedMap()])
def test_a_searched_weight_inside_the_goal_is_named_with_both_scores(task: Weighted) -> None:
    space = {"task.shift": uniform(-1, 1), "task.weight": uniform(0.0, 2.0)}
    check = looked_at(task, space)
    study = toy_study(task=task, space=space)
    trained = smoke_run(study, "cpu").model
    light, heavy = (score_with(replace(task, weight=weight), trained) for weight in (0.0, 2.0))
    assert check.status == "caution"
    assert check.seen == f"task.weight moves mse without training: {light:.4g} at 0, {heavy:.4g} at 2"


def score_with(task: Toy, trained: nn.Module) -> float:
    """The goal on the validation examples of the smoke fidelity, by hand."""
    study = toy_study()
    batches = list(task.batches("val", study.smoke, study.smoke.val, torch.Generator()))
    with torch.no_grad():
        return float(task.score(trained.eval(), batches[0])["mse"].mean())


@pytest.mark.parametrize("task", [Noisy(), NoisyMap()])
def test_searched_noise_that_reaches_validation_is_named(task: Noisy) -> None:
    check = looked_at(task, {"task.noise": uniform(0.0, 1.0)})
    assert check.status == "caution"
    assert check.seen.startswith("task.noise moves mse without training: ")


def test_what_changes_the_model_or_training_alone_passes() -> None:
    space = {"task.shift": uniform(-1, 1), "task.dropout": uniform(0.0, 0.5), "task.pull": uniform(0.0, 1.0)}
    check = looked_at(Clean(), space)
    assert (check.status, check.seen) == ("go", "the same with other values of 3 searched fields")


def test_what_changes_the_prediction_passes_where_the_score_of_a_baseline_stays() -> None:
    space = {"task.gain": uniform(0.5, 2.0)}
    check = looked_at(GainedMap(), space)
    assert check.status == "go"
    assert "task.gain changes what the model predicts, and the score of no baseline" in check.seen
    assert looked_at(Gained(), space).status == "caution"  # the constant baseline shows nothing


def test_what_is_rescored_after_training_is_exempt_and_without_a_field_of_the_task_nothing_is_checked() -> None:
    study = toy_study(task=Rescored(), space={"task.gain": uniform(0.5, 2.0)})
    assert check_goal_stays(study, smoke_run(study, "cpu").model) == []


def test_a_conditional_field_is_looked_at_with_its_parent_set() -> None:
    space = {
        "task.dropout": choose(0.0, 0.5),
        "task.weight": when("task.dropout", 0.5, uniform(0.0, 2.0)),
    }
    assert "task.weight moves mse" in looked_at(Weighted(), space).seen


def test_a_field_that_makes_the_model_unreadable_is_left_out() -> None:
    width = {"task.width": choose(OUTPUTS, OUTPUTS + 3)}
    check = looked_at(Padded(), width)
    assert (check.status, check.seen) == ("skip", "no other value of task.width can judge this model")
    both = looked_at(Padded(), {**width, "task.shift": uniform(-1, 1)})
    assert (both.status, both.seen) == ("go", "the same with other values of 1 searched field")


def test_preflight_says_it(tmp_path: Path) -> None:
    study = toy_study(task=Weighted(), space={"task.weight": uniform(0.0, 2.0)})
    result = preflight(study, RunFolder(tmp_path), {"code": "as it is"})
    assert next(check for check in result.checks if check.name == NAME).status == "caution"
