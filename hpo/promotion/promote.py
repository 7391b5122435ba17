"""Promotion: the sweep's best configurations and the default, at full fidelity, on fresh seeds, side by side.

It is another Optuna study over the same objective, with parameters enqueued instead of drawn and nothing pruned. The
winner is chosen by its validation score; the test split, which nothing else reads, then says what that is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from optuna.trial import TrialState
from torch import Tensor

from hpo import space
from hpo.engine.training import Progress
from hpo.files import write_json
from hpo.plain import nulled, plain
from hpo.promotion.export import best_run, export_winner, write_pictures
from hpo.promotion.retune import Rescored, inertness, rescore, with_settings
from hpo.promotion.selection import Selection, freeze, sweep_trials
from hpo.promotion.test_split import Heldout, heldout_baselines, heldout_scores, heldout_units
from hpo.promotion.verdict import Outcomes, Verdict, judge
from hpo.seeds import derive
from hpo.storage.database import open_study
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.task import Check, Evidence
from hpo.trial import record
from hpo.trial.artifact import load_winner, write_weights
from hpo.trial.guard import run_check
from hpo.trial.job import Job
from hpo.trial.lifecycle import conclude, is_orphan
from hpo.trial.objective import once, outcome_of, reported, settle
from hpo.trial.record import Asked, Outcome, outcome_in
from hpo.workers import coordinator, local

GIVEN_UP = "of an earlier selection that was given up"


@dataclass(frozen=True)
class Standing:
    """How far a promotion has come."""

    done: int
    runs: int


def promote(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    *,
    workers: int = 1,
    on: str = "auto",
    device: str = "auto",
    devices: int = 1,
    watch: Callable[[Standing], None] = lambda standing: None,
) -> Verdict:
    """Train `study.keep` configurations and the default at full fidelity with `study.seeds` seeds each, and judge.

    Writes the verdict, the winner's weights and card, and the task's pictures into the study's folder. An interrupted
    promotion goes on with the selection it began with. With `devices` above 1, each run in turn has that many of them.
    Raises Refused where there is no sweep to promote from.
    """
    with study_lock(folder) as hold:
        selection = freeze(study, folder)
        source = retry_storage(lambda: Runs(study, selection, folder, identity, device))

        def look() -> None:
            hold()
            watch(retry_storage(source.standing))

        run = run_candidate if devices == 1 else partial(run_on_devices, devices)
        pool = coordinator.executor(workers, on if devices == 1 else "inline", device=device)
        coordinator.drive(source, run, pool=pool, watch=look)
        look()
        local.prepare_worker()
        outcomes = source.outcomes()
        verdict = judge(study, selection, outcomes, heldout_baselines(study))
        exported = export_winner(study, folder, verdict, device=device)
        verdict = replace(
            verdict,
            checks=(
                *run_check("the task's checks", partial(_task_checks, study, folder, verdict, outcomes)),
                *run_check("pictures", partial(_draw, exported, study, folder)),
            ),
        )
        write_json(folder.path / "verdict.json", nulled(plain(asdict(verdict))))
    return verdict


class Runs:
    """The runs of a promotion: one trial for each candidate and seed."""

    def __init__(
        self, study: StudySpec, selection: Selection, folder: RunFolder, identity: Mapping[str, str], device: str
    ) -> None:
        self.study, self.selection, self.folder, self.device = study, selection, folder, device
        self.identity = dict(identity)
        self.optuna = open_study(folder, "promotion", f"{study.name}.promotion", study.task.direction, self.identity)
        record.compare(self.optuna, folder, "promotion")
        self.running: dict[int, optuna.Trial] = {}
        self.wanted = {(candidate.key, index) for index in range(selection.seeds) for candidate in selection.candidates}
        known = {run_of(trial) for trial in self._all() if trial.user_attrs.get("reason") != GIVEN_UP}
        for index in range(selection.seeds):  # a seed for everybody before the next one: early results compare
            for candidate in selection.candidates:
                if (candidate.key, index) not in known:
                    self.optuna.enqueue_trial(dict(candidate.params), user_attrs={"key": candidate.key, "seed": index})

    def next(self) -> Job | None:
        for frozen in self._all():
            orphan = is_orphan(frozen, self.running)
            if not orphan and frozen.state is not TrialState.WAITING:
                continue
            trial = optuna.trial.Trial(self.optuna, frozen._trial_id) if orphan else self.optuna.ask()
            job = self._job(trial)
            if run_of(trial) in self.wanted:
                return job
            given_up = Outcome("failed", reason=GIVEN_UP)
            settle(job, given_up)
            self.tell(job, given_up)
        return None

    def _job(self, trial: optuna.Trial) -> Job:
        job = Job(
            replace(self.study, pruning=None),
            self.study.full,
            space.suggest(trial, self.study.space),
            trial.number,
            trial._trial_id,
            derive(self.study.seed, "promotion", trial.user_attrs["seed"]),
            self.folder.trial("promotion", trial.number),
            self.folder.storage,
            self.optuna.study_name,
            self.device,
        )
        attributes = {"key": trial.user_attrs["key"], "seed": trial.user_attrs["seed"]}
        record.write_asked(job.folder, Asked(trial.number, job.params, attributes, self.identity))
        self.running[trial.number] = trial
        return job

    def tell(self, job: Job, outcome: Outcome) -> None:
        conclude(self.optuna, self.running[job.number], outcome)
        del self.running[job.number]

    def standing(self) -> Standing:
        ended = sum(trial.state.is_finished() for trial in self._all() if run_of(trial) in self.wanted)
        return Standing(ended, len(self.wanted))

    def outcomes(self) -> Outcomes:
        """(candidate key, seed index) -> (trial number, outcome) of every run that has ended."""
        found = {}
        for trial in self._all():
            outcome = outcome_in(self.folder.trial("promotion", trial.number))
            if run_of(trial) in self.wanted:
                found[run_of(trial)] = (trial.number, outcome or Outcome("failed", reason="left no result"))
        return found

    def _all(self) -> list[optuna.trial.FrozenTrial]:
        return retry_storage(partial(self.optuna.get_trials, deepcopy=False))


def run_candidate(job: Job) -> Outcome:
    """Train at full fidelity, keep the best epoch's weights, and score them on the test split. Runs in a worker."""
    return once(job, lambda: _candidate(job))


