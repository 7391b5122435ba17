"""The log of a job: what it prints, how it began, and how it ended. Runs in a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from hpo.engine.checkpoint_files import reached
from hpo.errors import one_line
from hpo.formatting import amount, count, settings
from hpo.output.kept import OUTPUT, kept, note, this_process
from hpo.trial.job import Job
from hpo.trial.record import Outcome
from hpo.trial.sealed import RESULT

P = ParamSpec("P")
T = TypeVar("T")


def logged(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function. Where its first argument is a job that is not done, what it prints is kept in the job's log.

    Raises what the function raises.
    """
    job = job_among(args)
    if job is None or (job.folder / RESULT).exists():
        return fn(*args, **kwargs)
    note_begin(job)
    try:
        with kept(job.folder / OUTPUT):
            result = fn(*args, **kwargs)
    except BaseException as error:
        _note(job, f"stopped: {one_line(error)}")
        raise
    if isinstance(result, Outcome):
        note_end(job, result)
    return result


def job_among(args: tuple[Any, ...]) -> Job | None:
    """The job that a function of a worker is called with; None where there is none."""
    return args[0] if args and isinstance(args[0], Job) else None


def note_begin(job: Job) -> None:
    """Say that the job begins, or goes on, and where."""
    done = reached(job.folder) + 1
    begins = "begins again" if (job.folder / OUTPUT).exists() else "begins"
    if done:
        begins = f"goes on after {done} of {count(job.fidelity.epochs, 'epoch')}"
    _note(job, f"{begins}: {settings(job.params)}; {this_process()}")


def note_death(job: Job, deaths: int) -> None:
    """Say that the job's worker has died. Called by the coordinator."""
    _note(job, f"its worker died, {count(deaths, 'time')} since the last epoch that was finished")


def note_end(job: Job, outcome: Outcome) -> None:
    """Say how the job has ended, and with what traceback."""
    ended = f"{outcome.state} after {count(outcome.epochs, 'epoch')}"
    if outcome.value is not None:
        ended += f", best {job.study.task.goal} {amount(outcome.value, job.study.task.goal)}"
    if outcome.reason:
        ended += f": {outcome.reason}"
    _note(job, ended, outcome.traceback)


def _note(job: Job, text: str, details: str = "") -> None:
    note(job.folder / OUTPUT, f"trial {job.number} of {job.study_name} {text}", details)
