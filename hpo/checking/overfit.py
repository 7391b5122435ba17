"""The overfit check: train the default configuration on a small fixed set, which it must learn.

Two controls are trained the same way and must do worse: with labels shuffled, and with inputs zeroed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from hpo.checking.controls import filled, zeroed
from hpo.contract.returned import checked_columns, checked_scores, checked_terms
from hpo.data.batch import example, examples_in
from hpo.data.passes import one_pass
from hpo.direction import Direction
from hpo.engine.evaluation import evaluate
from hpo.engine.model import initial_model
from hpo.engine.training import Progress, fit
from hpo.epoch import Epoch
from hpo.errors import Diverged
from hpo.formatting import count
from hpo.recipe import Recipe
from hpo.seeds import derive, generator
from hpo.study import StudySpec
from hpo.task import Check, Columns, Fidelity, Held, Moment, Split, Task

LOSS = "loss of the overfit check"  # a column beside the task's own
CONTROL_SHARE = 0.3  # of the honest run's epochs that a control is trained for
CONTROL_LAG = 0.25  # share of the honest gain, or of its own way to `go`, that a control must lag behind
SEED = derive("preflight")

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
    start_loss: float = math.nan  # of the untrained model
    failure: str = ""  # why the run diverged


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

    There is no weight decay unless the task pins some: it would move parameters that no gradient reaches.
    """
    bands = study.task.overfit
    fidelity = Fidelity(
        size=bands.size or study.cheap.size,
        train=bands.samples,
        val=bands.samples,
        epochs=bands.epochs,
        fixed={**study.cheap.fixed, "recipe.weight_decay": 0.0, **bands.pinned},
    )
    task, recipe = study.configure({}, fidelity)
    rng = generator("by heart")  # an older name of this check: another word would draw another set
    batches = list(one_pass(task, "train", fidelity, recipe.batch_size, rng))
    overfit_set = OverfitSet(task, _spoiled(task, batches, name))
    untrained = seeded_model(task, batches)
    start = evaluate(overfit_set, untrained, overfit_set.fixed_batches)

    curve = [start[bands.measure]]
    history: list[Epoch] = []
    last: Progress | None = None
    try:
        training = fit(overfit_set, recipe, fidelity, seed=SEED, device=device)
        for progress in itertools.islice(training, _epochs(bands.epochs, name)):
            curve.append(progress.value)
            history.append(progress.record)
            last = progress
    except Diverged as diverged:
        return OverfitRun(tuple(curve), start_loss=start["loss"], failure=str(diverged))
    assert last is not None  # every run has an epoch
    return OverfitRun(
        curve=tuple(curve),
        history=tuple(history),
        unmoved=_unmoved(untrained, last.model),
        frozen=tuple(name for name, parameter in untrained.named_parameters() if not parameter.requires_grad),
        scores=last.scores,
        start_loss=start["loss"],
    )


def seeded_model(task: Task[Any], batches: list[NamedTuple]) -> nn.Module:
    """The model that the engine starts from with seed SEED."""
    return initial_model(task, SEED, lambda: batches[0])


def _epochs(epochs: int, name: RunName) -> int:
    return epochs if name == "honest" else max(2, round(CONTROL_SHARE * epochs))


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
    return [batch._replace(**{name: zeroed(getattr(batch, name)) for name in task.inputs}) for batch in batches]


def _unmoved(before: nn.Module, after: nn.Module) -> tuple[str, ...]:
    """The names of the trainable parameters that have the same values in both models."""
    start = dict(before.named_parameters())
    return tuple(
        name
        for name, parameter in after.named_parameters()
        if start[name].requires_grad and parameter.numel() and torch.equal(start[name].cpu(), parameter.detach().cpu())
    )


# -- checks ----------------------------------------------------------------------------------------------------------
def check_start(study: StudySpec, honest: OverfitRun) -> Check:
    """The loss of the untrained model is finite, and lies where the task says that it must."""
    loss, limits = honest.start_loss, study.task.overfit.start
    holds = math.isfinite(loss) and (limits is None or limits[0] <= loss <= limits[1])
    return Check(
        name="loss at start",
        status="go" if holds else "no-go",
        seen=f"{loss:.4g}",
        allowed=f"{limits[0]:g} to {limits[1]:g}" if limits else "finite",
        look_at="the loss, and the scale of the data",
    )


