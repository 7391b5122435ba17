"""Preflight against planted faults, which it must name, and against healthy tasks, which it must let pass.

Every fault is a subclass of the toy task with one thing wrong. Shape suffixes: B batch, N examples, I inputs,
O outputs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpo.checking import overfit
from hpo.checking.kept import require_go
from hpo.checking.made import Step
from hpo.checking.preflight import Preflight, preflight
from hpo.errors import Refused
from hpo.recipe import Recipe
from hpo.seeds import generator
from hpo.space import choose, log, uniform, when
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Check, Columns, Evidence, Fidelity, Method, Moment, Overfit, Picture, Split, means
from tests.toy import A_OI, CHEAP, FULL, INPUTS, NOISE, OUTPUTS, Batch, Linear, Toy, toy_study


def run_preflight(study: StudySpec, folder: Path, identity: Mapping[str, str] | None = None) -> Preflight:
    return preflight(study, RunFolder(folder), identity or {"code": "as it is"})


def failed(result: Preflight) -> set[str]:
    return {check.name for check in result.checks if check.status == "no-go"}


def check(result: Preflight, name: str) -> Check:
    return next(check for check in result.checks if check.name == name)


# -- faults in the data ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Spoiled(Toy):
    """The toy, whose examples a subclass spoils."""

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        x_NI, y_NO = self.examples(split, fidelity.examples(split), rng)
        order = self.order(split, len(x_NI), rng)
        for rows in order.split(batch_size):
            yield Batch(x_NI[rows], y_NO[rows])

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        source = generator("toy", split)
        x_NI = torch.randn(count, INPUTS, generator=source)
        return x_NI, x_NI @ A_OI.T + NOISE * torch.randn(count, OUTPUTS, generator=source)

    def order(self, split: Split, count: int, rng: torch.Generator) -> Tensor:
        return torch.randperm(count, generator=rng) if split == "train" else torch.arange(count)


class Mislabelled(Spoiled):
    """Labels that belong to other inputs."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        return x_NI, y_NO.roll(1, 0)


class OneNaN(Spoiled):
    """A single NaN, in an example that the smoke fidelity does not reach."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        x_NI[40:41, 3] = torch.nan
        return x_NI, y_NO


class Double(Spoiled):
    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        return x_NI, y_NO.double()


class Leaking(Spoiled):
    """The validation split lies in the training split."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return super().examples("train" if split == "val" else split, count, rng)


class LeakingInFull(Spoiled):
    """The test split lies in a training split as large as the full one."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        if split == "train" and count == FULL.train:
            x_NI[-1] = super().examples("test", FULL.examples("test"), rng)[0][7]
        return x_NI, y_NO


class SameOrder(Spoiled):
    """Every epoch in the same order."""

    def order(self, split: Split, count: int, rng: torch.Generator) -> Tensor:
        return torch.arange(count)


class OwnRandom(Spoiled):
    """An order from a generator that nobody has seeded."""

    def order(self, split: Split, count: int, rng: torch.Generator) -> Tensor:
        return torch.from_numpy(np.random.default_rng().permutation(count))


class DrawnValidation(Spoiled):
    """Validation examples that depend on the trial's rng."""

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        x_NI, y_NO = super().examples(split, count, rng)
        return x_NI + (0.1 * torch.randn(x_NI.shape, generator=rng) if split == "val" else 0), y_NO


class ValidationByBatch(Spoiled):
    """Validation examples that depend on the batch size."""

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        for index, batch in enumerate(super().batches(split, fidelity, batch_size, rng)):
            yield batch._replace(x_BI=batch.x_BI + 0.01 * index) if split == "val" else batch


class TooFew(Spoiled):
    """Drops the last batch."""

    def order(self, split: Split, count: int, rng: torch.Generator) -> Tensor:
        return super().order(split, count, rng)[: count - 5]


