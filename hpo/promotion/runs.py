"""The runs of a promotion: candidates at full fidelity, round by round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo import space
from hpo.engine.own_training import OwnTraining
from hpo.engine.rows import Rows
from hpo.engine.training import Progress, require_same_score
from hpo.promotion.candidate import RunKey
from hpo.promotion.own_runs import follow_and_test
from hpo.promotion.race import Race
from hpo.promotion.retune import Retuned, retune, with_settings
from hpo.promotion.selection import Selection, keep_selection, with_seeds
from hpo.promotion.standing import PromotionStanding, is_given_up, run_key, standing_of, values_of
from hpo.promotion.test_split import RunScores, judge_split, run_scores
from hpo.seeds import derive
from hpo.storage.folder import RunFolder, promotion_name
from hpo.study import StudySpec
from hpo.task import Split
from hpo.trial.ask_tell import AskTell, Question
from hpo.trial.costs import costs_of
from hpo.trial.job import Job
from hpo.trial.objective import once, outcome_of, reported
from hpo.trial.record import Outcome, read_outcome
from hpo.trial.weights import write_weights

ATTRIBUTES = ("key", "seed", "candidate")  # of a run; the name of its candidate is not in those of older versions


@dataclass(frozen=True)
class FinishedRun:
    """A run of a promotion that has ended."""

    number: int  # of its trial
    outcome: Outcome

    @property
    def value(self) -> float | None:
        """The goal on validation; None where the run failed."""
        return self.outcome.value if self.outcome.state == "complete" else None


Runs = Mapping[RunKey, FinishedRun]
SeedsWanted = Callable[[Race, Sequence[FrozenTrial]], int]  # how many the last round of a race is to have


class PromotionRuns(AskTell):
    """One trial for each candidate and seed, with the candidate's parameters enqueued; nothing is pruned.

    What is enqueued follows from the runs that have ended, so that a resumed promotion asks the same.
    """

    def __init__(
        self,
        study: StudySpec,
        selection: Selection,
        folder: RunFolder,
        identity: Mapping[str, str],
        *,
        wanted: SeedsWanted | None = None,
        device: str,
    ) -> None:
        unpruned = replace(study, pruning=None, cross_validate=1)
        name = promotion_name(study.name)
        super().__init__(unpruned, study.full, folder, "promotion", name, identity, device=device)
        self.selection, self.wanted = selection, wanted
        self.race = selection.race(study.direction)
        self.names = {candidate.key: candidate.name for candidate in selection.candidates}
        self.params = {candidate.key: candidate.params for candidate in selection.candidates}

    def begin(self, trials: Sequence[FrozenTrial]) -> optuna.Trial | None:
        if self.wanted is not None:
            self._ask_for(self.wanted(self.race, trials))
        known = {run_key(trial) for trial in trials if not is_given_up(trial)}
        missing = [run for run in self.race.runs(values_of(trials)) if run not in known]
        for run in missing:
            name = self.names[run.candidate]
            attributes = {"key": run.candidate, "seed": run.seed_index, "candidate": name}
            self.optuna.enqueue_trial(dict(self.params[run.candidate]), user_attrs=attributes)
        waiting = missing or any(trial.state is TrialState.WAITING for trial in trials)
        return self.optuna.ask() if waiting else None

    def _ask_for(self, seeds: int) -> None:
        """Have so many seeds in the last round from now on. That follows from the time, and from no score."""
        if seeds != self.selection.seeds:
            self.selection = keep_selection(with_seeds(self.selection, seeds), self.folder)
            self.race = self.selection.race(self.spec.direction)

    def adopt(self, orphan: FrozenTrial) -> None:
        """Do nothing: the parameters of a run were enqueued, so there is nothing to draw again."""

    def question(self, trial: optuna.Trial) -> Question:
        key = run_key(trial)
        return Question(
            params=space.suggest(trial, self.spec.space),
            seed=derive(self.spec.seed, "promotion", key.seed_index),
            attributes={name: trial.user_attrs[name] for name in ATTRIBUTES if name in trial.user_attrs},
            fold=key.seed_index % self.spec.task.folds,
        )

    def is_wanted(self, trial: optuna.Trial) -> bool:
        return run_key(trial) in self.race.runs(values_of(self.trials()))

    def standing(self) -> PromotionStanding:
        """How far the promotion has come."""
        return standing_of(self.race, self.trials())

    def finished(self) -> Runs:
        """Every run of the race, with its outcome. Call it when the race is over."""
        trials = self.trials()
        of_race = {run for runs in self.race.ended(values_of(trials)).values() for run in runs}
        runs = {}
        for trial in trials:
            if run_key(trial) in of_race and not is_given_up(trial):
                outcome = read_outcome(self.folder.trial("promotion", trial.number))
                if outcome is None:
                    outcome = Outcome("failed", reason="result.json is missing or damaged")
                runs[run_key(trial)] = FinishedRun(trial.number, outcome)
        return runs


def run_candidate(job: Job) -> Outcome:
    """Train at full fidelity, keep the best epoch's weights, and score them on the test split. Runs in a worker."""
    return once(job, lambda: _train_and_test(job))


def run_on_devices(count: int, job: Job) -> Outcome:
    """The same as `run_candidate`, with every batch shared among `count` devices."""
    from hpo.workers.torchrun import on_devices  # takes a second to import, and is rarely needed

    return once(job, lambda: on_devices(count, job, _train_and_test))


@dataclass(frozen=True)
class _Tested:
    """What follows the last epoch of a run."""

    retuned: Retuned
    scores: RunScores


def _train_and_test(job: Job) -> Outcome:
    if isinstance(job.study.task, OwnTraining):
        return follow_and_test(job)
    tested: list[_Tested] = []

    def epochs() -> Iterator[Progress]:
        costs_of(job)
        last = None
        for progress in reported(job):
            assert isinstance(progress, Progress)  # the engine trains it
            yield progress
            last = progress
        if last is not None:
            write_weights(job.folder, last.best_weights)
            task, recipe = job.study.configure(job.params, job.fidelity, fold=job.fold)
            require_same_score(task, recipe, job.fidelity, last, device=job.device)
            tested.append(_test(job, last.best, last.best_weights))

    outcome = outcome_of(epochs())  # an exception in the test ends the run, just as one in an epoch does
    if outcome.state != "complete":
        return outcome
    retuned = tested[0].retuned
    outcome = replace(outcome, value=retuned.value, chosen=retuned.chosen, tried=retuned.tried)
    return tested[0].scores.added_to(outcome, job.study.task.goal)


def _test(job: Job, value: float, weights: Mapping[str, Any]) -> _Tested:
    """Re-tune inference-only settings on validation, and then score the weights on the test split.

    Validation is scored in blocks too: they say more of how much examples differ.
    """
    task, recipe = job.study.configure(job.params, job.fidelity, fold=job.fold)
    model = task.model()
    model.load_state_dict(weights)
    retuned = retune(task, model, job.fidelity, value, device=job.device, precision=recipe.precision)
    task = with_settings(task, retuned.chosen)

    def rows(split: Split) -> Rows:
        return judge_split(
            task,
            model,
            split,
            job.fidelity,
            batch_size=recipe.batch_size,
            device=job.device,
            precision=recipe.precision,
        )

    return _Tested(retuned, run_scores(task, rows))
