"""What the trials of a sweep say about its hyperparameters, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.page.findings import Trial
from hpo.seeds import derive
from hpo.separation.responses import Observation
from hpo.separation.stepwise import Separation, separation
from hpo.space import distributions
from hpo.study import StudySpec

DIVERGED = "diverged"  # how the reason of a trial begins whose loss or scores were no finite numbers


def study_separation(study: StudySpec, trials: Sequence[Trial]) -> Separation:
    """What separates in the sweep of a study. The same trials give the same answer."""
    return separation(
        observations(trials, study.random_trials),
        distributions(study.space),
        study.direction,
        seed=derive(study.seed, "separation"),
    )


def observations(trials: Sequence[Trial], startup_trials: int) -> list[Observation]:
    """The trials that have ended and say something about their hyperparameters.

    One that diverged counts as the worst: that is how its training ended. One that failed otherwise (killed, out of
    memory, an exception) before it had a score is left out: its score would be anything, and that it cannot run is not
    that it is bad. One that failed later counts by what it had reached, like a pruned one.
    """
    return [_observation(trial, startup_trials) for trial in trials if _says_something(trial)]


def _says_something(trial: Trial) -> bool:
    if trial.state == "complete":
        return trial.value is not None
    return trial.state == "pruned" or (trial.state == "failed" and (bool(trial.curve) or _has_diverged(trial)))


def _has_diverged(trial: Trial) -> bool:
    return trial.state != "complete" and trial.reason.startswith(DIVERGED)


def _observation(trial: Trial, startup_trials: int) -> Observation:
    return Observation(
        trial.params,
        trial.value if trial.state == "complete" else None,
        {} if _has_diverged(trial) else trial.curve,
        is_modelled=trial.number >= startup_trials,
    )