DATA = {
    OneNaN: ("data", "train: x_BI is not finite in 1 of 384 elements"),
    Double: ("data", "y_BO is torch.float64"),
    TooFew: ("data", "train: 59 examples, but the cheap fidelity has 64"),
    Leaking: ("splits disjoint", "cheap: train and val share 64"),
    LeakingInFull: ("splits disjoint", "full: train and test share 1"),
    SameOrder: ("same seed, same batches", "repeats: yes; epochs differ: no; validation fixed: yes"),
    OwnRandom: ("same seed, same batches", "repeats: no"),
    DrawnValidation: ("same seed, same batches", "repeats: yes; epochs differ: yes; validation fixed: no"),
    ValidationByBatch: ("same seed, same batches", "repeats: yes; epochs differ: yes; validation fixed: no"),
}


@pytest.mark.parametrize("task", DATA, ids=lambda task: task.__name__)
def test_a_fault_in_the_data_is_named_and_nothing_is_trained_on_it(task: type[Toy], tmp_path: Path) -> None:
    result = run_preflight(toy_study(task=task()), tmp_path)
    name, seen = DATA[task]
    assert result.status == "no-go"
    assert failed(result) == {name}
    assert seen in check(result, name).seen
    assert result.overfit is None


# -- faults in model, loss and score ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class Wrong(Toy):
    """The toy, whose error a subclass gets wrong."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return {"mse": self.error(model, batch).square().mean()}

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch.x_BI) + self.shift - batch.y_BO


class WrongSign(Wrong):
    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return {"mse": -super().loss(model, batch, at)["mse"]}


class Detached(Wrong):
    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return super().error(model, batch).detach()


class Broadcast(Wrong):
    """[B, 1] against [B]: a [B, B] table of errors, whose least mean is at the mean label."""

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return torch.stack([model(batch.x_BI)[:, :1] - batch.y_BO[:, 0], model(batch.x_BI)[:, 1:] - batch.y_BO[:, 1]])


class InfiniteGradient(Wrong):
    """A root whose argument is 0 everywhere: 0 forwards, and 0 * infinity backwards."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return super().loss(model, batch, at) | {"root": (0 * model.map.weight).sqrt().sum()}


class Unlabelled(Wrong):
    """A loss that can be brought to 0 without looking at the labels."""

    overfit = replace(Toy.overfit, measure="loss")

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch.x_BI) + self.shift

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return {"mse": self.error(model, batch).square().mean(1)}


class Overscaled(Wrong):
    """A sum over the batch where the task says what a mean begins at."""

    overfit = replace(Toy.overfit, start=(0.5, 5.0))

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return {"mse": self.error(model, batch).square().sum()}


class DeadRate(Wrong):
    """A learning rate that a schedule has multiplied away."""

    def rates(self, at: Moment) -> dict[str, float]:
        return {"all": 1e-9}


class FrozenBias(Wrong):
    """A group that is never thawed."""

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"weight": [model.map.weight], "bias": [model.map.bias]}

    def rates(self, at: Moment) -> dict[str, float]:
        return {"bias": 0.0}


class Idle(Linear):
    """A layer that forward does not use, and one that reaches the output with weight 0."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.unused, self.silenced = nn.Linear(2, 2), nn.Linear(INPUTS, OUTPUTS)

    def forward(self, x_BI: Tensor) -> Tensor:
        return self.map(x_BI) + 0 * self.silenced(x_BI)


class IdleLayers(Wrong):
    """Weight decay moves the silenced layer, which no gradient does."""

    def model(self) -> nn.Module:
        return Idle()


class Blind(Linear):
    def forward(self, x_BI: Tensor) -> Tensor:
        return self.map(torch.ones_like(x_BI))


class BlindModel(Wrong):
    """A model that sees no input, and a band for the proof so wide that the mean label lies in it."""

    overfit = replace(Toy.overfit, go=3.0, caution=4.0)

    def model(self) -> nn.Module:
        return Blind(0.0)


class ByBatch(Wrong):
    """A score that gives every example of a batch what the worst of them came to."""

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        error_B = self.error(model, batch).square().mean(1)
        return {"mse": error_B.max().expand(len(error_B))}


class Raising(Wrong):
    def score(self, model: nn.Module, batch: Batch) -> Columns:
        raise KeyError("no such score")


class ForeignRandom(Wrong):
    """Noise that no seed of the engine's reaches."""

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return super().error(model, batch) + 1e-3 * random.SystemRandom().random()


