"""From a trial to its value: the only place where the engine and Optuna meet. Runs in a worker."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
import torch

from hpo import checkpoint
from hpo.engine import Diverged, Progress, fit
from hpo.storage import open_storage
from hpo.study import StudySpec
from hpo.task import Fidelity

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs for one trial."""

    study: StudySpec
    fidelity: Fidelity
    params: Mapping[str, Any]
    number: int
    trial_id: int
    seed: int  # of the training run
    folder: Path  # the trial's own: the worker writes nowhere else
    storage: str
    study_name: str  # in the storage: the sweep's or the promotion's
    device: str = "auto"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. Written to its folder before anybody is told: that is the truth, the storage its index."""

    state: State
    value: float | None = None  # best validation score; None where no epoch was finished
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0  # spent in the epochs, over all attempts
    scores: Mapping[str, float] = field(default_factory=dict)  # of the best epoch
    history: tuple[Mapping[str, Any], ...] = ()  # an epoch each: loss, terms, scores, grad_norm, ...
    reason: str = ""  # why it was pruned or failed
    memory: bool = False  # it did not fit
    traceback: str = ""
    test: Mapping[str, float] = field(default_factory=dict)  # promotion: scores on the test split
    units: tuple[float, ...] = ()  # promotion: the goal of each unit of the test split (see promote.test_units)


class Divergence(RuntimeError):
    """A resumed trial computed another value than the one it had reported: its surroundings have changed."""


def run_trial(job: Job) -> Outcome:
    """Train one configuration and report each epoch's best score so far; prunes, and survives being run again.

    A trial whose result is already in its folder is not trained again. Whatever goes wrong with one configuration
    (it diverges, does not fit, raises) is its outcome and not the sweep's end.
    """
    return finished(job.folder) or conclude(job, outcome_of(reported(job)))


def outcome_of(progress: Iterator[Progress]) -> Outcome:
    """What the epochs came to, whatever ended them."""
    seen: list[dict[str, Any]] = []
    try:
        for epoch in progress:
            seen.append(_epoch_record(epoch))
    except optuna.TrialPruned as pruned:
        return summary("pruned", seen, reason=str(pruned))
    except Diverged as diverged:
        return summary("pruned", seen, reason=f"diverged: {diverged}")
    except Exception as error:
        if out_of_memory(error):
            return summary("pruned", seen, reason=f"out of memory: {error}", memory=True)
        return summary("failed", seen, reason=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    return summary("complete", seen)


def trained(job: Job) -> Iterator[Progress]:
    """The epochs of the job's configuration, going on from its checkpoint where it has one."""
    task, recipe = job.study.configure(job.params, job.fidelity)
    return fit(task, recipe, job.fidelity, seed=job.seed, device=job.device, resume=job.folder)


def reported(job: Job) -> Iterator[Progress]:
    """The same epochs, each reported to the trial. Raises TrialPruned where the pruner says so."""
    study = optuna.load_study(study_name=job.study_name, storage=open_storage(job.storage), pruner=job.study.pruner(),
                              sampler=optuna.samplers.RandomSampler(seed=0))  # fmt: skip
    trial = optuna.trial.Trial(study, job.trial_id)
    before = study.get_trials(deepcopy=False)[job.number].intermediate_values
    last = None
    for progress in trained(job):
        _report(trial, progress.epoch, progress.best, before)
        yield progress
        last = progress
        if trial.should_prune():
            raise optuna.TrialPruned(f"worse than the median at epoch {progress.epoch}")
    if last is not None and last.stopped:  # carried forward, so that others meet a curve at every epoch
        for epoch in range(last.epoch + 1, job.fidelity.epochs):
            _report(trial, epoch, last.best, before)


def _report(trial: optuna.Trial, epoch: int, value: float, before: Mapping[int, float]) -> None:
    """Report once; what a killed attempt has reported must come out the same again."""
    if epoch not in before:
        trial.report(value, epoch)
    elif before[epoch] != value:
        raise Divergence(f"trial {trial.number} reported {before[epoch]!r} at epoch {epoch} before it was interrupted "
                         f"and now computes {value!r}: code, data, packages or thread count have changed")  # fmt: skip


def summary(state: State, seen: list[dict[str, Any]], **more: Any) -> Outcome:
    """An outcome with the best epoch's value and scores, from the records of its epochs."""
    if not seen:
        return Outcome(state, **more)
    last = seen[-1]
    return Outcome(
        state, value=last["best"], epochs=len(seen), best_epoch=last["best_epoch"], history=tuple(seen),
        seconds=sum(epoch["seconds"] for epoch in seen), scores=dict(seen[last["best_epoch"]]["scores"]), **more,
    )  # fmt: skip


def _epoch_record(progress: Progress) -> dict[str, Any]:
    """A progress as JSON holds it: without the model and the weights, which would pile up."""
    names = ("epoch", "loss", "terms", "scores", "value", "best", "best_epoch", "grad_norm", "lr", "seconds",
             "steps_taken", "steps_skipped", "nonfinite")  # fmt: skip
    return {name: getattr(progress, name) for name in names}


def conclude(job: Job, outcome: Outcome) -> Outcome:
    """Write the outcome into the trial's folder; the checkpoints have done their work."""
    write_outcome(job.folder, outcome)
    checkpoint.discard(job.folder)
    return outcome


def write_outcome(folder: Path, outcome: Outcome) -> None:
    checkpoint.write_json(folder / "result.json", asdict(outcome))


def finished(folder: Path) -> Outcome | None:
    """The outcome that a trial has left in its folder, if it came that far."""
    path = folder / "result.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    return Outcome(**{**record, "history": tuple(record["history"]), "units": tuple(record["units"])})


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that there was not enough memory, on the device or beside it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
