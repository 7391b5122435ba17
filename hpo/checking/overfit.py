"""Learning by heart: the default configuration on a small fixed set, honestly and with a control that must fail."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from hpo.engine.evaluation import evaluate
from hpo.engine.training import fit
from hpo.epoch import Epoch
from hpo.errors import Diverged
from hpo.seeds import derive, generator
from hpo.study import StudySpec
from hpo.task import Check, Fidelity, Held, Moment, Split, Task

CONTROL_SHARE = 0.3  # of the proof's epochs that a control is trained for
CONTROL_LAG = 0.25  # share of the honest gain, or of its own way to `go`, that a control must lag behind
SEED = derive("preflight")

Control = Literal["honest", "shuffled", "zeroed"]


@dataclass(frozen=True)
class OverfitRun:
    """What a run on the fixed set came to. Curves start with the untrained model."""

    curve: tuple[float, ...]  # the measure
    history: tuple[Epoch, ...] = ()
    unmoved: tuple[str, ...] = ()  # trainable parameters that ended where they began
    frozen: tuple[str, ...] = ()  # parameters that model() made untrainable
    scores: Mapping[str, float] | None = None
    start_loss: float = math.nan
    failure: str = ""


class ByHeart(Task):
    """A task whose every split is one small fixed set of batches."""

    def __init__(self, task: Task, batches: list[NamedTuple]) -> None:
        self.task, self.served = task, batches
        # a task's goal and direction are its class's; here alone they are those of the task inside
        self.goal = task.overfit.measure  # type: ignore[misc]
        self.direction = "minimize" if task.overfit.go <= task.overfit.caution else "maximize"  # type: ignore[misc]

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[NamedTuple]:
        order = torch.randperm(len(self.served), generator=rng) if split == "train" else range(len(self.served))
        return (self.served[index] for index in order)

    def score(self, model: nn.Module, batches: Iterable[NamedTuple]) -> dict[str, float]:
        """The task's scores and its loss in the middle of a run, where its weights are the main ones."""
        batches, epochs = list(batches), self.task.overfit.epochs
        middle = Moment(epochs // 2, epochs, epochs // 2, epochs)
        losses = [float(sum(self.task.loss(model, batch, middle).values())) * len(batch[0]) for batch in batches]
        return {**self.task.score(model, batches), "loss": sum(losses) / sum(len(batch[0]) for batch in batches)}

    def model(self) -> nn.Module:
        return self.task.model()

    def loss(self, model: nn.Module, batch: NamedTuple, at: Moment) -> dict[str, Tensor]:
        return self.task.loss(model, batch, at)

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return self.task.groups(model)

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return self.task.rates(at)

    def project(self, model: nn.Module) -> None:
        self.task.project(model)


def overfit_run(study: StudySpec, control: Control, device: str) -> OverfitRun:
    """Train the default configuration on the fixed set: "honest", or with labels "shuffled" or inputs "zeroed".

    Without weight decay, unless the task pins some: it would move parameters that no gradient reaches.
    """
    proof = study.task.overfit
    fidelity = Fidelity(
        size=proof.size or study.cheap.size,
        train=proof.samples,
        val=proof.samples,
        epochs=proof.epochs,
        fixed={**study.cheap.fixed, "recipe.weight_decay": 0.0, **proof.pinned},
    )
    task, recipe = study.configure({}, fidelity)
    served = list(task.batches("train", fidelity, recipe.batch_size, generator("by heart")))
    spoil = {"honest": lambda task, batches: batches, "shuffled": _shuffled, "zeroed": _zeroed}[control]
    by_heart = ByHeart(task, spoil(task, served))
    start_model = seeded_model(task)
    start = evaluate(by_heart, start_model, by_heart.served)
    curve, seen = [start[proof.measure]], []
    limit = proof.epochs if control == "honest" else max(2, round(CONTROL_SHARE * proof.epochs))
    try:
        for progress in fit(by_heart, recipe, fidelity, seed=SEED, device=device):
            curve.append(progress.value)
            seen.append(progress)
            if progress.epoch + 1 == limit:
                break
    except Diverged as diverged:
        return OverfitRun(tuple(curve), start_loss=start["loss"], failure=str(diverged))
    return OverfitRun(
        tuple(curve),
        tuple(progress.record for progress in seen),
        _unmoved(start_model, seen[-1].model),
        tuple(name for name, parameter in start_model.named_parameters() if not parameter.requires_grad),
        seen[-1].scores,
        start["loss"],
    )


def check_start(study: StudySpec, honest: OverfitRun) -> Check:
    """The untrained loss is finite, and where the task says that it must lie."""
    allowed = study.task.overfit.start
    within = math.isfinite(honest.start_loss) and (allowed is None or allowed[0] <= honest.start_loss <= allowed[1])
    return Check(
        "loss at start",
        "go" if within else "no-go",
        f"{honest.start_loss:.4g}",
        f"{allowed[0]:g} to {allowed[1]:g}" if allowed else "finite",
        "the loss, and the scale of the data",
    )


def check_overfit(study: StudySpec, honest: OverfitRun) -> Check:
    """The task can be learned by heart."""
    proof = study.task.overfit
    better = "at most" if proof.go <= proof.caution else "at least"
    seen = honest.failure or f"{proof.measure} {honest.curve[0]:.4g} -> {honest.curve[-1]:.4g}"
    return Check(
        "overfit",
        "no-go" if honest.failure else proof.verdict(honest.curve[-1]),
        f"{seen} on {proof.samples} examples, {proof.epochs} epochs",
        f"{proof.measure} {better} {proof.go:g} (caution to {proof.caution:g})",
        "whether inputs and labels belong together; the learning rate; what the loss rewards",
    )


def check_finite(honest: OverfitRun) -> Check:
    """No step was skipped and no gradient had to be made finite."""
    skipped = sum(epoch.steps_skipped for epoch in honest.history)
    parameters = sorted({name for epoch in honest.history for name in epoch.nonfinite})
    clean = not skipped and not parameters and not honest.failure
    seen = honest.failure or f"{skipped} steps skipped; non-finite gradients in {', '.join(parameters) or 'none'}"
    return Check(
        "finite everywhere", "go" if clean else "no-go", seen, "0 steps; none", "divisions, logarithms and roots near 0"
    )


def check_moves(honest: OverfitRun) -> Check:
    """Every trainable parameter has moved."""
    kept = f", but for {len(honest.frozen)} that model() froze" if honest.frozen else ""
    seen = f"unmoved: {', '.join(honest.unmoved[:5])}" if honest.unmoved else f"all{kept}"
    return Check(
        "every parameter moves",
        "no-go" if honest.unmoved else "go",
        seen,
        "all that can be trained",
        "detach(), groups() and rates(), layers that forward() does not use",
    )


def check_control(study: StudySpec, control: Control, honest: OverfitRun, spoiled: OverfitRun | None) -> Check:
    """What has been spoiled matters: after as many epochs the control lags well behind the honest run.

    Well behind is CONTROL_LAG of what the honest run has gained, or of what the control lacks to `go`, whichever is
    less: where the mean label alone explains most of the loss, the first would call every control a good one.
    `spoiled` is None where the task has nothing to spoil.
    """
    matters, look_at = {
        "shuffled": ("labels matter", "a loss that does not look at the labels"),
        "zeroed": ("input matters", "a model that does not look at its input"),
    }[control]
    if spoiled is None:
        return Check(matters, "skip", "the task names none", "does worse")
    if spoiled.failure:
        return Check(matters, "go", f"{control}: cannot be trained ({spoiled.failure})", "does worse", look_at)
    proof = study.task.overfit
    sign = 1 if proof.go <= proof.caution else -1
    epoch = min(len(spoiled.curve), len(honest.curve)) - 1
    gain = sign * (honest.curve[0] - honest.curve[epoch])
    if not gain > 0:
        return Check(matters, "skip", "the honest run did not improve", "does worse")
    lack = sign * (spoiled.curve[epoch] - proof.go)
    least = CONTROL_LAG * min(gain, max(lack, 0.0))
    lag = sign * (spoiled.curve[epoch] - honest.curve[epoch])
    seen = (
        f"{control}: {proof.measure} {spoiled.curve[epoch]:.4g} after {epoch} epochs, honest {honest.curve[epoch]:.4g}"
    )
    allowed = f"worse by at least {least:.3g}" if lack > 0 else f"does not come to {proof.go:g}"
    return Check(matters, "go" if lack > 0 and lag >= least else "no-go", seen, allowed, look_at)


def seeded_model(task: Task) -> nn.Module:
    """The model that the engine starts from with seed SEED."""
    torch.manual_seed(derive(SEED, "model"))
    return task.model()


def _shuffled(task: Task, batches: list[NamedTuple]) -> list[NamedTuple]:
    """The labels of half the set further on, for every example: over the whole set, since neighbours may be alike and
    a batch may hold one example."""

    def moved(name: str) -> tuple[Tensor, ...]:
        parts = [getattr(batch, name) for batch in batches]
        whole = torch.cat(parts)
        return whole.roll(len(whole) // 2, 0).split([len(part) for part in parts])

    columns = {name: moved(name) for name in task.labels}
    return [
        batch._replace(**{name: column[index] for name, column in columns.items()})
        for index, batch in enumerate(batches)
    ]


def _zeroed(task: Task, batches: list[NamedTuple]) -> list[NamedTuple]:
    return [
        batch._replace(**{name: torch.zeros_like(getattr(batch, name)) for name in task.inputs}) for batch in batches
    ]


def _unmoved(before: nn.Module, after: nn.Module) -> tuple[str, ...]:
    start = dict(before.named_parameters())
    return tuple(
        name
        for name, parameter in after.named_parameters()
        if start[name].requires_grad and torch.equal(start[name].cpu(), parameter.detach().cpu())
    )