class DivergesInCheap(Wrong):
    """Sound at the smoke fidelity and in the overfit check, but not for as long as a cheap trial takes."""

    def error(self, model: nn.Module, batch: Batch) -> Tensor:
        return super().error(model, batch)

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        lost = at.epochs == CHEAP.epochs and at.epoch == 1
        return {"mse": self.error(model, batch).square().mean() * (torch.nan if lost else 1.0)}


class BadPicture(Wrong):
    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture]:
        yield Picture("weights", {"map": np.zeros((4, 4), dtype=np.float32)})


class NoGoalBaseline(Wrong):
    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        return {"zero": lambda batch: {"rmse": batch.y_BO.square().mean(1)}}


class Forgetful(Linear):
    """Learns something that its state dict does not hold."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.offset = float(torch.rand(()))

    def forward(self, x_BI: Tensor) -> Tensor:
        return super().forward(x_BI) + self.offset


class LeavesSomethingBehind(Wrong):
    def model(self) -> nn.Module:
        return Forgetful()


class OwnCheck(Wrong):
    def checks(self, evidence: Evidence) -> list[Check]:
        return [Check("bias is small", "no-go", f"{evidence.stage} {evidence.scores['mse']:.1f}", "small")]


FAULTS: dict[type[Toy], tuple[set[str], str]] = {  # what fails, and what the first of it says
    Mislabelled: ({"overfit", "labels matter"}, "on 64 examples, 20 epochs"),
    WrongSign: ({"overfit"}, "mse 1."),
    Detached: ({"overfit", "smoke run"}, "none of the terms has a gradient"),
    Broadcast: ({"overfit"}, "mse 1."),
    InfiniteGradient: ({"overfit", "finite everywhere", "smoke run"}, "gradients were not finite in map.weight"),
    Unlabelled: ({"labels matter", "input matters"}, "shuffled: loss 0."),
    Overscaled: ({"loss at start"}, "48."),
    DeadRate: ({"overfit", "every parameter moves", "recipe.lr affects training"}, "mse 1."),
    FrozenBias: ({"every parameter moves"}, "unmoved: map.bias"),
    IdleLayers: ({"every parameter moves"}, "unused.weight, unused.bias, silenced.weight, silenced.bias"),
    BlindModel: ({"input matters", "labels matter"}, "shuffled: mse 1."),
    ByBatch: ({"rows belong to examples"}, "one by one: mse"),
    Raising: ({"overfit", "smoke run"}, "KeyError: 'no such score'"),
    ForeignRandom: ({"same seed, same run", "saved whole"}, "repeats: no; seeds differ: yes"),
    DivergesInCheap: ({"cost"}, "the loss was nan (mse = nan)"),
    BadPicture: ({"can be promoted"}, "'map', is float32 (4, 4); it must be uint8 (H, W, 3)"),
    NoGoalBaseline: ({"can be promoted"}, "baseline 'zero' lacks the column 'mse', which metrics() needs"),
    LeavesSomethingBehind: ({"saved whole", "can be promoted"}, "look for what state_dict() does not hold"),
    OwnCheck: ({"bias is small"}, "preflight 0.0"),
}


@pytest.mark.parametrize("task", FAULTS, ids=lambda task: task.__name__)
def test_a_planted_fault_is_named(task: type[Toy], tmp_path: Path) -> None:
    result = run_preflight(toy_study(task=task()), tmp_path)
    names, seen = FAULTS[task]
    assert result.status == "no-go"
    assert failed(result) == names
    assert seen in next(check.seen for check in result.checks if check.status == "no-go")
    assert json.loads((tmp_path / "preflight.json").read_text())["status"] == "no-go"


def test_an_exception_is_shown_with_the_line_of_the_task_that_raised_it(tmp_path: Path) -> None:
    broken = check(run_preflight(toy_study(task=Raising()), tmp_path), "overfit")
    line = next(
        number
        for number, text in enumerate(Path(__file__).read_text().splitlines(), 1)
        if 'raise KeyError("no such score")' in text
    )
    assert broken.look_at == f"{__file__}:{line}"


# -- what is searched ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Switches(Wrong):
    unread: float = 0.5
    late: float = 0.0  # read after the epochs that the smoke fidelity has
    scale: bool = False
    factor: float = 1.0  # read where scale is True
    width: int = 2

    def model(self) -> nn.Module:
        if self.width == 3:
            raise ValueError("width must be even")
        return super().model()

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        late = self.late * model.map.weight.square().mean() if at.epoch >= 2 else torch.zeros(())
        return {"mse": self.error(model, batch).square().mean() * (self.factor if self.scale else 1.0), "late": late}


def test_a_hyperparameter_that_affects_nothing_is_named_and_one_that_affects_something_is_not(tmp_path: Path) -> None:
    """`late` is found at the cheap fidelity, `factor` where its condition holds, and `scale`, whose True does nothing
    by itself, by what it switches on."""
    space = {
        "recipe.lr": log(1e-3, 0.3),
        "task.unread": uniform(0, 1),
        "task.late": uniform(0, 1),
        "task.scale": choose(False, True),
        "task.factor": when("task.scale", True, uniform(0.5, 2)),
    }
    result = run_preflight(toy_study(task=Switches(), space=space), tmp_path)
    assert failed(result) == {"task.unread affects training"}
    assert {check(result, f"task.{name} affects training").status for name in ("late", "scale", "factor")} == {"go"}


def test_a_value_that_cannot_be_trained_is_named_with_its_hyperparameter(tmp_path: Path) -> None:
    result = run_preflight(toy_study(task=Switches(), space={"task.width": choose(2, 3, 4)}), tmp_path)
    assert failed(result) == {"task.width affects training"}
    assert "ValueError: width must be even; with task.width = 3" in check(result, "task.width affects training").seen


# -- no false alarm --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Healthy(Spoiled):
    """The toy with data of a seed."""

    data_seed: int = 0

    mean = 0.0  # of the labels
    overfit = replace(Toy.overfit, pinned={**Toy.overfit.pinned, "task.dropout": 0.0})

    def examples(self, split: Split, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        source = generator("healthy", self.data_seed, split)
        x_NI = torch.randn(count, INPUTS, generator=source)
        return x_NI, self.mean + x_NI @ A_OI.T + NOISE * torch.randn(count, OUTPUTS, generator=source)


class Offset(Healthy):
    """Labels far from 0: the mean label alone explains nine tenths of the loss."""

    mean = 5.0
    overfit = replace(Toy.overfit, pinned={**Toy.overfit.pinned, "recipe.lr": 0.3})


class Classes(NamedTuple):
    x_BI: Tensor
    class_B: Tensor  # 0, 1 or 2


@dataclass(frozen=True)
class Classifier(Healthy):
    """Three classes, the nearest of three directions; learned by cross-entropy, judged by accuracy. Untrained, its
    loss must lie about log 3."""

    smoothing: float = 0.0

    goal = "accuracy"
    direction = "maximize"
    labels = ("class_B",)
    overfit = Overfit(
        go=0.35,
        caution=0.6,
        samples=64,
        epochs=20,
        start=(0.7, 2.5),
        pinned={"recipe.lr": 0.1, "recipe.batch_size": 16},
    )

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Classes]:
        for batch in super().batches(split, fidelity, batch_size, rng):
            yield Classes(batch.x_BI, batch.x_BI[:, :3].argmax(1))

    def model(self) -> nn.Module:
        return nn.Linear(INPUTS, 3)

    def loss(self, model: nn.Module, batch: Classes, at: Moment) -> dict[str, Tensor]:
        return {"ce": nn.functional.cross_entropy(model(batch.x_BI), batch.class_B, label_smoothing=self.smoothing)}

    def score(self, model: nn.Module, batch: Classes) -> Columns:
        return {"accuracy": model(batch.x_BI).argmax(1) == batch.class_B}

    def metrics(self, columns: Columns) -> dict[str, float]:
        return means(columns)

    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Classes]]:
        return {}


def healthy(kind: str, seed: int) -> StudySpec:
    if kind == "offset":
        return toy_study(task=Offset(data_seed=seed))
    if kind == "dropout and average":
        return toy_study(
            task=Healthy(data_seed=seed, dropout=0.1),
            recipe=Recipe(lr=0.05, batch_size=16, ema=0.8),
            space={"task.dropout": uniform(0, 0.5), "recipe.ema": choose(0.0, 0.8)},
        )
    return toy_study(
        task=Classifier(data_seed=seed), space={"recipe.lr": log(1e-2, 0.3), "task.smoothing": uniform(0, 0.2)}
    )


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 20), marks=pytest.mark.soak)], ids=["few", "many"])
@pytest.mark.parametrize("kind", ["offset", "dropout and average", "classes"])
def test_no_false_alarm_on_healthy_tasks(
    kind: str, seeds: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 seeds of data and of model for each of three kinds: 60 preflights, none of which may say other than "go"."""
    for seed in seeds:
        monkeypatch.setattr(overfit, "SEED", seed)
        result = run_preflight(healthy(kind, seed), tmp_path)
        assert [(check.name, check.seen, check.allowed) for check in result.checks if check.status != "go"] == []
        assert result.cost is not None


