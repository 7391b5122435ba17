"""Models as people have them, over the whole path: trained, checkpointed, resumed, exported and loaded again.

Shape suffixes: B batch, I inputs, O outputs, H hidden.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from hpo import load_winner
from hpo.checking import saved
from hpo.checking.overfit import overfit_run
from hpo.checking.overfit_checks import check_moves
from hpo.checking.promotable import check_promotable
from hpo.checking.smoke import check_rows, smoke_run
from hpo.engine.model import RunningAverage
from hpo.engine.training import Progress, fit, require_same_score
from hpo.errors import Unfaithful
from hpo.files import write_json
from hpo.recipe import Recipe
from hpo.space import log
from hpo.task import Fidelity, Moment
from hpo.trial.artifact import CARD, card_of
from hpo.trial.guard import run_check
from hpo.trial.weights import WEIGHTS, packed, unpacked, write_weights
from tests.toy import INPUTS, OUTPUTS, Batch, Toy, toy_study

HIDDEN = 5
RECIPE = Recipe(lr=0.02, batch_size=16)
FIDELITY = Fidelity(size=INPUTS, train=48, val=32, epochs=3)


class Tied(nn.Module):
    """The second map has the weight of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.there, self.back, self.out = nn.Linear(INPUTS, INPUTS), nn.Linear(INPUTS, INPUTS), nn.Linear(INPUTS, 2)
        self.back.weight = self.there.weight

    def forward(self, x_BI: Tensor) -> Tensor:
        return self.out(self.back(self.there(x_BI).tanh()))


class Buffers(nn.Module):
    """A buffer of every kind, each of which takes part in the forward pass; `count` and `seen` change in training."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(INPUTS, OUTPUTS)
        self.register_buffer("order", torch.randperm(100))
        self.register_buffer("kept", torch.rand(INPUTS) > 0.1)
        self.register_buffer("small", torch.randint(0, 255, (INPUTS,), dtype=torch.uint8))
        self.register_buffer("half_float", torch.rand(INPUTS).half())
        self.register_buffer("brain", torch.rand(INPUTS).bfloat16())
        self.register_buffer("double_float", torch.rand(INPUTS, dtype=torch.float64))
        self.register_buffer("complex", torch.randn(INPUTS, dtype=torch.complex64))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("seen", torch.zeros(INPUTS, dtype=torch.bool))
        self.register_buffer("constant", torch.arange(INPUTS) / INPUTS, persistent=False)

    def forward(self, x_BI: Tensor) -> Tensor:
        if self.training:
            self.count += 1
            self.seen |= (x_BI > 1).any(0)
        shift_I = self.small / 255 + self.half_float + self.brain + self.double_float + self.complex.abs()
        shift_I = shift_I + self.constant + self.order[:INPUTS] / 100 + self.count / 100 + self.seen
        return self.map(x_BI * self.kept + shift_I.float())


class Scaled(nn.Module):
    """Divides by a deviation that training changes, kept as a tensor or as plain values with tensors among them."""

    def __init__(self, *, as_tensor: bool) -> None:
        super().__init__()
        self.as_tensor, self.deviation, self.batches = as_tensor, torch.ones(INPUTS), 0

    def get_extra_state(self) -> Any:
        if self.as_tensor:
            return self.deviation
        return {"deviation": [self.deviation, ("x", 1.5, None)], "batches": self.batches, 7: True}

    def set_extra_state(self, state: Any) -> None:
        self.deviation = state if self.as_tensor else state["deviation"][0]
        self.batches = 0 if self.as_tensor else state["batches"]

    def forward(self, x_BI: Tensor) -> Tensor:
        if self.training:
            self.deviation = 0.5 * self.deviation + 2 * x_BI.std(0)
            self.batches += not self.as_tensor
        return x_BI / (self.deviation + 0.1 * self.batches)


class Answers(nn.Module):
    """Returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(INPUTS, OUTPUTS)

    def forward(self, x_BI: Tensor) -> dict[str, Tensor]:
        return {"y_BO": self.map(x_BI)}


