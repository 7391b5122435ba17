"""The check of preflight on each searched hyperparameter: some value of it changes the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpo import space
from hpo.checking.numbers import Numbers, changes_run, distance, is_exact, run_numbers, searchable
from hpo.study import StudySpec
from hpo.task import Check, Fidelity


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
        reference = run_numbers(study, conditions, fidelity, 1, device)
    noise = 0.0 if is_exact(device) else distance(reference, run_numbers(study, conditions, fidelity, 1, device))
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


def _listed(change: Mapping[str, Any], name: str) -> str:
    """The changed value of `name`, and what was changed with it."""
    others = [f"{key} = {value!r}" for key, value in change.items() if key != name]
    return " with ".join([repr(change[name]), *others])
