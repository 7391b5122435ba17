"""How many planted faults preflight catches, and how often it cries wolf: `python -m tests.benchmarks.preflight`.

A fault is caught where the right check does not say go, or where the study is refused when it is loaded.
A clean run is a false alarm where any check says other than go.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hpo.checking import overfit
from hpo.checking.data import check_splits
from hpo.space import Distribution, choose, uniform
from hpo.study import StudySpec
from hpo.task import Overfit
from tests import test_preflight as first
from tests import test_preflight_data as data
from tests import test_preflight_overfit as bands
from tests.toy import Toy, toy_study

SEEDS = 20  # of data and of model, for each kind of healthy task
KINDS = ("offset", "dropout and average", "classes")


class Fault(NamedTuple):
    """A planted fault, and the check that must name it."""

    name: str
    study: Callable[[], StudySpec]
    check: str


def planted(task: type[Toy], check: str) -> Fault:
    return Fault(task.__name__, lambda: toy_study(task=task()), check)


def searched(name: str, entry: Distribution) -> Fault:
    return Fault(name, lambda: toy_study(task=first.Switches(), space={name: entry}), f"{name} affects training")


def planted_faults() -> list[Fault]:
    return [
        *(planted(task, name) for task, (name, _) in first.DATA.items()),
        *(planted(task, min(names)) for task, (names, _) in first.FAULTS.items()),
        *(planted(task, "data") for task in data.COUNTS),
        *(planted(task, "splits disjoint") for task in (data.Rescaled, data.NoisyLeak, data.Flipped)),
        planted(data.SetOrder, "every process, same batches"),
        planted(bands.TooFewSteps, "overfit"),
        planted(contradictory(), "refused"),
        searched("task.unread", uniform(0, 1)),
        searched("task.width", choose(2, 3, 4)),
    ]


def contradictory() -> type[Toy]:
    """A task to be minimized, whose overfit check wants more than 0.5 and is content with 0.9."""
    return type("Contradictory", (Toy,), {"overfit": replace(Toy.overfit, go=0.9, caution=0.5)})


@contextmanager
def without_bands(task: type[Toy]) -> Iterator[None]:
    """The task has the default bands in here, and nothing pinned."""
    own = task.__dict__.get("overfit")
    task.overfit = Overfit(start=task.overfit.start)
    try:
        yield
    finally:
        if own is None:
            del task.overfit
        else:
            task.overfit = own


def failed_checks(make: Callable[[], StudySpec]) -> set[str]:
    """The names of the checks that do not say go; "refused" where the study is."""
    try:
        study = make()
    except ValueError:
        return {"refused"}
    with tempfile.TemporaryDirectory() as folder:
        result = first.run_preflight(study, Path(folder))
    return {check.name for check in result.checks if check.status in ("no-go", "caution")}


def missed_faults() -> list[str]:
    """The planted faults that are not caught."""
    return [fault.name for fault in planted_faults() if fault.check not in failed_checks(fault.study)]


def missed_without_bands() -> list[str]:
    """The faults of model, loss and score that are not caught where the task gives no bands."""
    missed = []
    for task, (names, _) in first.FAULTS.items():
        with without_bands(task):
            if not failed_checks(planted(task, "").study) & (names | {"overfit"}):
                missed.append(task.__name__)
    return missed


def false_alarms() -> list[str]:
    """The clean runs that some check objects to: healthy tasks, with their own bands and without any."""
    alarms = []
    for kind in KINDS:
        for seed in range(SEEDS):
            overfit.SEED = seed
            study = first.healthy(kind, seed)
            alarms += [f"{kind} {seed}: {name}" for name in failed_checks(lambda study=study: study)]
            with without_bands(type(study.task)):
                alarms += [f"{kind} {seed}, no bands: {name}" for name in failed_checks(lambda study=study: study)]
    return alarms


def false_leaks() -> list[str]:
    """Healthy data that look like leaks, and are taken for one."""
    return [
        task.__name__
        for task in data.LOOKALIKES
        if any(check.status != "go" for check in check_splits(toy_study(task=task())))
    ]


def main() -> None:
    for title, failures, total in (
        ("planted faults caught", missed_faults(), len(planted_faults())),
        ("caught without bands", missed_without_bands(), len(first.FAULTS)),
    ):
        print(f"{title}: {total - len(failures)} of {total}", *failures)
    for title, failures, total in (
        ("false alarms in clean runs", false_alarms(), 2 * len(KINDS) * SEEDS),
        ("healthy data taken for a leak", false_leaks(), len(data.LOOKALIKES)),
    ):
        print(f"{title}: {len(failures)} of {total}", *failures)


if __name__ == "__main__":
    main()
