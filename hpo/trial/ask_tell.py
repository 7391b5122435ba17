"""Ask/tell adapter between an Optuna study and the coordinator. Sweep and promotion each say what is asked next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo.storage.database import name_metric, open_study
from hpo.storage.folder import Kind, RunFolder
from hpo.storage.optuna_private import live_trial, storage_of, trial_id
from hpo.storage.reading import all_trials
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.bounds import bounds_of
from hpo.trial.carry import fit_params
from hpo.trial.compare import require_agreement
from hpo.trial.job import Job
from hpo.trial.lifecycle import SUPERSEDED, conclude, is_orphan
from hpo.trial.objective import settle
from hpo.trial.ownership import claim, require_claimable
from hpo.trial.pausing import pause
from hpo.trial.provenance import identity_details
from hpo.trial.record import Asked, Outcome, write_asked
from hpo.trial.stored import Stored

REMEMBERED = 8  # outcomes


@dataclass(frozen=True)
class Question:
    """What a trial is to be trained with."""

    params: Mapping[str, Any]
    seed: int
    attributes: Mapping[str, Any] = field(default_factory=dict)  # to be kept in the trial's folder
    pause_at: int | None = None  # epochs after which the trial pauses
    fold: int = 0  # that a run of a promotion is tested on


class AskTell(ABC):
    """Hands out the jobs of one Optuna study, and takes their outcomes. A trial that is nobody's goes on first.

    `spec` is what a job is trained by. Raises Damaged where the storage is not what the folders say.
    """

    def __init__(
        self,
        spec: StudySpec,
        fidelity: Fidelity,
        folder: RunFolder,
        kind: Kind,
        name: str,
        identity: Mapping[str, str],
        *,
        device: str,
    ) -> None:
        self.spec, self.fidelity, self.folder, self.kind = spec, fidelity, folder, kind
        self.identity, self.device = dict(identity), device
        self.optuna = open_study(
            folder,
            kind,
            name,
            spec.direction,
            self.identity,
            pruner=spec.pruner(),
            details=identity_details(spec, kind),
        )
        stored = Stored(folder, storage_of(self.optuna))
        require_claimable(folder, spec.name, stored)
        require_agreement(self.optuna, folder, kind, dict if folder.generation == 1 else partial(fit_params, spec))
        claim(stored, folder, spec.name)
        retry_storage(partial(name_metric, self.optuna, spec.task.goal))
        self.bounds = bounds_of(spec, fidelity, kind, folder)
        self.running: dict[int, optuna.Trial] = {}
        self.outcomes: deque[Outcome] = deque(maxlen=REMEMBERED)  # the last ones that were told

    @abstractmethod
    def begin(self, trials: Sequence[FrozenTrial]) -> optuna.Trial | None:
        """A trial that is begun now, or None while there is none."""

    @abstractmethod
    def adopt(self, orphan: FrozenTrial) -> None:
        """Prepare to go on with a trial that an earlier coordinator has begun."""

    @abstractmethod
    def question(self, trial: optuna.Trial) -> Question:
        """What the trial is to be trained with."""

    @abstractmethod
    def is_wanted(self, trial: optuna.Trial) -> bool:
        """Whether the trial is still to be trained."""

    def next(self) -> Job | None:
        """The next job, or None while there is none. May be called again if it fails."""
        while (trial := self._orphan() or self.begin(self.trials())) is not None:
            job = self._job(trial)
            if self.is_wanted(trial):
                return job
            superseded = Outcome("failed", reason=SUPERSEDED)
            settle(job, superseded)
            self.tell(job, superseded)
        return None

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Take a job's outcome. May be called again if it fails. Never tells NaN or infinity."""
        if outcome.state == "paused":
            pause(self.running[job.number], outcome)
        else:
            conclude(self.optuna, self.running[job.number], outcome, self.kind, self.spec.limits)
        del self.running[job.number]
        self.outcomes.append(outcome)

    def trials(self) -> list[FrozenTrial]:
        """All trials, as the storage has them now."""
        return retry_storage(partial(all_trials, self.optuna))

    def _orphan(self) -> optuna.Trial | None:
        orphan = next((trial for trial in self.trials() if is_orphan(trial, self.running)), None)
        if orphan is None:
            return None
        self.adopt(orphan)
        return live_trial(self.optuna, trial_id(orphan))

    def _job(self, trial: optuna.Trial) -> Job:
        question = self.question(trial)
        job = Job(
            study=self.spec,
            fidelity=self.fidelity,
            params=question.params,
            number=trial.number,
            trial_id=trial_id(trial),
            seed=question.seed,
            folder=self.folder.trial(self.kind, trial.number),
            storage=self.folder.storage,
            study_name=self.optuna.study_name,
            device=self.device,
            fold=question.fold,
            pause_at=question.pause_at,
            bounds=self.bounds,
        )
        write_asked(job.folder, Asked(trial.number, job.params, question.attributes, self.identity))
        self.running[trial.number] = trial
        return job