class Binned(nn.Module):
    """Looks up a vector for each input, by its sign: the table's gradient is sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.map = nn.Embedding(2, HIDDEN, sparse=True), nn.Linear(INPUTS * HIDDEN, OUTPUTS)

    def forward(self, x_BI: Tensor) -> Tensor:
        return self.map(self.table((x_BI > 0).long()).flatten(1))


class Graph(nn.Module):
    """A sparse matrix as a buffer."""

    def __init__(self, *, persistent: bool = True) -> None:
        super().__init__()
        self.register_buffer("links", torch.eye(INPUTS).to_sparse(), persistent=persistent)

    def forward(self, x_BI: Tensor) -> Tensor:
        return (self.links @ x_BI.T).T


class Spare(nn.Linear):
    """Has a parameter without elements."""

    def __init__(self) -> None:
        super().__init__(INPUTS, OUTPUTS)
        self.spare = nn.Parameter(torch.zeros(0, 3))

    def forward(self, x_BI: Tensor) -> Tensor:
        return super().forward(x_BI) + self.spare.sum()


def two_layers(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), *between, nn.Tanh(), nn.Linear(HIDDEN, OUTPUTS))


def frozen() -> nn.Module:
    model = two_layers()
    model[0].requires_grad_(False)
    return model


def parametrised(parametrise: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(parametrise(nn.Linear(INPUTS, HIDDEN)), nn.Tanh(), nn.Linear(HIDDEN, OUTPUTS))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "plain": two_layers,
    "statistics": lambda: two_layers(nn.BatchNorm1d(HIDDEN)),
    "tied": Tied,
    "lazy": lambda: nn.Sequential(
        nn.Dropout(0.2), nn.LazyLinear(HIDDEN), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(OUTPUTS)
    ),
    "weight norm": lambda: parametrised(parametrizations.weight_norm),
    "spectral norm": lambda: parametrised(parametrizations.spectral_norm),
    "orthogonal": lambda: parametrised(parametrizations.orthogonal),
    "buffers": Buffers,
    "compiled": lambda: torch.compile(two_layers(nn.BatchNorm1d(HIDDEN)), backend="eager"),
    "dict": Answers,
    "graph": lambda: nn.Sequential(Graph(persistent=False), two_layers()),
    "sparse": Binned,
    "frozen": frozen,
    "extra state: a tensor": lambda: nn.Sequential(Scaled(as_tensor=True), two_layers()),
    "extra state: a dict": lambda: nn.Sequential(Scaled(as_tensor=False), two_layers()),
    "no elements": Spare,
}


@dataclass(frozen=True)
class Modelled(Toy):
    kind: str = "plain"

    def model(self) -> nn.Module:
        return MODELS[self.kind]()

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Any]:
        return {"mse": (answer(model(batch.x_BI)) - batch.y_BO).square().mean(), "pull": 0.0}

    def score(self, model: nn.Module, *data: Any) -> Any:
        return super().score(lambda x_BI: answer(model(x_BI)), *data)


def answer(output: Tensor | dict[str, Tensor]) -> Tensor:
    return output["y_BO"] if isinstance(output, dict) else output


def run(task: Toy, recipe: Recipe, folder: Path | None = None, epochs: int | None = None) -> list[Progress]:
    return list(islice(fit(task, recipe, FIDELITY, seed=3, device="cpu", resume=folder), epochs))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(map(same, one, other))
    return one == other


def export(folder: Path, task: Toy, weights: dict[str, Any]) -> None:
    write_weights(folder, weights)
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    write_json(folder / CARD, {**card_of(task), "sha256": digest})


@pytest.mark.parametrize("ema", [0.0, 0.6])
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_is_trained_resumed_exported_and_loaded_with_the_same_score(
    kind: str, ema: float, tmp_path: Path
) -> None:
    task, recipe = Modelled(kind=kind), replace(RECIPE, ema=ema)
    unbroken = run(task, recipe)
    assert unbroken[-1].loss < unbroken[0].loss
    for epochs in (1, 2, None):
        resumed = run(task, recipe, tmp_path, epochs)
    assert resumed == unbroken
    assert same(resumed[-1].best_weights, unbroken[-1].best_weights)

    require_same_score(task, recipe, FIDELITY, resumed[-1], device="cpu")
    export(tmp_path, task, dict(resumed[-1].best_weights))
    winner = load_winner(tmp_path, Modelled)
    assert same(dict(winner.model.state_dict()), dict(resumed[-1].best_weights))


@pytest.mark.parametrize("kind", MODELS)
def test_preflight_lets_these_models_pass(kind: str) -> None:
    study = toy_study(task=Modelled(kind=kind), space={"recipe.lr": log(1e-3, 0.3)})
    smoke = smoke_run(study, "cpu")
    honest = overfit_run(study, "honest", "cpu")
    made = [
        *saved.check_saved(study, "cpu", smoke.numbers),
        *run_check("rows", lambda: check_rows(study, smoke.model)),
        *run_check("promotable", lambda: check_promotable(study, smoke.model)),
        check_moves(honest),
    ]
    assert [(check.name, check.seen) for check in made if check.status != "go"] == []


# -- what cannot be kept -----------------------------------------------------------------------------------------------
class Forgetful(Scaled):
    """Its deviation is a plain attribute, which no state dict holds."""

    def __init__(self) -> None:
        super().__init__(as_tensor=True)

    get_extra_state, set_extra_state = nn.Module.get_extra_state, nn.Module.set_extra_state


class Redrawn(nn.Module):
    """Its features are drawn by model(), and no state dict holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.features_IH = torch.randn(INPUTS, HIDDEN)

    def forward(self, x_BI: Tensor) -> Tensor:
        return x_BI @ self.features_IH


