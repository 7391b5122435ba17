"""From a trial to its value: the only place where the engine and Optuna meet. Runs in a worker."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import optuna
import torch

from hpo import events
from hpo.engine import checkpoint
from hpo.engine.checkpoint_files import reached
from hpo.engine.cross_validation import fit_parts
from hpo.engine.own_training import OWN, OwnProgress, epochs_of
from hpo.engine.training import Progress
from hpo.epoch import Epoch
from hpo.errors import (
    QUITS,
    Diverged,
    Halted,
    Infeasible,
    Refused,
    ResumeMismatch,
    asks_to_stop,
    one_line,
    raise_if_stopped,
)
from hpo.storage.database import worker_storage
from hpo.storage.locks import lease
from hpo.storage.optuna_private import live_trial, trial_id
from hpo.storage.transient import retry_storage
from hpo.trial.costs import RECORD, costs_of, kept_costs, require_within
from hpo.trial.job import Job
from hpo.trial.over_limit import outcome_over_limit
from hpo.trial.record import SPARED_AT, Outcome, read_outcome, read_pause, summary, write_outcome, write_pause
from hpo.watchdog import limit, watched
from hpo.watchdog.limit import OverLimit

Progressing = TypeVar("Progressing", bound=Epoch)


def run_trial(job: Job) -> Outcome:
    """Train one configuration and report each epoch's best score so far; prunes, and survives being run again.

    A trial whose result is already in its folder is not trained again. Whatever goes wrong with one configuration
    (it diverges, does not fit, raises) is its outcome and not the sweep's end.
    """
    return once(job, lambda: _with_mark(job, outcome_of(up_to_pause(_within_limits(job), job.pause_at))))


def _within_limits(job: Job) -> Iterator[Progress | OwnProgress]:
    """The reported epochs of a configuration. Raises Infeasible, before the first, where it is over a limit."""
    require_within(job.study.limits, costs_of(job))
    yield from reported(job)


def _with_mark(job: Job, outcome: Outcome) -> Outcome:
    """The outcome with the epoch at which the pruner would have ended the trial, where it was spared."""
    if not job.study.spares(job.number):
        return outcome
    marks = retry_storage(lambda: _trial(job)).user_attrs
    return replace(outcome, spared_at=marks.get(SPARED_AT))


def once(job: Job, train: Callable[[], Outcome]) -> Outcome:
    """The job's outcome: the one in its folder, or else that of `train()`, which is then written there.

    Of several processes that are given the same job, one trains and the others wait for it.
    """
    events.keep(job.folder.parent.parent / "events.log")
    with lease(job.folder):
        outcome = _written(job)
        if outcome is None:
            outcome = outcome_over_limit(job) or _started(job, train)
            if job.study.costs:
                outcome = replace(outcome, costs=kept_costs(job.folder))
            _write(job, outcome)
            events.record("end", study=job.study_name, trial=job.number, state=outcome.state, reason=outcome.reason)
        if outcome.state != "paused":
            _tidy(job.folder)
    return outcome


def _written(job: Job) -> Outcome | None:
    """What the job's folder says already: how the trial has ended, or that it has paused where it is to pause."""
    ended = read_outcome(job.folder, job.inputs)
    if ended is not None or job.pause_at is None:
        return ended
    paused = read_pause(job.folder, job.inputs)
    return paused if paused is not None and paused.epochs == job.pause_at else None


def _write(job: Job, outcome: Outcome) -> None:
    write = write_pause if outcome.state == "paused" else write_outcome
    write(job.folder, outcome, job.inputs)


def _started(job: Job, train: Callable[[], Outcome]) -> Outcome:
    events.record("start", study=job.study_name, trial=job.number, epoch=reached(job.folder) + 1)
    return train()


def settle(job: Job, outcome: Outcome) -> Outcome:
    """Write a job's outcome into its folder, unless one is there; return the one that is there then.

    There is none where the trial ran on a machine that does not share the folder, or where its worker died. A worker
    may also have died after it had written one: that one counts.
    """
    with lease(job.folder):
        settled = _written(job)
        if settled is None:
            _write(job, outcome)
            settled = outcome
        if settled.state != "paused":
            _tidy(job.folder)
    return settled


def _tidy(folder: Path) -> None:
    checkpoint.discard(folder)  # they have done their work
    shutil.rmtree(folder / OWN, ignore_errors=True)
    for name in (limit.RECORD, limit.STACKS, RECORD):
        (folder / name).unlink(missing_ok=True)
    (folder / "lock").unlink(missing_ok=True)  # whoever waits for it finds the result


def outcome_of(progress: Iterable[Epoch]) -> Outcome:
    """Run through the epochs; return how they ended, whatever ended them.

    Raises Halted and BrokenExecutor, the death of a process that the task had started: they are no result.
    """
    history: list[Epoch] = []
    try:
        for epoch in progress:
            history.append(epoch.record)  # what came before an error is kept
            raise_if_stopped()
    except optuna.TrialPruned as pruned:
        return summary("pruned", history, reason=str(pruned))
    except Paused:
        return summary("paused", history)
    except OverLimit as over:
        return summary("failed", history, reason=str(over), limit=over.reached)
    except (Halted, BrokenExecutor):
        raise
    except (Exception, *QUITS) as error:
        if asks_to_stop(error):
            raise
        return summary("failed", history, reason=_reason(error), traceback=traceback.format_exc())
    return summary("complete", history)


