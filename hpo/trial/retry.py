"""Failed trials of a sweep, and failed runs of a promotion, are trained again under their own numbers.

The budget, or the race, has counted them, and loses none of them.

The folders come first: a failed outcome gets another name there, and the trial has none. The storage follows: it is
made again from the folders, since Optuna cannot take back that a trial has ended. Whoever opens the sweep, or the
promotion, after an interruption does the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpo.errors import Refused
from hpo.formatting import count, first_words
from hpo.storage.folder import Kind, RunFolder, promotion_name
from hpo.storage.reading import stored_trials
from hpo.study import StudySpec
from hpo.trial.attempts import failed_before, is_to_be_retried, set_failure_aside
from hpo.trial.failures import failures_among
from hpo.trial.lifecycle import SUPERSEDED
from hpo.trial.rebuild import remake
from hpo.trial.record import read_outcome

SHOWN = 20  # numbers of trials that are named
NOUNS: Mapping[Kind, tuple[str, str]] = {"sweep": ("trial", ""), "promotion": ("run", "the promotion of ")}


@dataclass(frozen=True)
class Retried:
    """Trials that had failed, and that the next sweep trains again; or runs, and the next promotion."""

    trials: tuple[int, ...]
    reasons: tuple[str, ...]  # why each of them had failed


def retry(
    study: StudySpec, folder: RunFolder, identity: Mapping[str, str], numbers: Collection[int], kind: Kind
) -> Retried:
    """Let the next sweep, or promotion, train these failed ones again, or all that have failed where none is named.

    Each keeps its number, its configuration and its seed, and begins anew. Hold the study's lock. Raises Refused where
    `retryable` does.
    """
    trials = retryable(folder, numbers, kind)
    for number in trials:
        if not is_to_be_retried(folder.trial(kind, number)):
            set_failure_aside(folder.trial(kind, number))
    finish_retry(study, folder, identity, kind)
    reasons = (failed_before(folder.trial(kind, number))[-1] for number in trials)
    return Retried(trials, tuple(reasons))


def retryable(folder: RunFolder, numbers: Collection[int], kind: Kind) -> tuple[int, ...]:
    """These trials, or all that have failed where none is named. Writes nothing.

    A trial that is to be trained again already counts as failed, so that an interrupted command can be given again.
    Raises Refused where one of them has not failed.
    """
    failed = [number for number in folder.numbers(kind) if _has_failed(folder.trial(kind, number))]
    wrong = sorted(set(numbers) - set(failed))
    if wrong:
        noun, whose = NOUNS[kind]
        raise Refused(
            f"only failed {noun}s can be trained again, and {noun} {wrong[0]} of {whose}{folder.path.name!r} is none; "
            f"{_listed(failed, noun)}"
        )
    return tuple(sorted(set(numbers))) if numbers else tuple(failed)


def _has_failed(trial: Path) -> bool:
    """Whether it has failed. A run that a newer selection had no need of was never trained."""
    outcome = read_outcome(trial)
    if outcome is None:
        return is_to_be_retried(trial)
    return outcome.state == "failed" and outcome.reason != SUPERSEDED


def _listed(failed: list[int], noun: str) -> str:
    if not failed:
        return "none has failed"
    return f"{count(len(failed), noun)} failed: {first_words([str(number) for number in failed], SHOWN)}"


def finish_retry(study: StudySpec, folder: RunFolder, identity: Mapping[str, str], kind: Kind) -> None:
    """Do what is left to do after failures were set aside: make the storage, in which those trials have not ended.

    Hold the study's lock. Raises Refused where the trials were asked another question.
    """
    waiting = {number for number in folder.numbers(kind) if is_to_be_retried(folder.trial(kind, number))}
    if waiting and _has_ended_trials(study, folder, waiting, kind):
        remake(study, folder, identity, kind)


def _has_ended_trials(study: StudySpec, folder: RunFolder, waiting: Collection[int], kind: Kind) -> bool:
    """Whether the storage still says of one of these trials that it has failed."""
    name = study.name if kind == "sweep" else promotion_name(study.name)
    return any(failure.number in waiting for failure in failures_among(stored_trials(folder, name)))
