"""The checks of preflight on the run, the searched hyperparameters, and what promotion needs.

Each function makes one check. Those on the data, and the overfit check, have files of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hpo import space
from hpo.checking.data import batches as _batches
from hpo.checking.wording import first_fault, status_of, yes_or_no
from hpo.engine.evaluation import evaluate, judge_baselines, judge_batches, resolve_device, scores_of
from hpo.engine.own_training import OwnProgress, epochs_of
from hpo.engine.pseudo_values import pseudo_values
from hpo.engine.rows import Rows
from hpo.engine.training import Progress, fit
from hpo.epoch import Epoch
from hpo.errors import Diverged, Infeasible
from hpo.study import StudySpec
from hpo.task import Chart, Check, Fidelity, Picture, Task
from hpo.trial.artifact import card_of, rebuild_as, task_class
from hpo.trial.weights import packed

SAME = 1e-3  # relative difference up to which two scores count as the same
MAY_DIFFER = 20  # of so many whole numbers one may differ
NOISE = 10  # a change counts if it is this many times what repeating the run changes; on the CPU that is nothing

Numbers = Mapping[str, float]  # the losses, terms and scores of a run, by name and epoch


# -- the run ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SmokeRun:
    """The default configuration, trained at the smoke fidelity with seed 1."""

    numbers: Numbers
    model: nn.Module = field(repr=False)  # as it was scored after the last epoch


def smoke_run(study: StudySpec, device: str) -> SmokeRun:
    """Run the default configuration at the smoke fidelity. Raises Diverged."""
    task, recipe = study.configure({}, searchable(study, study.smoke))
    epochs = list(fit(task, recipe, study.smoke, seed=1, device=device))
    return SmokeRun(numbers_of(epochs), epochs[-1].model)


def check_same_run(study: StudySpec, device: str, smoke: Numbers) -> list[Check]:
    """The same seed gives the same run, on the CPU bit for bit, and another seed gives another run.

    `smoke` holds the numbers of the smoke run.
    """
    fidelity = searchable(study, study.smoke)
    noise = distance(smoke, _run(study, {}, fidelity, 1, device))
    seeds_differ = changes_run(study, {}, fidelity, device, smoke, seed=2, noise=0.0)
    exact = noise == 0 or is_exact(device)
    is_same = noise == 0 if exact else changes_run(study, {}, fidelity, device, smoke, seed=2, noise=noise)
    return [
        Check(
            name="same seed, same run",
            status=status_of(is_same and seeds_differ),
            seen=f"repeats: {yes_or_no(is_same)}; seeds differ: {yes_or_no(seeds_differ)}",
            allowed="yes; yes",
            look_at="random numbers from a generator of one's own that is not seeded",
        )
    ]


def check_rows(study: StudySpec, trained: nn.Module) -> list[Check]:
    """What `score` says of an example depends on nothing but the example, with a trained model.

    Examples are scored in the recipe's batches and one by one: batch statistics, padding to the longest neighbour, and
    what is computed once a batch show as a difference.
    """
    task, _ = study.configure({}, searchable(study, study.smoke))  # as the trained model was
    together = judge_batches(task, trained, _batches(study, study.smoke, "val")).columns
    alone = judge_batches(task, trained, _batches(study, study.smoke, "val", 1, batch_size=1)).columns
    differing = [name for name in together if not _same_column(together[name], alone[name])]
    return [
        Check(
            name="rows belong to examples",
            status=status_of(not differing),
            seen=f"other values one by one: {', '.join(differing)}" if differing else "the same one by one",
            allowed="the same in a batch and one by one",
            look_at="score(): what it computes from a whole batch, or from its first example",
        )
    ]


def _same_column(together_N: Tensor, alone_N: Tensor) -> bool:
    """Whether two columns agree, up to the order of sums. Of whole numbers one may differ: it may have been a tie."""
    if together_N.shape != alone_N.shape:
        return False
    if not together_N.is_floating_point():
        return int((together_N != alone_N).sum()) <= len(together_N) // MAY_DIFFER
    scale = float(together_N[torch.isfinite(together_N)].abs().max()) if torch.isfinite(together_N).any() else 1.0
    return torch.allclose(together_N, alone_N, rtol=SAME, atol=SAME * scale, equal_nan=True)


# -- what is searched ------------------------------------------------------------------------------------------------
def affects_training(name: str) -> str:
    """The name of the check on a searched hyperparameter."""
    return f"{name} affects training"


def check_affects_training(study: StudySpec, device: str, smoke: Numbers, name: str) -> Check:
    """Some value of a searched hyperparameter changes the run, at the smoke fidelity or else at the cheap one.

    `smoke` holds the numbers of the smoke run.
    """
    is_conditional = bool(space.conditions(name, study.space))
    change = _change_that_matters(
        study, name, searchable(study, study.smoke), device, reference=None if is_conditional else smoke
    )
    if change is None:
        change = _change_that_matters(study, name, study.cheap, device)
    if change is not None:
        return Check(affects_training(name), "go", f"{_listed(change, name)} changes the run", "some value changes it")
    # where smoke stands for cheap the run may be too short to show it, which is no reason to stop a rehearsal
    return Check(
        name=affects_training(name),
        status="caution" if study.cheap == study.smoke else "no-go",
        seen="no value changes the run",
        allowed="some value changes it",
        look_at=f"where {name} is read; remove it from the space if it cannot matter",
    )


def _change_that_matters(
    study: StudySpec, name: str, fidelity: Fidelity, device: str, reference: Numbers | None = None
) -> dict[str, Any] | None:
    """The first change of a hyperparameter that changes the run; None where no change does.

    `reference` holds the numbers of the unchanged run, where they are known.
    """
    conditions = space.conditions(name, study.space)
    if reference is None:
        reference = _run(study, conditions, fidelity, 1, device)
    noise = 0.0 if is_exact(device) else distance(reference, _run(study, conditions, fidelity, 1, device))
    for change in _changes(study, name):
        if changes_run(study, {**conditions, **change}, fidelity, device, reference, noise=noise):
            return change
    return None


def _changes(study: StudySpec, name: str) -> Iterator[dict[str, Any]]:
    """Other values of a hyperparameter: each alone, and then each with other values of what it switches on.

    A switch may change nothing by itself, as long as the weight behind it has its default.
    """
    values = _alternatives(study, name)
    for value in values:
        yield {name: value}
    for value in values:
        for child, entry in study.space.items():
            if isinstance(entry, space.When) and (entry.parent, entry.value) == (name, value):
                for child_value in _alternatives(study, child):
                    yield {name: value, child: child_value}


def _alternatives(study: StudySpec, name: str) -> list[Any]:
    """Values that differ from the default as far as they can: both ends of a range, or all other choices."""
    entry = study.space[name]
    default = space.defaults({name: entry}, study.owners)[name]
    return [value for value in space.extremes(space.distribution_of(entry)) if value != default]


# -- what comes after the last epoch ---------------------------------------------------------------------------------
def check_promotable(study: StudySpec, trained: nn.Module) -> list[Check]:
    """What promotion does after training works: export, scores without some examples, baselines and pictures.

    It is tried on the smoke fidelity's validation split, because a fault in it would cost every run before it.
    """
    task, _ = study.configure({}, searchable(study, study.smoke))  # as the trained model was
    batches = list(_batches(study, study.smoke, "val"))
    rows = judge_batches(task, trained, batches)
    faults = [
        *_export_faults(task, trained, batches),
        *score_faults(task, rows, "the model"),
        *_baseline_faults(task, study.smoke, batches),
        *_picture_faults(task.pictures(trained.eval(), batches)),
    ]
    return [
        Check(
            name="can be promoted",
            status=status_of(not faults),
            seen=first_fault(faults) or "export, baselines and pictures work",
            allowed="they work",
            look_at="the task's fields, metrics(), baselines() and pictures()",
        )
    ]


def _export_faults(task: Task[Any], model: nn.Module, batches: list[NamedTuple]) -> Iterator[str]:
    before = evaluate(task, model, batches)
    card = json.loads(json.dumps(card_of(task), allow_nan=False))
    # a class of a notebook or of a script comes to a worker by value: there it has no module that a card could name
    kind = type(task) if type(task).__module__ == "__main__" else task_class(card["task"])
    rebuilt = rebuild_as(kind, card, packed(model.state_dict()))
    after = evaluate(rebuilt.task, rebuilt.model, batches)
    for name, score in before.items():
        if not _close(after[name], score):
            yield f"{name} is {after[name]:.6g} after export, not {score:.6g}"
    if rebuilt.task != task:
        yield "the exported fields make another task"


def score_faults(task: Task[Any], rows: Rows, whose: str) -> Iterator[str]:
    """What would stop the verdict: a goal that cannot be had of all rows, or not without one block of them."""
    try:
        scores = scores_of(task, rows.columns)
        blocks = pseudo_values(task, rows, scores)[task.goal]
    except KeyError as error:
        yield f"{whose} lacks the column {error}, which metrics() needs"
        return
    if not math.isfinite(scores[task.goal]):
        yield f"{task.goal} of {whose} is {scores[task.goal]}"
    elif not all(math.isfinite(value) for value in blocks):
        yield f"{task.goal} of {whose} is not finite without one of {len(blocks)} parts of the examples"


def _baseline_faults(task: Task[Any], fidelity: Fidelity, batches: list[NamedTuple]) -> Iterator[str]:
    for name, rows in judge_baselines(task, fidelity, batches).items():
        yield from score_faults(task, rows, f"baseline {name!r}")


def _picture_faults(pictures: Iterable[Picture | Chart]) -> Iterator[str]:
    for picture in pictures:
        if isinstance(picture, Chart):
            json.loads(picture.figure_json)
            continue
        for label, pixels in picture.panels.items():
            if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)):
                kind = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {tuple(getattr(pixels, 'shape', ()))}"
                yield f"picture {picture.title!r}, panel {label!r}, is {kind}; it must be uint8 (H, W, 3)"


# -- runs and their numbers ------------------------------------------------------------------------------------------
def _run(study: StudySpec, values: Mapping[str, Any], fidelity: Fidelity, seed: int, device: str) -> Numbers:
    """The numbers of a run. Of one that diverges, the message is a number too, so how it diverges tells runs apart."""
    numbers: dict[str, float] = {}
    try:
        for epoch in _epochs(study, values, fidelity, seed, device):
            numbers |= numbers_of([epoch])
    except Diverged as diverged:
        numbers[str(diverged)] = 0.0
    return numbers


def changes_run(
    study: StudySpec,
    values: Mapping[str, Any],
    fidelity: Fidelity,
    device: str,
    reference: Numbers,
    *,
    noise: float,
    seed: int = 1,
) -> bool:
    """Whether a run with these values has other numbers than the reference. It ends with the first epoch that has.

    `noise` is what repeating a run changes.
    """
    compared = 0
    try:
        for epoch in _epochs(study, values, fidelity, seed, device):
            numbers = numbers_of([epoch])
            expected = {name: reference[name] for name in numbers if name in reference}
            if distance(expected, numbers) > NOISE * noise:
                return True
            compared += len(numbers)
    except Diverged as diverged:
        return str(diverged) not in reference
    except Infeasible:
        return True  # the task itself says that the values matter
    return compared < len(reference)


def _epochs(
    study: StudySpec, values: Mapping[str, Any], fidelity: Fidelity, seed: int, device: str
) -> Iterator[Progress | OwnProgress]:
    """The epochs of a run. An exception other than Diverged gets a note of the values."""
    try:
        task, recipe = study.configure(values, fidelity)
        yield from epochs_of(task, recipe, fidelity, seed=seed, device=device)
    except Diverged:
        raise
    except Exception as error:
        error.add_note(", ".join(f"{name} = {value!r}" for name, value in values.items()))
        raise


def numbers_of(epochs: Iterable[Epoch]) -> Numbers:
    """Losses, terms and scores of every epoch."""
    numbers: dict[str, float] = {}
    for epoch in epochs:
        scores = {f"score {name}": score for name, score in epoch.scores.items()}
        for name, number in {"loss": epoch.loss, **epoch.terms, **scores}.items():
            numbers[f"{name} of epoch {epoch.epoch}"] = number
    return numbers


def distance(a: Numbers, b: Numbers) -> float:
    """The largest relative difference between the numbers of two runs; infinite where their names differ."""
    if a.keys() != b.keys():
        return math.inf
    return max(relative_difference(a[name], b[name]) for name in a)


def relative_difference(a: float, b: float) -> float:
    """The relative difference of two numbers: 0 for NaN twice, infinite where only one is NaN or infinite."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    difference = abs(a - b) / max(abs(a), abs(b))
    return math.inf if math.isnan(difference) else difference


def _close(value: float, expected: float) -> bool:
    return relative_difference(value, expected) == 0 or abs(value - expected) <= SAME * max(1e-6, abs(expected))


def is_exact(device: str) -> bool:
    """Whether the same run gives the same numbers, bit for bit, on this device."""
    return resolve_device(device).type == "cpu"


# -- small parts -----------------------------------------------------------------------------------------------------
def searchable(study: StudySpec, fidelity: Fidelity) -> Fidelity:
    """The fidelity without what it pins of the searched hyperparameters."""
    return replace(fidelity, fixed={name: value for name, value in fidelity.fixed.items() if name not in study.space})


def _listed(change: Mapping[str, Any], name: str) -> str:
    """The changed value of `name`, and what was changed with it."""
    others = [f"{key} = {value!r}" for key, value in change.items() if key != name]
    return " with ".join([repr(change[name]), *others])