class OneByOne(Healthy):
    """Batches of one example, in which no label can be shuffled."""

    overfit = replace(Healthy.overfit, samples=16, pinned={**Healthy.overfit.pinned, "recipe.batch_size": 1})


class Unsupervised(Healthy):
    labels = ()


def test_labels_are_shuffled_between_batches(tmp_path: Path) -> None:
    result = run_preflight(toy_study(task=OneByOne()), tmp_path)
    assert check(result, "labels matter").status == "go"


def test_a_task_without_labels_has_none_to_shuffle(tmp_path: Path) -> None:
    result = run_preflight(toy_study(task=Unsupervised()), tmp_path)
    assert result.status == "go"
    assert check(result, "labels matter").status == "skip"


# -- the verdict that is kept ----------------------------------------------------------------------------------------
def test_the_verdict_is_kept_with_its_curves_and_cost(tmp_path: Path) -> None:
    steps: list[Step] = []
    result = preflight(toy_study(), RunFolder(tmp_path), {"code": "a"}, watch=steps.append)
    seen = [step.check.name for step in steps if step.check]
    record = json.loads((tmp_path / "preflight.json").read_text())
    assert record["status"] == result.status == "go"
    assert record["identity"] == {"code": "a"}
    assert [one["name"] for one in record["checks"]] == seen
    begun = [step.name for step in steps if not step.check]
    assert begun[:3] == ["data", "same seed, same batches", "folds"]
    assert begun[-1] == "cost"
    assert all(0 <= step.seconds <= result.seconds for step in steps)
    assert record["overfit"]["honest"][-1] <= record["overfit"]["go"]
    assert len(record["overfit"]["honest"]) == 7  # of 21: it ends where it has reached go, with the controls or later
    assert len(record["overfit"]["shuffled"]) == len(record["overfit"]["zeroed"]) == 7
    assert record["cost"]["sweep_seconds"] == pytest.approx(12 * record["cost"]["slowest_seconds"])


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (None, "no preflight has been run"),
        ({"status": "go", "identity": {"code": "a", "data": "x"}, "checks": []}, "stale: data changed since"),
        (
            {
                "status": "no-go",
                "identity": {"code": "a", "data": "y"},
                "checks": [{"name": "overfit", "status": "no-go"}, {"name": "data", "status": "go"}],
            },
            r"no-go \(overfit\)",
        ),
        ("{", "is damaged"),
    ],
)
def test_a_sweep_is_refused_without_a_fresh_go(kept: Any, why: str, tmp_path: Path) -> None:
    if kept is not None:
        (tmp_path / "preflight.json").write_text(kept if isinstance(kept, str) else json.dumps(kept))
    with pytest.raises(Refused, match=f"{why}.*run: hpo preflight toy"):
        require_go(RunFolder(tmp_path), {"code": "a", "data": "y"}, "hpo preflight toy")


@pytest.mark.parametrize("status", ["go", "caution"])
def test_a_sweep_may_begin_after_a_fresh_go_or_caution(status: str, tmp_path: Path) -> None:
    (tmp_path / "preflight.json").write_text(json.dumps({"status": status, "identity": {"code": "a"}, "checks": []}))
    require_go(RunFolder(tmp_path), {"code": "a"}, "")
