"""The checks of a task that trains itself: what its epochs promise, and what cannot be seen of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hpo.checking.numbers import Numbers, changes_run, numbers_of, searchable
from hpo.checking.promotable import score_faults
from hpo.checking.wording import yes_or_no
from hpo.contract.returned import checked_methods
from hpo.engine.own_training import OwnProgress, OwnTraining, follow, own_rows
from hpo.formatting import listed
from hpo.study import StudySpec
from hpo.task import Check, Status
from hpo.trial.guard import run_check


def unseen(task: OwnTraining) -> Check:
    """What is not checked, because the task trains itself."""
    lost = [
        "the overfit check and its controls",
        "gradients that are not finite",
        "a goal that moves with a searched field",
        "a resume that is the same to the bit",
    ]
    if not reads_batches(task):
        lost.append("the data as a part of the study's identity (give batches() for that)")
    return Check("its own training", "skip", f"not looked at: {listed(lost)}", "the task trains itself")


def reads_batches(task: OwnTraining) -> bool:
    """Whether the task has defined `batches` all the same."""
    return type(task).batches is not OwnTraining.batches


def smoke_checks(study: StudySpec) -> tuple[Numbers, list[Check]]:
    """Train the default configuration at the smoke fidelity, and check the run. Runs in a worker."""
    task, recipe = study.configure({}, searchable(study, study.smoke))
    assert isinstance(task, OwnTraining)
    with tempfile.TemporaryDirectory(prefix="hpo-own-training-") as folder:
        progress: list[OwnProgress] = []
        promotable: list[Check] = []
        for epoch in follow(task, recipe, study.smoke, seed=1, folder=Path(folder)):
            progress.append(epoch)
            if epoch.epoch == study.smoke.epochs - 1:  # the model is there until the next epoch
                promotable = run_check("can be promoted", partial(_check_promotable, study, epoch))
    numbers = numbers_of(progress)
    return numbers, [*run_check("same seed, same run", partial(_check_same_run, study, numbers)), *promotable]


def _check_same_run(study: StudySpec, numbers: Numbers) -> list[Check]:
    """The same seed gives the same run. Where another one changes nothing, the intervals know nothing of luck."""
    fidelity = searchable(study, study.smoke)
    repeats = not changes_run(study, {}, fidelity, "cpu", numbers, noise=0.0)
    differs = changes_run(study, {}, fidelity, "cpu", numbers, noise=0.0, seed=2)
    status: Status = "go" if differs else "caution"
    if not repeats:
        status = "no-go"
    return [
        Check(
            name="same seed, same run",
            status=status,
            seen=f"repeats: {yes_or_no(repeats)}; seeds differ: {yes_or_no(differs)}",
            allowed="yes; yes",
            look_at="random numbers that do not derive from `seed`",
        )
    ]


def _check_promotable(study: StudySpec, progress: OwnProgress) -> list[Check]:
    task, _ = study.configure({}, searchable(study, study.smoke))
    assert isinstance(task, OwnTraining)
    assert progress.now is not None
    checked_methods(task, task.baselines(study.smoke))  # raises where a baseline could not be tuned
    faults = list(score_faults(task, own_rows(task, progress.now.test()), "the model on test"))
    exports = "no export: there will be no winner folder"
    if progress.now.export is not None:
        faults += _export_faults(progress)
        exports = "export works"
    seen = faults[0] if faults else f"test columns are there; {exports}"
    return [Check("can be promoted", "no-go" if faults else "go", seen, "it works", "train(), and what it yields")]


def _export_faults(progress: OwnProgress) -> Iterator[str]:
    assert progress.now is not None
    assert progress.now.export is not None
    with tempfile.TemporaryDirectory(prefix="hpo-own-training-") as folder:
        progress.now.export(Path(folder))
        if not any(Path(folder).iterdir()):
            yield "export() has written nothing into the folder that it was given"
