"""The overfit check: train the default configuration on a small fixed set, which it must learn.

Two controls are trained the same way and must do worse: with labels shuffled, and with inputs zeroed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from hpo.checking.controls import filled, without_inputs
from hpo.contract.returned import checked_columns, checked_scores, checked_terms
from hpo.data.batch import example, examples_in
from hpo.data.passes import one_pass
from hpo.engine.evaluation import evaluate
from hpo.engine.model import initial_model
from hpo.engine.training import Progress, fit
from hpo.epoch import Epoch
from hpo.errors import Diverged
from hpo.recipe import Recipe
from hpo.seeds import derive, generator
from hpo.study import StudySpec
from hpo.task import Columns, Fidelity, Held, Moment, Overfit, Split, Task

LOSS = "loss of the overfit check"  # a column beside the task's own
CONTROL_SHARE = 0.3  # of the honest run's epochs that a control is trained for
LEAST_STEPS = 300  # of an honest run for which the task gives no bands
SEED = derive("preflight")
NO_BRAKES: Mapping[str, Any] = {"recipe.weight_decay": 0.0, "recipe.ema": 0.0, "recipe.patience": None}

Control = Literal["shuffled", "zeroed"]
RunName = Literal["honest"] | Control


@dataclass(frozen=True)
class OverfitRun:
    """One run on the fixed set: the honest one, or a control."""

    curve: tuple[float, ...]  # the measure, from the untrained model on
    history: tuple[Epoch, ...] = ()
    unmoved: tuple[str, ...] = ()  # trainable parameters that ended where they began
    frozen: tuple[str, ...] = ()  # parameters that model() made untrainable
    scores: Mapping[str, float] | None = None  # after the last epoch; None where the run diverged
    start: Mapping[str, float] = field(default_factory=dict)  # scores and loss of the untrained model
    failure: str = ""  # why the run diverged
    examples: int = 0  # in the set

    @property
    def steps(self) -> int:
        """Optimizer steps that were taken."""
        return sum(epoch.steps_taken for epoch in self.history)


class OverfitSet(Task[Any]):
    """A task whose every split is the same small fixed set of batches, and whose goal is the overfit measure."""

    def __init__(self, task: Task[Any], fixed_batches: list[NamedTuple]) -> None:
        self.task = self.stands_for = task
        self.fixed_batches = fixed_batches
        # goal and direction belong to the class of every other task; here they follow from the task inside
        self.goal = task.overfit.measure  # type: ignore[misc]
        self.direction = task.overfit.direction.value  # type: ignore[misc]

    def batches(
        self,
        split: Split,
        fidelity: Fidelity,  # noqa: ARG002  # the set is fixed
        batch_size: int,  # noqa: ARG002  # its batches too
        rng: torch.Generator,
    ) -> Iterator[NamedTuple]:
        number = len(self.fixed_batches)
        order = torch.randperm(number, generator=rng).tolist() if split == "train" else range(number)
        return (self.fixed_batches[index] for index in order)

    def score(self, model: nn.Module, batch: NamedTuple) -> Columns:
        """The task's columns, and the loss of the batch as it is weighted in the middle of a run."""
        epochs = self.task.overfit.epochs
        middle = Moment(epochs // 2, epochs, epochs // 2, epochs)
        loss = float(sum(checked_terms(self, self.task.loss(model, batch, middle)).values()))
        columns = checked_columns(self, self.task.score(model, batch), examples_in(batch), source="score")
        return {**columns, LOSS: torch.full((examples_in(batch),), loss)}

    def metrics(self, columns: Columns) -> dict[str, float | Tensor]:
        """The task's scores, and the mean loss."""
        own = {name: column for name, column in columns.items() if name != LOSS}
        return {**checked_scores(self, self.task.metrics(own)), "loss": columns[LOSS].mean()}

    def model(self) -> nn.Module:
        return self.task.model()

    def loss(self, model: nn.Module, batch: NamedTuple, at: Moment) -> Mapping[str, Tensor | float]:
        return self.task.loss(model, batch, at)

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return self.task.groups(model)

    def optimizer(self, groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer | None:
        return self.task.optimizer(groups, recipe)

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return self.task.rates(at)

    def project(self, model: nn.Module) -> None:
        self.task.project(model)


# -- training --------------------------------------------------------------------------------------------------------
def overfit_run(study: StudySpec, name: RunName, device: str) -> OverfitRun:
    """Train the default configuration on the fixed set: as it is, or with labels "shuffled" or inputs "zeroed".

    The honest run ends where it has reached `go`, but no earlier than the controls.
    """
    bands = study.task.overfit
    bands.check_direction(study.task.goal, study.direction)
    fixed = fixed_set(study)
    task, recipe, fidelity = fixed.task, fixed.recipe, fixed.fidelity
    overfit_set = OverfitSet(task, _spoiled(task, fixed.batches, name))
    untrained = seeded_model(task, fixed.batches)
    start = evaluate(overfit_set, untrained, overfit_set.fixed_batches)

    curve = [start[bands.measure]]
    history: list[Epoch] = []
    last: Progress | None = None
    try:
        training = fit(overfit_set, recipe, fidelity, seed=SEED, device=device)
        for progress in itertools.islice(training, _longest(bands, fidelity.epochs, name)):
            curve.append(progress.value)
            history.append(progress.record)
            last = progress
            if len(history) >= _control_epochs(fidelity.epochs) and _has_reached_go(bands, progress.value):
                break
    except Diverged as diverged:
        return OverfitRun(
            tuple(curve), tuple(history), start=start, failure=str(diverged), examples=fidelity.examples("train")
        )
    assert last is not None  # every run has an epoch
    return OverfitRun(
        curve=tuple(curve),
        history=tuple(history),
        unmoved=_unmoved(untrained, last.model),
        frozen=tuple(name for name, parameter in untrained.named_parameters() if not parameter.requires_grad),
        scores=last.scores,
        start=start,
        examples=fidelity.examples("train"),
    )


class FixedSet(NamedTuple):
    """The set that is to be learned, and the configuration that is to learn it."""

    task: Task[Any]
    recipe: Recipe
    fidelity: Fidelity
    batches: list[NamedTuple]


def fixed_set(study: StudySpec) -> FixedSet:
    """The set, with as many examples as the overfit check asks for, or all that the full training split has.

    What would keep a sound model from overfitting is off, unless the task pins it: weight decay would also move
    parameters that no gradient reaches.
    """
    bands = study.task.overfit
    fidelity = Fidelity(
        size=bands.size or study.cheap.size,
        train=min(bands.samples, study.full.train or bands.samples),
        epochs=bands.epochs,
        fixed={**study.cheap.fixed, **NO_BRAKES, **bands.pinned},
    )
    task, recipe = study.configure({}, fidelity)
    rng = generator("by heart")  # an older name of this check: another word would draw another set
    batches = list(one_pass(task, "train", fidelity, recipe.batch_size, rng))
    examples = sum(examples_in(batch) for batch in batches)
    epochs = bands.epochs if bands.go is not None else max(bands.epochs, math.ceil(LEAST_STEPS / len(batches)))
    return FixedSet(task, recipe, replace(fidelity, train=examples, val=examples, epochs=epochs), batches)


def seeded_model(task: Task[Any], batches: list[NamedTuple]) -> nn.Module:
    """The model that the engine starts from with seed SEED."""
    return initial_model(task, SEED, lambda: batches[0])


def _longest(bands: Overfit, epochs: int, name: RunName) -> int:
    """How many epochs a run may take.

    A control is stopped early, except the one whose end is the best constant prediction, where bands are made of it.
    """
    if name == "honest" or (name == "zeroed" and bands.go is None):
        return epochs
    return _control_epochs(epochs)


def _control_epochs(epochs: int) -> int:
    return max(2, round(CONTROL_SHARE * epochs))


def _has_reached_go(bands: Overfit, value: float) -> bool:
    return bands.go is not None and (value == bands.go or bands.direction.better(value, bands.go))


def _spoiled(task: Task[Any], batches: list[NamedTuple], name: RunName) -> list[NamedTuple]:
    if name == "shuffled":
        return _with_rotated_labels(task, batches)
    if name == "zeroed":
        return _with_zeroed_inputs(task, batches)
    return batches


def _with_rotated_labels(task: Task[Any], batches: list[NamedTuple]) -> list[NamedTuple]:
    """Labels rotated by half the set.

    Over the whole set and not within a batch: neighbours may be alike, and a batch may hold a single example.
    """
    sizes = [examples_in(batch) for batch in batches]
    ends = list(itertools.accumulate(sizes))
    rotated: dict[str, list[Any]] = {}
    for name in task.labels:
        fields = [getattr(batch, name) for batch in batches]
        labels = [example(field, row) for field, size in zip(fields, sizes, strict=True) for row in range(size)]
        half = len(labels) // 2
        labels = labels[len(labels) - half :] + labels[: len(labels) - half]
        rotated[name] = [
            filled(field, labels[end - size : end]) for field, size, end in zip(fields, sizes, ends, strict=True)
        ]
    return [
        batch._replace(**{name: fields[index] for name, fields in rotated.items()})
        for index, batch in enumerate(batches)
    ]


def _with_zeroed_inputs(task: Task[Any], batches: list[NamedTuple]) -> list[NamedTuple]:
    return [without_inputs(task, batch) for batch in batches]


def _unmoved(before: nn.Module, after: nn.Module) -> tuple[str, ...]:
    """The names of the trainable parameters that have the same values in both models."""
    start = dict(before.named_parameters())
    return tuple(
        name
        for name, parameter in after.named_parameters()
        if start[name].requires_grad and parameter.numel() and torch.equal(start[name].cpu(), parameter.detach().cpu())
    )