class AlwaysDropping(nn.Module):
    def forward(self, x_BI: Tensor) -> Tensor:
        return nn.functional.dropout(x_BI, 0.5)


class Set(nn.Module):
    """Its extra state is a set."""

    def forward(self, x_BI: Tensor) -> Tensor:
        return x_BI

    def get_extra_state(self) -> set[int]:
        return {1, 2}

    def set_extra_state(self, state: set[int]) -> None: ...


class Expanded(nn.Module):
    """A buffer of INPUTS elements in the memory of one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(1).expand(INPUTS))

    def forward(self, x_BI: Tensor) -> Tensor:
        return x_BI + self.shift


class Unreached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map, self.head = nn.Linear(INPUTS, OUTPUTS), nn.LazyLinear(3)

    def forward(self, x_BI: Tensor) -> Tensor:
        return self.map(x_BI)


def frozen_throughout() -> nn.Module:
    return two_layers().requires_grad_(False)


FAULTS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "plain attribute": (
        lambda: nn.Sequential(Forgetful(), two_layers()),
        "in a new model, score mse .*; look for what state_dict.. does not hold, such as a plain attribute",
    ),
    "random features": (
        lambda: nn.Sequential(Redrawn(), nn.Linear(HIDDEN, OUTPUTS)),
        "in a new model, score mse .*; look for what state_dict.. does not hold",
    ),
    "dropout in eval mode": (
        lambda: nn.Sequential(AlwaysDropping(), two_layers()),
        "the same weights score mse .* and then .*; look for what is still random in eval mode",
    ),
    "extra state: a set": (
        lambda: nn.Sequential(Set(), two_layers()),
        "ValueError: the model's state_dict.. holds a set in '0._extra_state'; get_extra_state.. must return tensors",
    ),
    "sparse buffer": (
        lambda: nn.Sequential(Graph(), two_layers()),
        r"ValueError: the model's state_dict.. holds '0.links' as torch.float32 in the layout torch.sparse_coo",
    ),
    "expanded buffer": (
        lambda: nn.Sequential(Expanded(), two_layers()),
        r"RuntimeError: Error.* in loading state_dict for .*: While copying the parameter named .*shift.*memory loc",
    ),
    "nothing to train": (
        frozen_throughout,
        "ValueError: Modelled.model.. must have a parameter that can be trained; it has none",
    ),
    "unreached lazy module": (
        Unreached,
        r"ValueError: Modelled.model.. has lazy modules that the loss of a training batch does not reach.*head.weight",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_preflight_says_what_of_a_model_cannot_be_kept(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, said = FAULTS[fault]
    monkeypatch.setitem(MODELS, fault, model)
    study = toy_study(task=Modelled(kind=fault))
    [check] = run_check("saved", lambda: saved.check_saved(study, "cpu", smoke_run(study, "cpu").numbers))
    assert check.status == "no-go"
    assert re.search(said, check.seen), check.seen


def test_a_promotion_stops_at_weights_that_do_not_rebuild_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "plain attribute", FAULTS["plain attribute"][0])
    last = run(Modelled(kind="plain attribute"), RECIPE)[-1]
    with pytest.raises(Unfaithful, match=f"the weights of epoch {last.best_epoch}, in a new model, score mse"):
        require_same_score(Modelled(kind="plain attribute"), RECIPE, FIDELITY, last, device="cpu")


# -- small promises ----------------------------------------------------------------------------------------------------
def test_the_running_average_copies_what_is_no_floating_point_number() -> None:
    """0.9 * k + 0.1 * k, cut off to a whole number, is k - 1 for many k."""
    model = RunningAverage(Buffers(), 0.9)
    live = copy.deepcopy(model.module)
    for _ in range(4):
        live.count += 1
        live.double_float += 1
        model.update_parameters(live)
    for name in ("order", "kept", "small", "count", "seen"):
        assert same(model.module.get_buffer(name), live.get_buffer(name)), name
    start = live.double_float - 4  # the first update copies, the others have the weight 0.1 each
    expected = start + 1 * 0.9**3 + 2 * 0.1 * 0.9**2 + 3 * 0.1 * 0.9 + 4 * 0.1
    assert torch.allclose(model.module.double_float, expected)


def test_the_running_average_has_the_extra_state_of_the_model() -> None:
    live = nn.Sequential(Scaled(as_tensor=False), nn.Linear(INPUTS, OUTPUTS))
    average = RunningAverage(live, 0.9)
    for _ in range(3):
        live(torch.randn(8, INPUTS))
        average.update_parameters(live)
    assert live[0].batches == average.module[0].batches == 3
    assert same(average.module[0].get_extra_state(), live[0].get_extra_state())


def test_weights_come_back_from_their_file_as_they_went_in() -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    weights = {
        "one": shared,
        "tied": shared,
        "turned": shared.T,
        "none": torch.zeros(0, 3),
        "extra": {"a": [1, 2.5, (None, True, "x")], "b": {"deep": shared}, 3: {}, "empty": []},
        "number": 4,
    }
    assert same(unpacked(packed(weights)), weights)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_model_that_cannot_be_copied_has_no_running_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "hooked", lambda: parametrised(nn.utils.weight_norm))
    assert run(Modelled(kind="hooked"), RECIPE)
    with pytest.raises(ValueError, match=r"recipe.ema needs a model that copy.deepcopy can copy: RuntimeError: Only"):
        run(Modelled(kind="hooked"), replace(RECIPE, ema=0.5))


def test_a_sparse_gradient_takes_the_step_of_the_dense_one() -> None:
    @dataclass(frozen=True)
    class Dense(Modelled):
        def model(self) -> nn.Module:
            model = super().model()
            model.table.sparse = False
            return model

    assert run(Modelled(kind="sparse"), RECIPE) == run(Dense(kind="sparse"), RECIPE)
