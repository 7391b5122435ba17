"""Optimizers and schedules of a recipe, against torch's own used by hand, and resumed bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpo import Held, Moment, Recipe, choose, fit, log, uniform, when
from hpo.checking.searched import check_affects_training
from hpo.checking.smoke import smoke_run
from hpo.engine.optimizers import optimizer_of
from hpo.engine.training import Progress
from hpo.recipe import OPTIMIZERS, SCHEDULES
from hpo.seeds import derive, generator
from hpo.task import Fidelity
from tests.toy import INPUTS, Batch, Linear, Toy, toy_study

FIDELITY = Fidelity(size=INPUTS, train=48, val=32, epochs=3)
FLAT = Recipe(
    lr=0.01, batch_size=16, weight_decay=0.1, schedule="constant", warmup=0.0, clip=1e9, betas=(0.8, 0.95), eps=1e-6
)
CPU = torch.device("cpu")

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

BY_HAND: Mapping[str, Make] = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, eps=1e-6, weight_decay=0.1),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, eps=1e-6, momentum=0.7, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.7, nesterov=True, weight_decay=0.1),
}


def run(task: Toy, recipe: Recipe, folder: Path | None = None, epochs: int | None = None) -> list[Progress]:
    return list(islice(fit(task, recipe, FIDELITY, seed=3, device="cpu", resume=folder), epochs))


def trained_by_hand(task: Toy, make: Callable[[nn.Module], list[torch.optim.Optimizer]]) -> dict[str, Tensor]:
    """The weights after the run's own batches, with a plain loop."""
    torch.manual_seed(derive(3, "model"))
    model = task.model()
    optimizers = make(model)
    for epoch in range(FIDELITY.epochs):
        for batch in task.batches("train", FIDELITY, 16, generator(3, "batches", epoch)):
            model.zero_grad()
            task.loss(model, batch, Moment(0, 1, 0, 1))["mse"].backward()
            for optimizer in optimizers:
                optimizer.step()
    return model.state_dict()


def recipe_of(name: str) -> Recipe:
    return replace(FLAT, optimizer=name, momentum=0.7, nesterov=name == "sgd")


@pytest.mark.parametrize("name", BY_HAND)
def test_an_optimizer_takes_the_steps_of_torchs_own(name: str) -> None:
    expected = trained_by_hand(Toy(), lambda model: [BY_HAND[name](list(model.parameters()))])
    weights = run(Toy(), recipe_of(name))[-1].model.state_dict()
    for key in expected:
        torch.testing.assert_close(weights[key], expected[key], rtol=1e-5, atol=1e-7)


def test_muon_moves_the_matrices_and_adamw_all_else() -> None:
    def make(model: Linear) -> list[torch.optim.Optimizer]:
        muon = torch.optim.Muon(
            [model.map.weight], lr=0.01, momentum=0.7, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
        )
        return [muon, BY_HAND["adamw"]([model.map.bias])]

    expected = trained_by_hand(Toy(), make)
    weights = run(Toy(), recipe_of("muon"))[-1].model.state_dict()
    for key in expected:
        torch.testing.assert_close(weights[key], expected[key], rtol=1e-5, atol=1e-7)


@dataclass(frozen=True)
class Grouped(Toy):
    """The bias has half the rate and thaws late; the weight has a rate of its own."""

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"weight": [model.map.weight], "bias": [model.map.bias]}

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return {"weight": Held(0.004), "bias": 0.5 if at.epoch else 0.0}


