"""Failed trials are trained again, under their own numbers: the budget has counted them, and loses none of them.

The folders come first: a failed outcome gets another name there, and the trial has none. The storage follows: it is
made again from the folders, since Optuna cannot take back that a trial has ended. Whoever opens the sweep after an
interruption does the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hpo.errors import Refused
from hpo.formatting import count, first_words
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial.attempts import failed_before, is_to_be_retried, set_failure_aside
from hpo.trial.failures import failures_among
from hpo.trial.rebuild import remake_sweep
from hpo.trial.record import read_outcome

SHOWN = 20  # numbers of trials that are named


@dataclass(frozen=True)
class Retried:
    """Trials that had failed, and that the next sweep trains again."""

    trials: tuple[int, ...]
    reasons: tuple[str, ...]  # why each of them had failed


def retry(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], numbers: Collection[int]) -> Retried:
    """Let the next sweep train these failed trials again, or all that have failed where none is named.

    Each keeps its number, its configuration and its seed, and begins anew. Raises Refused where `retryable` does.
    """
    with study_lock(folder):
        trials = retryable(folder, numbers)
        for number in trials:
            if not is_to_be_retried(folder.trial("sweep", number)):
                set_failure_aside(folder.trial("sweep", number))
        finish_retry(study, folder, identity)
    reasons = (failed_before(folder.trial("sweep", number))[-1] for number in trials)
    return Retried(trials, tuple(reasons))


def retryable(folder: RunFolder, numbers: Collection[int]) -> tuple[int, ...]:
    """These trials, or all that have failed where none is named. Writes nothing.

    A trial that is to be trained again already counts as failed, so that an interrupted command can be given again.
    Raises Refused where one of them has not failed.
    """
    failed = [number for number in folder.numbers("sweep") if _has_failed(folder, number)]
    wrong = sorted(set(numbers) - set(failed))
    if wrong:
        raise Refused(
            f"only failed trials can be trained again, and trial {wrong[0]} of {folder.path.name!r} is none; "
            f"{_listed(failed)}"
        )
    return tuple(sorted(set(numbers))) if numbers else tuple(failed)


def _has_failed(folder: RunFolder, number: int) -> bool:
    trial = folder.trial("sweep", number)
    outcome = read_outcome(trial)
    return is_to_be_retried(trial) if outcome is None else outcome.state == "failed"


def _listed(failed: list[int]) -> str:
    if not failed:
        return "none has failed"
    return f"{count(len(failed), 'trial')} failed: {first_words([str(number) for number in failed], SHOWN)}"


def finish_retry(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> None:
    """Do what is left to do after failures were set aside: make the storage, in which those trials have not ended.

    Hold the study's lock. Raises Refused where the trials were asked another question.
    """
    waiting = {number for number in folder.numbers("sweep") if is_to_be_retried(folder.trial("sweep", number))}
    if waiting and _has_ended_trials(study, folder, waiting):
        remake_sweep(study, folder, identity)


def _has_ended_trials(study: StudySpec, folder: RunFolder, waiting: Collection[int]) -> bool:
    """Whether the storage still says of one of these trials that it has failed."""
    stored = retry_storage(lambda: stored_study(folder, study.name))
    trials = retry_storage(lambda: stored.get_trials(deepcopy=False)) if stored else []
    return any(failure.number in waiting for failure in failures_among(trials))
