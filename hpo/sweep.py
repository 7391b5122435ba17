"""The sweep: many configurations at the cheap fidelity, drawn by TPE, the hopeless ones stopped early."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import TrialState

from hpo import launch, records, space
from hpo.objective import Job, run_trial
from hpo.records import STATES, Asked, Outcome
from hpo.storage import RunFolder, open_study, steadily, value_of
from hpo.study import StudySpec

SAME_FAILURE = 3  # trials in a row with one and the same error: that is the code, not the configuration


class SweepFailed(RuntimeError):
    """The sweep has nothing to show: its trials fail. Says with what."""


@dataclass(frozen=True)
class Standing:
    """How far a sweep has come."""

    done: int
    trials: int
    complete: int
    pruned: int
    failed: int
    best: float | None
    best_number: int | None


def sweep(
    study: StudySpec,
    folder: RunFolder,
    identity: dict[str, str],
    *,
    workers: int = 1,
    on: str = "auto",
    timeout: float | None = None,
    device: str = "auto",
    watch: Callable[[Standing], None] = lambda standing: None,
) -> Standing:
    """Run the study's trials until `study.trials` of them have ended, or no new one after `timeout` seconds.

    `on` names the backend (see launch.executor). Trial 0 is the default configuration. A trial that an earlier call
    was interrupted in goes on under its own number, and the budget counts every trial once. Raises Refused and
    SweepFailed.
    """
    with folder.locked() as hold:
        source = steadily(lambda: Trials(study, folder, identity, timeout=timeout, device=device))

        def look() -> None:
            hold()
            watch(steadily(source.standing))

        launch.drive(source, run_trial, pool=launch.executor(workers, on, device=device), watch=look)
        now = steadily(source.standing)
    watch(now)
    if now.done and not now.complete:
        raise SweepFailed(f"none of {now.done} trials was completed: {source.last_reason}")
    return now


class Trials:
    """The trials of a sweep: what is asked, and what is told."""

    def __init__(
        self, study: StudySpec, folder: RunFolder, identity: dict[str, str], *, timeout: float | None, device: str
    ) -> None:
        self.study, self.folder, self.identity, self.device = study, folder, identity, device
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.optuna = open_study(folder, "sweep", study.name, study.task.direction, identity, pruner=study.pruner())
        records.compare(self.optuna, folder, "sweep")
        self.optuna.set_user_attr("trials", study.trials)
        self.running: dict[int, optuna.Trial] = {}
        self.failures: list[str] = []
        self.last_reason = ""

    def next(self) -> Job | None:
        trials = self.optuna.get_trials(deepcopy=False)
        if not trials:
            self.optuna.enqueue_trial(self.study.defaults())
        orphan = next((frozen for frozen in trials if is_orphan(frozen, self.running)), None)
        if orphan:
            self.optuna.sampler = self.study.sampler(orphan.number)
            return self._job(optuna.trial.Trial(self.optuna, orphan._trial_id))
        asked = sum(frozen.state is not TrialState.WAITING for frozen in trials)
        if asked >= self.study.trials or (self.deadline and time.monotonic() > self.deadline):
            return None
        self.optuna.sampler = self.study.sampler(asked)
        return self._job(self.optuna.ask())

    def _job(self, trial: optuna.Trial) -> Job:
        params = space.suggest(trial, self.study.space, lambda name: self.study.sampler(trial.number, name))
        job = Job(
            self.study,
            self.study.cheap,
            params,
            trial.number,
            trial._trial_id,
            self.study.training_seed(trial.number),
            self.folder.trial("sweep", trial.number),
            self.folder.storage,
            self.optuna.study_name,
            self.device,
        )
        records.write_asked(job.folder, Asked(trial.number, job.params, {}, self.identity))
        self.running[trial.number] = trial
        return job

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Record the outcome. No NaN or infinity can pass: a value is there only where an epoch was finished."""
        conclude(self.optuna, self.running[job.number], outcome)
        del self.running[job.number]
        self.last_reason = outcome.reason or self.last_reason
        self.failures = [*self.failures, outcome.reason] if outcome.state == "failed" else []
        if len(self.failures) >= SAME_FAILURE and len(set(self.failures)) == 1:
            raise SweepFailed(f"{SAME_FAILURE} trials in a row failed alike: {outcome.reason}\n{outcome.traceback}")

    def standing(self) -> Standing:
        return standing(self.optuna, self.study.trials)


def is_orphan(trial: optuna.trial.FrozenTrial, running: Collection[int]) -> bool:
    """Whether a trial was begun and is nobody's: its coordinator died, or the storage lost our answer."""
    return trial.state is TrialState.RUNNING and trial.number not in running


def conclude(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> None:
    """Tell the outcome, with what a reader or the sampler should know beside it. Once: again is no error."""
    stored = trial.storage.get_trial(trial._trial_id)
    if stored.state.is_finished():
        return
    for epoch in outcome.history:  # in a storage that was made anew, a result that was there has not been reported
        if epoch["epoch"] not in stored.intermediate_values:
            trial.report(epoch["best"], epoch["epoch"])
    attributes = {
        "scores": _finite(outcome.scores),
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "seconds": outcome.seconds,
        "reason": outcome.reason,
    }
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    if outcome.test:
        trial.set_user_attr("test", _finite(outcome.test))
    trial.set_constraint("memory", 1.0 if outcome.memory else -1.0)  # TPE then keeps away from what did not fit
    study.tell(trial, outcome.value if outcome.state == "complete" else None, state=STATES[outcome.state])


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: no NaN or infinity reaches Optuna, and JSON has none."""
    return {name: score for name, score in scores.items() if math.isfinite(score)}


def standing(study: optuna.Study, trials: int) -> Standing:
    """The standing of a study, from its storage."""
    finished = [frozen for frozen in study.get_trials(deepcopy=False) if frozen.state.is_finished()]
    counts = Counter(frozen.state for frozen in finished)
    sign = 1 if study.direction is optuna.study.StudyDirection.MINIMIZE else -1
    complete = [frozen for frozen in finished if frozen.state is TrialState.COMPLETE]
    best = min(complete, key=lambda frozen: (sign * value_of(frozen), frozen.number), default=None)
    return Standing(
        len(finished),
        trials,
        counts[TrialState.COMPLETE],
        counts[TrialState.PRUNED],
        counts[TrialState.FAIL],
        best.value if best else None,
        best.number if best else None,
    )