@pytest.mark.parametrize("decay_norms", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_with_any_optimizer_is_resumed_bit_for_bit(name: str, decay_norms: bool, tmp_path: Path) -> None:
    recipe = replace(recipe_of(name), decay_norms=decay_norms, precision="fp16" if name == "muon" else "fp32")
    unbroken = run(Grouped(dropout=0.1), recipe)
    for epochs in (1, 2, None):
        resumed = run(Grouped(dropout=0.1), recipe, tmp_path, epochs)
    assert resumed == unbroken
    assert [progress.lr for progress in unbroken] == [
        {"weight": 0.004, "bias": 0.0},
        {"weight": 0.004, "bias": 0.005},
        {"weight": 0.004, "bias": 0.005},
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_group_stands_still_whatever_the_optimizer(name: str) -> None:
    first, second, _ = (progress.best_weights["map.bias"] for progress in run(Grouped(), recipe_of(name)))
    torch.manual_seed(derive(3, "model"))
    assert torch.equal(first, Toy().model().map.bias)
    assert not torch.equal(first, second)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.norm = nn.LayerNorm([2, 3])
        self.map = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(2))


def test_norms_biases_and_embeddings_have_no_decay_where_the_recipe_says_so() -> None:
    model = Normed()
    groups = {"all": list(model.parameters())}
    for decay_norms, decayed in ((True, {name for name, _ in model.named_parameters()}), (False, {"map.weight"})):
        recipe = Recipe(weight_decay=0.3, decay_norms=decay_norms)
        optimizer = optimizer_of(Toy(), recipe, model, groups, CPU)
        decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert {group["name"] for group in optimizer.param_groups} == {"all"}
        found = {name: decay[id(p)] for name, p in model.named_parameters()}
        assert found == {name: 0.3 if name in decayed else 0.0 for name in found}


# -- a task's own ------------------------------------------------------------------------------------------------------
class SignDescent(torch.optim.Optimizer):
    """w <- w - lr sign(m), with a running mean m of the gradient: an optimizer that torch has not."""

    def __init__(self, groups: list[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                    mean.lerp_(parameter.grad, 0.3)
                    parameter.sub_(group["lr"] * mean.sign())


@dataclass(frozen=True)
class Own(Grouped):
    def optimizer(self, groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
        groups[1]["lr"] = 10 * recipe.lr
        return SignDescent(groups, lr=recipe.lr)


def test_an_optimizer_of_the_tasks_own_is_scheduled_and_resumed_bit_for_bit(tmp_path: Path) -> None:
    recipe = replace(FLAT, schedule="linear")
    unbroken = run(Own(), recipe)
    for epochs in (1, 2, None):
        resumed = run(Own(), recipe, tmp_path, epochs)
    assert resumed == unbroken
    assert unbroken[-1].lr == {"weight": 0.004, "bias": pytest.approx(0.1 * 0.5 * (1 - 8 / 9))}
    assert unbroken[-1].loss < unbroken[0].loss


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda groups: torch.optim.SGD([p for g in groups for p in g["params"]]), "must keep the groups that it is"),
        (lambda groups: torch.optim.SGD(groups[:1]), "must keep the groups that it is given, each with its name"),
        (lambda groups: torch.optim.LBFGS([p for g in groups for p in g["params"]]), "must not return LBFGS"),
        (lambda groups: "sgd", "must return a torch.optim.Optimizer or None; got 'sgd'"),
    ],
)
def test_an_optimizer_that_cannot_be_used_is_refused(returned: Callable[[Any], Any], message: str) -> None:
    class Wrong(Grouped):
        def optimizer(self, groups: list[dict[str, Any]], recipe: Recipe) -> Any:
            return returned(groups)

    with pytest.raises(ValueError, match=f"Wrong.optimizer {message}"):
        run(Wrong(), FLAT)


class Remembering(SignDescent):
    """Has a set in its state."""

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"seen": {1, 2}}


