"""The go/no-go conditions that every task owes. Each function looks at one thing and returns Checks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor, nn

from hpo import space
from hpo.engine import Diverged, Progress, evaluate, fit
from hpo.seeds import derive, generator
from hpo.study import StudySpec
from hpo.task import Check, Fidelity, Held, Moment, Split, Task

CONTROL_SHARE = 0.3  # of the overfit's epochs that a control is trained for
CONTROL_GAIN = 0.75  # of the honest run's improvement that a control must stay below
SEED = derive("preflight")


# -- data ------------------------------------------------------------------------------------------------------------
def check_batches(study: StudySpec) -> list[Check]:
    """Every field of every split has the examples first, a sensible type, and finite numbers."""
    wrong: list[str] = []
    for split in ("train", "val"):
        batches = list(_batches(study, split))
        counted = sum(len(batch[0]) for batch in batches)
        if counted != study.smoke.examples(split):
            wrong.append(f"{split}: {counted} examples, not {study.smoke.examples(split)}")
        wrong += [f"{split}: {fault}" for batch in batches for fault in _faults(batch)]
    named = [name for name in (*study.task.inputs, *study.task.labels) if name not in batches[0]._fields]
    wrong += [f"{name!r} is named in inputs or labels, but no batch field" for name in named]
    return [Check("data", _status(not wrong), _first(wrong) or "finite, shapes agree", "finite; examples first",
                  "the task's batches()")]  # fmt: skip


def _faults(batch: NamedTuple) -> Iterator[str]:
    for name, tensor in zip(batch._fields, batch, strict=True):
        if not isinstance(tensor, Tensor) or tensor.dim() == 0 or len(tensor) != len(batch[0]):
            yield f"{name} must be a tensor whose first dimension is the {len(batch[0])} examples"
        elif tensor.dtype in (torch.float64, torch.complex128):
            yield f"{name} is {tensor.dtype}; use float32 or complex64"
        elif not torch.isfinite(tensor).all():
            yield f"{name} holds {int((~torch.isfinite(tensor)).sum())} numbers that are not finite"


def check_repeatable(study: StudySpec) -> list[Check]:
    """The same rng gives the same batches, another one other training batches, and val does not depend on either."""
    again = all(_equal(_batches(study, split, 1), _batches(study, split, 1)) for split in ("train", "val"))
    varied = not _equal(_batches(study, "train", 1), _batches(study, "train", 2))
    fixed = _equal(_batches(study, "val", 1), _batches(study, "val", 2))
    seen = f"repeats: {_yes(again)}; epochs differ: {_yes(varied)}; validation fixed: {_yes(fixed)}"
    return [Check("same seed, same batches", _status(again and varied and fixed), seen, "yes; yes; yes",
                  "random numbers in batches() that do not come from rng")]  # fmt: skip


def check_disjoint(study: StudySpec) -> list[Check]:
    """No two splits share what their examples come from, by content."""
    task, _ = study.configure({}, study.cheap)
    origins = {split: task.origins(split, study.cheap) for split in ("train", "val", "test")}
    pairs = [("train", "val"), ("train", "test"), ("val", "test")]
    shared = [f"{a} and {b} share {len(origins[a] & origins[b])}" for a, b in pairs if origins[a] & origins[b]]
    counts = ", ".join(f"{split} {len(found)}" for split, found in origins.items())
    return [Check("splits disjoint", _status(not shared), _first(shared) or f"none shared ({counts})", "none shared",
                  "how the task splits its data")]  # fmt: skip


# -- learning by heart -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OverfitRun:
    """What a run on the fixed set came to. Curves start with the untrained model."""

    curve: tuple[float, ...]  # the measure
    history: tuple[Mapping[str, Any], ...] = ()
    unmoved: tuple[str, ...] = ()  # trainable parameters that ended where they began
    scores: Mapping[str, float] | None = None
    start_loss: float = math.nan
    failure: str = ""


class ByHeart(Task):
    """A task whose every split is one small fixed set of batches."""

    def __init__(self, task: Task, batches: list[NamedTuple]) -> None:
        self.task, self.served = task, batches
        self.goal = task.overfit.measure
        self.direction = "minimize" if task.overfit.go <= task.overfit.caution else "maximize"

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[NamedTuple]:
        order = torch.randperm(len(self.served), generator=rng) if split == "train" else range(len(self.served))
        return (self.served[index] for index in order)

    def score(self, model: nn.Module, batches: Iterator[NamedTuple]) -> dict[str, float]:
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


def overfit_run(study: StudySpec, control: str, device: str) -> OverfitRun:
    """Train the default configuration on the fixed set: "honest", or with labels "shuffled" or inputs "zeroed"."""
    proof = study.task.overfit
    fidelity = Fidelity(size=proof.size or study.cheap.size, train=proof.samples, val=proof.samples,
                        epochs=proof.epochs, fixed={**study.cheap.fixed, **proof.pinned})  # fmt: skip
    task, recipe = study.configure({}, fidelity)
    served = list(task.batches("train", fidelity, recipe.batch_size, generator("by heart")))
    spoil = {"honest": lambda task, batch: batch, "shuffled": _shuffled, "zeroed": _zeroed}[control]
    by_heart = ByHeart(task, [spoil(task, batch) for batch in served])
    start_model = _seeded_model(task)
    start = evaluate(by_heart, start_model, served)
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
        tuple(curve), tuple(_plain(progress) for progress in seen), _unmoved(start_model, seen[-1].model),
        seen[-1].scores, start["loss"],
    )  # fmt: skip


def check_start(study: StudySpec, honest: OverfitRun) -> Check:
    """The untrained loss is finite, and where the task says that it must lie."""
    allowed = study.task.overfit.start
    within = math.isfinite(honest.start_loss) and (allowed is None or allowed[0] <= honest.start_loss <= allowed[1])
    return Check("loss at start", _status(within), f"{honest.start_loss:.4g}",
                 f"{allowed[0]:g} to {allowed[1]:g}" if allowed else "finite",
                 "the loss, and the scale of the data")  # fmt: skip


def check_overfit(study: StudySpec, honest: OverfitRun) -> Check:
    """The task can be learned by heart."""
    proof = study.task.overfit
    better = "at most" if proof.go <= proof.caution else "at least"
    seen = honest.failure or f"{proof.measure} {honest.curve[0]:.4g} -> {honest.curve[-1]:.4g}"
    return Check("overfit", "no-go" if honest.failure else proof.verdict(honest.curve[-1]),
                 f"{seen} on {proof.samples} examples, {proof.epochs} epochs",
                 f"{proof.measure} {better} {proof.go:g} (caution to {proof.caution:g})",
                 "whether inputs and labels belong together; the learning rate; what the loss rewards")  # fmt: skip


def check_finite(honest: OverfitRun) -> Check:
    """No step was skipped and no gradient had to be made finite."""
    skipped = sum(epoch["steps_skipped"] for epoch in honest.history)
    parameters = sorted({name for epoch in honest.history for name in epoch["nonfinite"]})
    clean = not skipped and not parameters and not honest.failure
    seen = honest.failure or f"{skipped} steps skipped; non-finite gradients in {', '.join(parameters) or 'none'}"
    return Check("finite everywhere", _status(clean), seen, "0 steps; none", "divisions, logarithms and roots near 0")


def check_moves(honest: OverfitRun) -> Check:
    """Every trainable parameter has moved."""
    seen = f"unmoved: {', '.join(honest.unmoved[:5])}" if honest.unmoved else "all"
    return Check("every parameter moves", _status(not honest.unmoved), seen, "all",
                 "detach(), groups() and rates(), layers that forward() does not use")  # fmt: skip


def check_control(study: StudySpec, name: str, honest: OverfitRun, control: OverfitRun) -> Check:
    """What has been spoiled matters: the control improves much less than the honest run in as many epochs."""
    matters = {"shuffled": "labels matter", "zeroed": "input matters"}[name]
    look_at = {"shuffled": "a loss that does not look at the labels",
               "zeroed": "a model that does not look at its input"}[name]  # fmt: skip
    if control.failure:
        return Check(matters, "go", f"{name}: cannot be trained ({control.failure})", "does worse", look_at)
    epoch = min(len(control.curve), len(honest.curve)) - 1
    gain, honest_gain = (_gain(study, run.curve, epoch) for run in (control, honest))
    share = gain / honest_gain if honest_gain > 0 else math.inf
    worse = share <= CONTROL_GAIN and study.task.overfit.verdict(control.curve[epoch]) != "go"
    seen = f"{name}: {study.task.overfit.measure} {control.curve[epoch]:.4g} after {epoch} epochs, honest " \
           f"{honest.curve[epoch]:.4g}"  # fmt: skip
    return Check(matters, _status(worse), seen, f"at most {CONTROL_GAIN:.0%} of the honest gain", look_at)


def _gain(study: StudySpec, curve: tuple[float, ...], epoch: int) -> float:
    sign = -1 if study.task.overfit.go <= study.task.overfit.caution else 1
    return sign * (curve[epoch] - curve[0])


# -- the run ---------------------------------------------------------------------------------------------------------
def check_same_run(study: StudySpec, device: str) -> list[Check]:
    """The same seed gives the same run, bit for bit on the CPU; another seed another one."""
    runs = [_smoke_run(study, {}, seed, device) for seed in (1, 1, 2)]
    same, other = runs[0] == runs[1], runs[0] != runs[2]
    return [Check("same seed, same run", _status(same and other), f"repeats: {_yes(same)}; seeds differ: {_yes(other)}",
                  "yes; yes", "random numbers that come neither from rng nor from torch")]  # fmt: skip


def check_goal(study: StudySpec, device: str) -> list[Check]:
    """The goal is a mean over examples: scored one by one it comes out the same."""
    task, _ = study.configure({}, study.smoke)
    model = _seeded_model(task)
    whole = list(_batches(study, "val"))
    goal = evaluate(task, model, whole)[task.goal]
    singles = list(task.batches("val", study.smoke, 1, generator("validation")))
    one_by_one = [evaluate(task, model, [single])[task.goal] for single in singles]
    mean = sum(one_by_one) / len(one_by_one)
    same = math.isfinite(goal) and abs(mean - goal) <= 1e-3 * max(1e-6, abs(goal))
    return [Check("goal is a mean", _status(same), f"{goal:.6g} at once, {mean:.6g} one by one", "the same",
                  "score(): batch statistics, medians, or examples that depend on batch_size")]  # fmt: skip


def check_knob(study: StudySpec, name: str, device: str) -> Check:
    """Changing a searched name changes the run: at the smoke fidelity, or else at the cheap one."""
    entry = study.space[name]
    parents = _parents(study.space, name)
    for fidelity in (study.smoke, study.cheap):
        free = replace(fidelity, fixed={key: value for key, value in fidelity.fixed.items() if key not in study.space})
        reference = _run(study, parents, free, 1, device)
        for value in alternatives(space.distribution_of(entry), space.defaults({name: entry}, study.owners)[name]):
            if _run(study, {**parents, name: value}, free, 1, device) != reference:
                return Check(f"reaches: {name}", "go", f"{value!r} changes the run", "changes something")
    return Check(f"reaches: {name}", "no-go", "no value changes anything", "changes something",
                 f"where {name} is read; remove it from the space if it cannot matter")  # fmt: skip


def alternatives(distribution: BaseDistribution, default: Any) -> list[Any]:
    """Values at the ends of a range, or the other choices: what differs most from the default."""
    if isinstance(distribution, CategoricalDistribution):
        return [choice for choice in distribution.choices if choice != default]
    return [value for value in (distribution.low, distribution.high) if value != default]


# -- small parts -----------------------------------------------------------------------------------------------------
def _run(study: StudySpec, values: Mapping[str, Any], fidelity: Fidelity, seed: int, device: str) -> list[Any]:
    """Losses, terms and scores of every epoch; a run that diverges is told apart by how."""
    task, recipe = study.configure(values, fidelity)
    try:
        return [(p.loss, dict(p.terms), dict(p.scores)) for p in fit(task, recipe, fidelity, seed=seed, device=device)]
    except Diverged as diverged:
        return [str(diverged)]


def _smoke_run(study: StudySpec, values: Mapping[str, Any], seed: int, device: str) -> list[Any]:
    return _run(study, values, study.smoke, seed, device)


def _parents(entries: space.Space, name: str) -> dict[str, Any]:
    """The values that bring a conditional parameter into being."""
    entry = entries[name]
    if not isinstance(entry, space.When):
        return {}
    return {**_parents(entries, entry.parent), entry.parent: entry.value}


def _batches(study: StudySpec, split: Split, seed: int = 1) -> Iterator[NamedTuple]:
    task, recipe = study.configure({}, study.smoke)
    return task.batches(split, study.smoke, recipe.batch_size, generator("preflight", seed))


def _equal(left: Iterator[NamedTuple], right: Iterator[NamedTuple]) -> bool:
    pairs = list(zip(left, right, strict=True))
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


def _shuffled(task: Task, batch: NamedTuple) -> NamedTuple:
    return batch._replace(**{name: getattr(batch, name).roll(1, 0) for name in task.labels})


def _zeroed(task: Task, batch: NamedTuple) -> NamedTuple:
    return batch._replace(**{name: torch.zeros_like(getattr(batch, name)) for name in task.inputs})


def _seeded_model(task: Task) -> nn.Module:
    """The model that the engine starts from with seed SEED."""
    torch.manual_seed(derive(SEED, "model"))
    return task.model()


def _unmoved(before: nn.Module, after: nn.Module) -> tuple[str, ...]:
    start = dict(before.named_parameters())
    return tuple(name for name, parameter in after.named_parameters()
                 if start[name].requires_grad and torch.equal(start[name].cpu(), parameter.detach().cpu()))  # fmt: skip


def _plain(progress: Progress) -> dict[str, Any]:
    """An epoch as the task's own checks see it: everything by its own name, in one mapping."""
    return {**progress.terms, **progress.scores, "epoch": progress.epoch, "loss": progress.loss,
            "grad_norm": progress.grad_norm, "steps_taken": progress.steps_taken,
            "steps_skipped": progress.steps_skipped, "nonfinite": dict(progress.nonfinite)}  # fmt: skip


def _status(holds: bool) -> str:
    return "go" if holds else "no-go"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _first(wrong: list[str]) -> str:
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return f"{wrong[0]}{more}" if wrong else ""
