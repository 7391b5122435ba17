"""The sweep: many configurations at the cheap fidelity, drawn by TPE, the hopeless ones stopped early."""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna
from optuna.trial import TrialState

from hpo import space
from hpo.errors import SweepFailed
from hpo.storage.database import open_study
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial import record
from hpo.trial.job import Job
from hpo.trial.lifecycle import Standing, conclude, is_orphan, standing
from hpo.trial.objective import run_trial
from hpo.trial.record import Asked, Outcome
from hpo.workers import coordinator

SAME_FAILURE = 3  # trials in a row with one and the same error: that is the code, not the configuration


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

    `on` names the backend (see coordinator.executor). Trial 0 is the default configuration. A trial that an earlier
    call was interrupted in goes on under its own number, and the budget counts every trial once. Raises Refused and
    SweepFailed.
    """
    with study_lock(folder) as hold:
        source = retry_storage(lambda: Trials(study, folder, identity, timeout=timeout, device=device))

        def look() -> None:
            hold()
            watch(retry_storage(source.standing))

        coordinator.drive(source, run_trial, pool=coordinator.executor(workers, on, device=device), watch=look)
        now = retry_storage(source.standing)
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
        record.compare(self.optuna, folder, "sweep")
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
        record.write_asked(job.folder, Asked(trial.number, job.params, {}, self.identity))
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
