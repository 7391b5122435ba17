"""A run of a promotion that trains in its own way: what it is tested with is kept at each best epoch so far."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from hpo.engine import checkpoint
from hpo.engine.own_training import OWN, OwnProgress, OwnTraining, own_rows
from hpo.files import make_folder
from hpo.promotion.test_split import RunScores, SplitScores, run_scores
from hpo.trial.job import Job
from hpo.trial.objective import outcome_of, reported
from hpo.trial.record import Outcome
from hpo.trial.sealed import read_sealed, write_sealed

EXPORTED = "exported"  # the folder that a task has exported its best epoch into
TESTED = "tested.json"  # the test scores of the best epoch so far


def follow_and_test(job: Job) -> Outcome:
    """Follow a task's own training, with the test scores of its best epoch.

    The model of an epoch is gone with the next one, so each best one so far is tested and exported at once; nothing
    looks at those scores but the verdict. Where a kill fell between an epoch and its test, the run is trained again.
    """
    outcome = outcome_of(_epochs(job))
    tested = _tested(job.folder, outcome)
    if outcome.state == "complete" and tested is None:
        checkpoint.discard(job.folder)
        shutil.rmtree(job.folder / OWN, ignore_errors=True)
        outcome = outcome_of(_epochs(job))
        tested = _tested(job.folder, outcome)
    if outcome.state != "complete" or tested is None:
        return outcome
    return tested.added_to(outcome, job.study.task.goal)


def _epochs(job: Job) -> Iterator[OwnProgress]:
    task, _ = job.study.configure(job.params, job.fidelity, fold=job.fold)
    assert isinstance(task, OwnTraining)
    for progress in reported(job):
        assert isinstance(progress, OwnProgress)
        if progress.now is not None and progress.epoch == progress.best_epoch:
            _keep(job.folder, task, progress)
        yield progress


def _keep(folder: Path, task: OwnTraining, progress: OwnProgress) -> None:
    """Test and export the model as it is now."""
    now = progress.now
    assert now is not None
    if now.export is not None:
        unfinished = folder / f"{EXPORTED}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_folder(unfinished)
        now.export(unfinished)
        shutil.rmtree(folder / EXPORTED, ignore_errors=True)
        unfinished.rename(folder / EXPORTED)
    scores = run_scores(task, lambda split: own_rows(task, now.test() if split == "test" else now.validation))
    write_sealed(folder / TESTED, {"epoch": progress.epoch, **asdict(scores)})


def _tested(folder: Path, outcome: Outcome) -> RunScores | None:
    """The scores of the best epoch; None where they are of another one."""
    record = read_sealed(folder / TESTED)
    if record is None or record.pop("epoch") != outcome.best_epoch:
        return None
    if "test" not in record:  # written before validation was kept
        return RunScores(TypeAdapter(SplitScores).validate_python(record), None)
    return TypeAdapter(RunScores).validate_python(record)