def check_overfit(study: StudySpec, honest: OverfitRun) -> Check:
    """The honest run learns the fixed set."""
    bands = study.task.overfit
    bound = "at most" if bands.direction is Direction.MINIMIZE else "at least"
    result = honest.failure or f"{bands.measure} {honest.curve[0]:.4g} -> {honest.curve[-1]:.4g}"
    return Check(
        name="overfit",
        status="no-go" if honest.failure else bands.verdict(honest.curve[-1]),
        seen=f"{result} on {bands.samples} examples, {bands.epochs} epochs",
        allowed=f"{bands.measure} {bound} {bands.go:g}; caution: {bound} {bands.caution:g}",
        look_at="whether inputs and labels belong together; the learning rate; what the loss rewards",
    )


def check_finite(honest: OverfitRun) -> Check:
    """No step is skipped, and no gradient has to be made finite."""
    skipped = sum(epoch.steps_skipped for epoch in honest.history)
    parameters = sorted({name for epoch in honest.history for name in epoch.nonfinite})
    holds = skipped == 0 and not parameters and not honest.failure
    counted = f"{count(skipped, 'step')} skipped; non-finite gradients in {', '.join(parameters) or 'none'}"
    return Check(
        name="finite everywhere",
        status="go" if holds else "no-go",
        seen=honest.failure or counted,
        allowed="0 steps skipped; none",
        look_at="divisions, logarithms and roots near 0",
    )


def check_moves(honest: OverfitRun) -> Check:
    """Training changes every trainable parameter."""
    seen = "all"
    if honest.frozen:
        seen = f"all but {len(honest.frozen)}, which model() froze"
    if honest.unmoved:
        seen = f"unmoved: {', '.join(honest.unmoved[:5])}"
    return Check(
        name="every parameter moves",
        status="no-go" if honest.unmoved else "go",
        seen=seen,
        allowed="all that can be trained",
        look_at="detach(), groups() and rates(), layers that forward() does not use",
    )


CONTROL_CHECK: Mapping[Control, str] = {"shuffled": "labels matter", "zeroed": "input matters"}
_LOOK_AT: Mapping[Control, str] = {
    "shuffled": "a loss that does not look at the labels",
    "zeroed": "a model that does not look at its input",
}


def check_control(study: StudySpec, control: Control, honest: OverfitRun, spoiled: OverfitRun | None) -> Check:
    """The control lags well behind the honest run after as many epochs, so what was spoiled matters.

    "Well behind" is CONTROL_LAG of what the honest run has gained, or of what the control still lacks to `go`,
    whichever is less. The honest gain alone would not do: where the mean label explains most of the loss, both runs
    gain almost the same. `spoiled` is None where the task names no such fields.
    """
    name = CONTROL_CHECK[control]
    if spoiled is None:
        return Check(name, "skip", "the task names no such fields", "worse than the honest run")
    if spoiled.failure:
        seen = f"{control}: cannot be trained ({spoiled.failure})"
        return Check(name, "go", seen, "worse than the honest run", _LOOK_AT[control])
    bands = study.task.overfit
    epoch = min(len(spoiled.curve), len(honest.curve)) - 1
    start, honest_value, spoiled_value = honest.curve[0], honest.curve[epoch], spoiled.curve[epoch]
    gain = bands.direction.lead(honest_value, start)
    if not gain > 0:
        return Check(name, "skip", "the honest run did not improve", "worse than the honest run")
    lack = bands.direction.lead(bands.go, spoiled_value)
    lag = bands.direction.lead(honest_value, spoiled_value)
    least_lag = CONTROL_LAG * min(gain, max(lack, 0.0))
    return Check(
        name=name,
        status="go" if lack > 0 and lag >= least_lag else "no-go",
        seen=f"{control}: {bands.measure} {spoiled_value:.4g} after {epoch} epochs, honest {honest_value:.4g}",
        allowed=f"worse by at least {least_lag:.3g}" if lack > 0 else f"does not reach {bands.go:g}",
        look_at=_LOOK_AT[control],
    )
