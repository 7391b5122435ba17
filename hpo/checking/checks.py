"""The go/no-go conditions on data, runs, knobs and what promotion will need. Each function looks at one thing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from optuna.distributions import CategoricalDistribution
from torch import Tensor

from hpo import space
from hpo.checking.overfit import seeded_model
from hpo.engine.evaluation import evaluate, resolve_device
from hpo.engine.training import fit
from hpo.errors import Diverged
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Chart, Check, Fidelity, Picture, Split, Status, example_hash
from hpo.trial.artifact import card_of, packed, rebuild

SAME = 1e-3  # relative: two scores that should be one
NOISE = 10  # a change counts if it is this many times what repeating the run changes; on the CPU that is nothing


# -- data ------------------------------------------------------------------------------------------------------------
def check_batches(study: StudySpec) -> list[Check]:
    """Every field of every example has the examples first, a sensible type, and finite numbers."""
    wrong = [f"{split}: {fault}" for split in ("train", "val") for fault in _faults_of(study, split)]
    return [
        Check(
            "data",
            _status(not wrong),
            _first(wrong) or "finite, shapes agree",
            "finite; examples first",
            "the task's batches()",
        )
    ]


def _faults_of(study: StudySpec, split: Split) -> Iterator[str]:
    counted = 0
    fields: tuple[str, ...] = ()
    for batch in _batches(study, study.cheap, split):
        yield from _faults(batch)
        counted += len(batch[0])
        fields = batch._fields
    if counted != study.cheap.examples(split):
        yield f"{counted} examples, not {study.cheap.examples(split)}"
    unknown = [name for name in (*study.task.inputs, *study.task.labels) if name not in fields]
    if unknown:
        yield f"inputs or labels name {unknown}, but the batch has {list(fields)}"


def _faults(batch: NamedTuple) -> Iterator[str]:
    for name, tensor in zip(batch._fields, batch, strict=True):
        if not isinstance(tensor, Tensor) or tensor.dim() == 0 or len(tensor) != len(batch[0]):
            yield f"{name} must be a tensor whose first dimension is the {len(batch[0])} examples"
        elif tensor.dtype in (torch.float64, torch.complex128):
            yield f"{name} is {tensor.dtype}; use float32 or complex64"
        elif not torch.isfinite(tensor).all():
            yield f"{name} holds {int((~torch.isfinite(tensor)).sum())} numbers that are not finite"


def check_repeatable(study: StudySpec) -> list[Check]:
    """The same rng gives the same batches, another one other training batches, and validation depends on neither the
    rng nor the batch size."""

    def rows(split: Split, seed: int, batch_size: int | None = None) -> list[str]:
        return [
            example_hash(field[row] for field in batch)
            for batch in _batches(study, study.smoke, split, seed, batch_size)
            for row in range(len(batch[0]))
        ]

    again = all(rows(split, 1) == rows(split, 1) for split in ("train", "val"))
    varied = rows("train", 1) != rows("train", 2)
    fixed = rows("val", 1) == rows("val", 2, batch_size=1)
    seen = f"repeats: {_yes(again)}; epochs differ: {_yes(varied)}; validation fixed: {_yes(fixed)}"
    return [
        Check(
            "same seed, same batches",
            _status(again and varied and fixed),
            seen,
            "yes; yes; yes",
            "batches(): random numbers that do not come from rng, validation that comes from rng or depends on "
            "batch_size",
        )
    ]


def check_disjoint(study: StudySpec) -> list[Check]:
    """No two splits share what their examples come from, by content: neither in the sweep nor in the promotion."""
    tiers = {"cheap": study.cheap} if study.cheap == study.full else {"cheap": study.cheap, "full": study.full}
    shared, counts = [], []
    for tier, fidelity in tiers.items():
        task, _ = study.configure({}, fidelity)
        origins = {split: task.origins(split, fidelity) for split in ("train", "val", "test")}
        shared += [
            f"{tier}: {a} and {b} share {len(origins[a] & origins[b])}"
            for a, b in (("train", "val"), ("train", "test"), ("val", "test"))
            if origins[a] & origins[b]
        ]
        counts.append(f"{tier}: " + " + ".join(str(len(found)) for found in origins.values()))
    return [
        Check(
            "splits disjoint",
            _status(not shared),
            _first(shared) or f"none shared ({', '.join(counts)})",
            "none shared",
            "how the task splits its data",
        )
    ]


# -- the run ---------------------------------------------------------------------------------------------------------
def smoke_run(study: StudySpec, device: str) -> dict[str, float]:
    """All numbers of the default configuration's run at the smoke fidelity, with seed 1. Raises Diverged."""
    return _numbers(study, {}, _freed(study, study.smoke), 1, device)