def test_a_state_that_cannot_be_saved_is_refused_by_name(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Careless(Toy):
        def optimizer(self, groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
            return Remembering(groups, lr=recipe.lr)

    with pytest.raises(ValueError, match=r"plain values alone, and optimizer\['seen'\] is a set: \{1, 2\}"):
        run(Careless(), FLAT, tmp_path)


# -- schedules ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Planned(Toy):
    """Its validation score gets worse after the first epoch."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return {name: -term for name, term in super().loss(model, batch, at).items()}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_with_any_schedule_is_resumed_bit_for_bit(schedule: str, tmp_path: Path) -> None:
    recipe = replace(FLAT, schedule=schedule, warmup=0.2, drop_patience=0)
    unbroken = run(Planned(), recipe)
    for epochs in (1, 2, None):
        resumed = run(Planned(), recipe, tmp_path, epochs)
    assert resumed == unbroken
    rates = [progress.lr["all"] for progress in unbroken]
    assert rates[0] == pytest.approx(0.01, rel=0.1)
    assert (rates[-1] < 0.9 * rates[0]) == (schedule != "constant")
    if schedule == "plateau":
        assert rates == pytest.approx([0.01, 0.01, 0.001])


# -- searched like any other field -------------------------------------------------------------------------------------
CHOICES = {
    "recipe.optimizer": choose("adamw", "sgd", "muon"),
    "recipe.momentum": when("recipe.optimizer", "sgd", uniform(0, 0.99)),
    "recipe.nesterov": when("recipe.optimizer", "sgd", choose(False, True)),
    "recipe.schedule": choose("cosine", "plateau", "step"),
    "recipe.drop_every": when("recipe.schedule", "step", uniform(0.1, 0.9)),
    "recipe.eps": log(1e-8, 1e-1),
}


def test_a_space_of_optimizers_and_their_settings_is_searched_and_each_affects_training() -> None:
    study = toy_study(space=CHOICES)
    smoke = smoke_run(study, "cpu").numbers
    made = [check_affects_training(study, "cpu", smoke, name) for name in CHOICES]
    assert [(check.name, check.seen) for check in made if check.status != "go"] == []
    sgd = study.configure({"recipe.optimizer": "sgd", "recipe.momentum": 0.5}, study.cheap).recipe
    assert (sgd.optimizer, sgd.momentum) == ("sgd", 0.5)


def test_the_default_may_be_the_optimizer_that_has_the_setting() -> None:
    study = toy_study(
        recipe=Recipe(lr=0.1, optimizer="sgd", momentum=0.95),
        space={
            "recipe.optimizer": choose("adamw", "sgd"),
            "recipe.momentum": when("recipe.optimizer", "sgd", uniform(0, 0.99)),
        },
    )
    assert study.defaults() == {"recipe.optimizer": "sgd", "recipe.momentum": 0.95}
    assert study.configure({"recipe.optimizer": "adamw"}, study.cheap).recipe.optimizer == "adamw"


@pytest.mark.parametrize(
    ("recipe", "space", "message"),
    [
        (Recipe(momentum=0.5), {}, r"recipe.momentum: has no effect with recipe.optimizer = adamw; it belongs to sgd"),
        (Recipe(optimizer="sgd", betas=(0.9, 0.98)), {}, r"recipe.betas: has no effect with recipe.optimizer = sgd"),
        (Recipe(schedule="constant", final_lr=0.1), {}, r"recipe.final_lr: has no effect with recipe.schedule = const"),
        (
            Recipe(),
            {"recipe.momentum": uniform(0, 0.99)},
            r"recipe.momentum: has no effect with .* = adamw; it belongs",
        ),
        (Recipe(), {"recipe.drop": uniform(0.1, 0.9)}, r"recipe.drop: has no effect .* it belongs to step, plateau"),
        (
            Recipe(),
            {
                "recipe.optimizer": choose("adamw", "sgd"),
                "recipe.momentum": when("recipe.optimizer", "adamw", uniform(0, 0.99)),
            },
            r"recipe.momentum: has no effect with recipe.optimizer = adamw",
        ),
        (Recipe(), {"recipe.optimizer": choose("adamw", "lion")}, r"recipe.optimizer must be one of adamw, .*'lion'"),
    ],
)
def test_a_setting_without_effect_is_refused_when_the_study_is_loaded(
    recipe: Recipe, space: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        toy_study(recipe=recipe, space=space or {"recipe.lr": log(1e-4, 1e-1)})


def test_momentum_that_is_searched_for_adamw_too_is_found_to_affect_nothing() -> None:
    space = {"recipe.optimizer": choose("adamw", "sgd"), "recipe.momentum": uniform(0, 0.99)}
    study = toy_study(space=space)
    smoke = smoke_run(study, "cpu").numbers
    check = check_affects_training(study, "cpu", smoke, "recipe.momentum")
    assert (check.status, check.seen) == ("no-go", "no value changes the run")


def test_a_task_with_its_own_optimizer_may_read_any_setting() -> None:
    toy_study(task=Own(), space={"recipe.momentum": uniform(0, 0.99), "recipe.lr": log(1e-3, 0.3)})


def test_an_optimizer_that_this_torch_lacks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ValueError, match=r"recipe.optimizer must be in this torch, 2.*, which has no Muon; got 'muon'"):
        Recipe(optimizer="muon")