class Paused(Exception):
    """A trial has come to the epoch at which it pauses."""


def up_to_pause(progress: Iterable[Progressing], pause_at: int | None) -> Iterator[Progressing]:
    """The epochs until the trial is to pause. Raises Paused there, unless it has stopped early."""
    for epoch in progress:
        yield epoch
        if pause_at is not None and epoch.epoch + 1 >= pause_at and not epoch.stopped:
            raise Paused


def trained(job: Job) -> Iterator[Progress | OwnProgress]:
    """The epochs of the job's configuration, going on from its checkpoint where it has one.

    With cross-validation they are the means of its runs.
    """
    parts = job.study.cross_validate
    if parts > 1:
        configured = [job.study.configure(job.params, job.fidelity, part=part) for part in range(parts)]
        tasks, recipe = [each.task for each in configured], configured[0].recipe
        epochs = fit_parts(tasks, recipe, job.fidelity, seed=job.seed, device=job.device, resume=job.folder)
    else:
        task, recipe = job.study.configure(job.params, job.fidelity, fold=job.fold)
        epochs = epochs_of(task, recipe, job.fidelity, seed=job.seed, device=job.device, resume=job.folder)
    return watched(epochs, job.bounds, job.folder)


def reported(job: Job) -> Iterator[Progress | OwnProgress]:
    """The same epochs, each reported to the trial. Raises TrialPruned where the pruner says so, unless it is spared."""
    trial = retry_storage(lambda: _trial(job))
    spare = job.study.spares(job.number)
    yield from report_epochs(trial, trained(job), job.fidelity.epochs, spare=spare)


def report_epochs(
    trial: optuna.Trial, training: Iterable[Progressing], epochs: int, *, spare: bool
) -> Iterator[Progressing]:
    """Each epoch of a training of at most so many, reported to the trial before it is yielded.

    What the trial had reported before it was interrupted is not reported again. Where the pruner says so, raises
    TrialPruned, or with `spare` marks the trial and goes on. Raises ResumeMismatch where an epoch comes out otherwise
    than before.
    """
    before = retry_storage(lambda: trial.storage.get_trial(trial_id(trial))).intermediate_values
    last_reported = max(before, default=-1)
    last = None
    for progress in training:
        _report(trial, progress.epoch, progress.best, before)
        yield progress
        last = progress
        # The pruner looks at the last epoch that was reported: at an earlier one it was asked when that was the last.
        if progress.epoch >= last_reported and retry_storage(trial.should_prune):
            _end(trial, progress.epoch, spare=spare)
    if last is not None and last.stopped:  # carried forward, so that others meet a curve at every epoch
        for epoch in range(last.epoch + 1, epochs):
            _report(trial, epoch, last.best, before)


def _end(trial: optuna.Trial, epoch: int, *, spare: bool) -> None:
    """Raise TrialPruned; or mark a trial that is spared, once: in the storage, where it outlives an interruption."""
    if not spare:
        raise optuna.TrialPruned(f"{_verdict(trial.study.pruner)} at epoch {epoch}")
    if SPARED_AT not in trial.user_attrs:
        retry_storage(lambda: trial.set_user_attr(SPARED_AT, epoch))


def _verdict(pruner: optuna.pruners.BasePruner) -> str:
    is_median = isinstance(pruner, optuna.pruners.MedianPruner)
    return "worse than the median" if is_median else f"ended by {type(pruner).__name__}"


def _trial(job: Job) -> optuna.Trial:
    """The job's trial in the storage. Raises Halted where the storage has lost it."""
    try:
        study = optuna.load_study(
            study_name=job.study_name,
            storage=worker_storage(job.storage),
            pruner=job.study.pruner(),
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        return live_trial(study, job.trial_id)
    except (KeyError, Refused) as error:
        raise Halted(f"the storage has lost trial {job.number} of {job.study_name!r}: {error}") from error


def _report(trial: optuna.Trial, epoch: int, value: float, before: Mapping[int, float]) -> None:
    """Report once; what a killed attempt has reported must come out the same again."""
    if epoch not in before:
        retry_storage(lambda: trial.report(value, epoch))
    elif before[epoch] != value:
        raise ResumeMismatch(
            f"trial {trial.number} reported {before[epoch]!r} at epoch {epoch} before it was interrupted "
            f"and now computes {value!r}: code, data, packages or thread count have changed"
        )


def _reason(error: BaseException) -> str:
    """Why a trial failed, in one line."""
    if isinstance(error, Diverged):
        return f"diverged: {error}"
    if isinstance(error, Infeasible):
        return f"infeasible: {error}"
    if is_out_of_memory(error):
        return f"out of memory: {error}"
    return one_line(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that there was not enough memory, on the device or beside it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