def check_same_run(study: StudySpec, device: str, run: Mapping[str, float]) -> list[Check]:
    """The same seed gives the same run, on the CPU bit for bit; another seed another one. `run` is the smoke run."""
    noise = _distance(run, _run(study, {}, _freed(study, study.smoke), 1, device))
    change = _distance(run, _run(study, {}, _freed(study, study.smoke), 2, device))
    same = noise == 0 or (resolve_device(device).type != "cpu" and NOISE * noise < change)
    return [
        Check(
            "same seed, same run",
            _status(same and change > 0),
            f"repeats: {_yes(same)}; seeds differ: {_yes(change > 0)}",
            "yes; yes",
            "random numbers that come neither from rng nor from torch",
        )
    ]


def check_goal(study: StudySpec) -> list[Check]:
    """The goal is a mean over examples: scored one by one it comes out the same."""
    task, _ = study.configure({}, study.smoke)
    model = seeded_model(task)
    goal = evaluate(task, model, list(_batches(study, study.smoke, "val")))[task.goal]
    one_by_one = [evaluate(task, model, [single])[task.goal] for single in _batches(study, study.smoke, "val", 1, 1)]
    mean = sum(one_by_one) / len(one_by_one)
    same = math.isfinite(goal) and _close(mean, goal)
    return [
        Check(
            "goal is a mean",
            _status(same),
            f"{goal:.6g} at once, {mean:.6g} one by one",
            "the same",
            "score(): batch statistics, medians, or examples that depend on batch_size",
        )
    ]


# -- what is searched ------------------------------------------------------------------------------------------------
def check_knob(study: StudySpec, device: str, run: Mapping[str, float], name: str) -> Check:
    """Changing a searched name changes the run: at the smoke fidelity, or else at the cheap one. `run` is the smoke
    run."""
    entry, parents = study.space[name], _parents(study.space, name)
    values = alternatives(space.distribution_of(entry), space.defaults({name: entry}, study.owners)[name])
    for fidelity, known in ((_freed(study, study.smoke), None if parents else run), (study.cheap, None)):
        reference = known or _run(study, parents, fidelity, 1, device)
        noise = (
            0.0
            if resolve_device(device).type == "cpu"
            else _distance(reference, _run(study, parents, fidelity, 1, device))
        )
        for changed in _changes(study, name, values):
            if _distance(reference, _run(study, {**parents, **changed}, fidelity, 1, device)) > NOISE * noise:
                return Check(f"reaches: {name}", "go", f"{_listed(changed, name)} changes the run", "changes something")
    # where smoke stands for cheap the run may be too short for it to matter, which is no reason to stop a rehearsal
    status: Status = "caution" if study.cheap == study.smoke else "no-go"
    return Check(
        f"reaches: {name}",
        status,
        "no value changes anything",
        "changes something",
        f"where {name} is read; remove it from the space if it cannot matter",
    )


def _changes(study: StudySpec, name: str, values: list[Any]) -> Iterator[dict[str, Any]]:
    """The alternatives of a name alone, then each with what it brings into being: a switch may be neutral as long as
    the weight behind it has its default."""
    yield from ({name: value} for value in values)
    for value in values:
        for child, entry in study.space.items():
            if isinstance(entry, space.When) and (entry.parent, entry.value) == (name, value):
                default = space.defaults({child: entry}, study.owners)[child]
                yield from ({name: value, child: other} for other in alternatives(entry.distribution, default))


def alternatives(distribution: space.Distribution, default: Any) -> list[Any]:
    """Values at the ends of a range, or the other choices: what differs most from the default."""
    if isinstance(distribution, CategoricalDistribution):
        return [choice for choice in distribution.choices if choice != default]
    return [value for value in (distribution.low, distribution.high) if value != default]