def run_on_devices(count: int, job: Job) -> Outcome:
    """The same, with every batch shared among `count` devices."""
    from hpo.workers.torchrun import on_devices

    return once(job, lambda: on_devices(count, job, _candidate))


def _candidate(job: Job) -> Outcome:
    examined: list[Examined] = []

    def epochs() -> Iterator[Progress]:
        last = None
        for progress in reported(job):
            yield progress
            last = progress
        if last is not None:
            write_weights(job.folder, last.best_weights)
            examined.append(examine(job, last.best, last.best_weights))

    outcome = outcome_of(epochs())
    if outcome.state != "complete":
        return outcome
    rescored, heldout = examined[0]
    return replace(
        outcome,
        value=rescored.value,
        chosen=rescored.chosen,
        tried=rescored.tried,
        test=dict(heldout.scores),
        units=heldout.units,
    )


class Examined(NamedTuple):
    rescored: Rescored
    heldout: Heldout


def examine(job: Job, value: float, weights: Mapping[str, Tensor]) -> Examined:
    """Settle what inference alone reads on validation, and then score the weights on the test split."""
    task, recipe = job.study.configure(job.params, job.fidelity)
    model = task.model()
    model.load_state_dict(weights)
    how = {"device": job.device, "precision": recipe.precision}
    rescored = rescore(task, model, job.fidelity, value, **how)
    return Examined(rescored, heldout_scores(with_settings(task, rescored.chosen), model, job.fidelity, **how))


def run_of(trial: optuna.trial.BaseTrial) -> tuple[str, int]:
    return trial.user_attrs["key"], trial.user_attrs["seed"]


def _task_checks(study: StudySpec, folder: RunFolder, verdict: Verdict, outcomes: Outcomes) -> list[Check]:
    """The task's own conditions, on the winner's best run."""
    winner = verdict.results[0]
    best = outcomes[winner.candidate.key, best_run(study, winner)["seed_index"]][1]
    noise = float(np.std([run["value"] for run in winner.runs], ddof=1)) if len(winner.runs) > 1 else 0.0
    trials = tuple(
        {
            "number": t.number,
            "state": t.state.name.lower(),
            "value": t.value,
            "params": t.params,
            "epochs": len(t.intermediate_values),
            "reason": t.user_attrs.get("reason", ""),
        }
        for t in sweep_trials(study, folder)
    )
    task, _ = study.configure(winner.candidate.params, study.full)
    evidence = Evidence(
        "promotion",
        scores=winner.scores,
        history=best.history,
        trials=trials,
        baselines={one.name: one.scores for one in verdict.baselines},
    )
    return [*inertness(best.tried, noise), *task.checks(evidence)]


def _draw(winner: Path, study: StudySpec, folder: RunFolder) -> list[Check]:
    """The task's pictures of the winner on the test split, as files that the report embeds. Finds nothing by itself."""
    task, model = load_winner(winner)
    write_pictures(folder.pictures, task.pictures(model, heldout_units(task, study.full)))
    return []