# -- what comes after the last epoch ---------------------------------------------------------------------------------
def check_promotable(study: StudySpec) -> list[Check]:
    """What promotion does when all is trained works, with the untrained model on the smoke tier's validation split:
    a fault there would cost every run before it."""
    task, _ = study.configure({}, study.smoke)
    model = seeded_model(task)
    batches = list(_batches(study, study.smoke, "val"))
    scores = evaluate(task, model, batches)
    card = json.loads(json.dumps(card_of(task), allow_nan=False))
    rebuilt = rebuild(card, packed(model.state_dict()))
    again = evaluate(rebuilt.task, rebuilt.model, batches)
    wrong = [
        f"{name} is {again[name]:.6g} after export, not {scores[name]:.6g}"
        for name in scores
        if not _close(again[name], scores[name])
    ]
    wrong += [] if rebuilt.task == task else ["the exported fields make another task"]
    wrong += [
        f"baseline {name!r} has no finite {task.goal}"
        for name, found in task.baselines(batches).items()
        if not math.isfinite(found.get(task.goal, math.nan))
    ]
    wrong += _undrawable(task.pictures(model.eval(), batches))
    return [
        Check(
            "can be promoted",
            _status(not wrong),
            _first(wrong) or "export, baselines and pictures work",
            "work",
            "the task's fields, baselines() and pictures()",
        )
    ]


def _undrawable(pictures: Iterable[Picture | Chart]) -> Iterator[str]:
    for picture in pictures:
        if isinstance(picture, Chart):
            json.loads(picture.figure_json)
            continue
        for label, pixels in picture.panels.items():
            if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)):
                kind = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {tuple(getattr(pixels, 'shape', ()))}"
                yield f"picture {picture.title!r}, panel {label!r}, is {kind}; it must be uint8 (H, W, 3)"


# -- small parts -----------------------------------------------------------------------------------------------------
def _run(study: StudySpec, values: Mapping[str, Any], fidelity: Fidelity, seed: int, device: str) -> dict[str, float]:
    """The numbers of a run; one that diverges is told apart by how."""
    try:
        return _numbers(study, values, fidelity, seed, device)
    except Diverged as diverged:
        return {str(diverged): 0.0}
    except Exception as error:
        error.add_note(", ".join(f"{name} = {value!r}" for name, value in values.items()))
        raise


def _numbers(
    study: StudySpec, values: Mapping[str, Any], fidelity: Fidelity, seed: int, device: str
) -> dict[str, float]:
    """Losses, terms and scores of every epoch."""
    task, recipe = study.configure(values, fidelity)
    seen: dict[str, float] = {}
    for epoch in fit(task, recipe, fidelity, seed=seed, device=device):
        numbers = {"loss": epoch.loss, **epoch.terms, **{f"score {name}": s for name, s in epoch.scores.items()}}
        seen |= {f"{name} of epoch {epoch.epoch}": number for name, number in numbers.items()}
    return seen


def _distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Largest relative difference between the numbers of two runs; infinite where they have not the same ones."""
    if one.keys() != other.keys():
        return math.inf
    return max(_relative(one[name], other[name]) for name in one)


def _relative(one: float, other: float) -> float:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    apart = abs(one - other) / max(abs(one), abs(other))
    return math.inf if math.isnan(apart) else apart


def _close(one: float, other: float) -> bool:
    return _relative(one, other) == 0 or abs(one - other) <= SAME * max(1e-6, abs(other))


def _freed(study: StudySpec, fidelity: Fidelity) -> Fidelity:
    """The fidelity, without what it pins of the searched names."""
    return replace(fidelity, fixed={key: value for key, value in fidelity.fixed.items() if key not in study.space})


def _listed(changed: Mapping[str, Any], name: str) -> str:
    others = [f"{key} = {value!r}" for key, value in changed.items() if key != name]
    return " with ".join([repr(changed[name]), *others])


def _parents(entries: space.Space, name: str) -> dict[str, Any]:
    """The values that bring a conditional parameter into being."""
    entry = entries[name]
    if not isinstance(entry, space.When):
        return {}
    return {**_parents(entries, entry.parent), entry.parent: entry.value}


def _batches(
    study: StudySpec, fidelity: Fidelity, split: Split, seed: int = 1, batch_size: int | None = None
) -> Iterator[NamedTuple]:
    task, recipe = study.configure({}, fidelity)
    return task.batches(split, fidelity, batch_size or recipe.batch_size, generator("preflight", seed))


def _status(holds: bool) -> Status:
    return "go" if holds else "no-go"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _first(wrong: list[str]) -> str:
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return f"{wrong[0]}{more}" if wrong else ""
