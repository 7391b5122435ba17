"""The sweep: many configurations at the cheap fidelity, drawn by TPE, the hopeless ones stopped early."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo import events
from hpo.contract.costs import over_limits
from hpo.errors import SweepFailed
from hpo.formatting import count
from hpo.search.climb import begin_again, begin_climb, curves_of, send_on
from hpo.search.ladder import Begin, GoOn, Ladder
from hpo.search.proposal import TRY, begin_trial, begun, draw, next_given
from hpo.search.tries import fitting_tries
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.optuna_private import live_trial, trial_id
from hpo.storage.summary import Summary
from hpo.storage.time_left import Plan
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial.ask_tell import AskTell, Question
from hpo.trial.costs import require_measurable
from hpo.trial.failures import is_fault, kind_of, largest_kind
from hpo.trial.job import Job
from hpo.trial.lifecycle import Standing, fruitless, standing_of
from hpo.trial.log import note_end
from hpo.trial.objective import run_trial, settle
from hpo.trial.over_limit import ended_epochs
from hpo.trial.pausing import LADDER, WAY, is_paused
from hpo.trial.record import Outcome, read_pause, summary
from hpo.trial.retry import finish_retry
from hpo.trial.sealed import UNTIL
from hpo.trial.summarize import keep_summary
from hpo.trial.warm import first_configurations, keep_warm
from hpo.workers import coordinator

TrialsWanted = Callable[[Sequence[FrozenTrial]], int]  # how many trials a sweep that has these is to have in all
SAME_FAILURE = 3  # first trials in a row with one and the same error: that is the code, not the configuration
OF_ONE_KIND, LATEST = 6, 8  # so many of the latest trials with an error of one kind: that is the code, too


def sweep(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    *,
    workers: int = 1,
    on: str = "auto",
    timeout: float | None = None,
    device: str = "auto",
    wanted: TrialsWanted | None = None,
    watch: Callable[[Summary], None] = lambda _: None,
) -> Standing:
    """Run the study's trials until `study.trials` of them have ended, or `study.stop_after` in a row were no better, or
    start no new one after `timeout` seconds.

    Where `wanted` is given, it says how many trials there are in all, and is asked again before each one.

    `on` names the backend (see coordinator.executor). Trial 0 is the default configuration, and the next ones are those
    that `study.warm` and `--try` give. A trial that an earlier call was interrupted in goes on under its own number,
    and the budget counts every trial once. `watch` is called with the summary, which is kept in the folder too, about
    once a second. Raises Refused and SweepFailed.
    """
    with study_lock(folder) as hold:
        source = retry_storage(
            lambda: SweepTrials(study, folder, identity, timeout=timeout, wanted=wanted, device=device)
        )
        pool = coordinator.executor(workers, on, device=device, folder=folder)
        with keep_summary(study, folder, "sweep") as summary_file:

            def look() -> None:
                hold()
                trials = source.trials()
                now = source.standing(trials)
                summary_file.study = source.spec
                watch(summary_file.update(trials, plan_of(now, trials), workers=pool.workers, ended=now.end))

            look()
            coordinator.drive(source, run_trial, pool=pool, watch=look)
            source.end_paused()
            look()
        now = source.standing(source.trials())
        now = replace(now, timed_out=timeout is not None and not now.is_over)
    if now.ended and not now.complete:
        reasons = [outcome.reason for outcome in source.outcomes if outcome.reason]
        raise SweepFailed(f"none of {now.ended} trials was completed: {reasons[-1] if reasons else ''}")
    return now


def plan_of(now: Standing, trials: Sequence[FrozenTrial]) -> Plan:
    """What a sweep has done and has still to do."""
    asked = now.done if now.is_over else max(now.trials, now.done if now.is_ladder else begun(trials))
    return Plan(now.done, asked, (asked,), frozenset(trial.number for trial in trials))


class SweepTrials(AskTell):
    """The trials of a sweep: the default, the best of an earlier study if it names one, what `--try` has given, and
    what TPE proposes."""

    def __init__(
        self,
        study: StudySpec,
        folder: RunFolder,
        identity: Mapping[str, str],
        *,
        timeout: float | None = None,
        wanted: TrialsWanted | None = None,
        device: str = "auto",
    ) -> None:
        require_measurable(study)
        keep_warm(study, folder, identity)
        finish_retry(study, folder, identity, "sweep")
        super().__init__(study, study.cheap, folder, "sweep", study.name, identity, device=device)
        self.firsts = first_configurations(study, folder)
        self.tries = fitting_tries(study, folder)
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.wanted = wanted
        self.optuna.set_user_attr("trials", study.trials)
        self.optuna.set_user_attr("stop_after", study.stop_after)
        if study.is_ladder:
            self.optuna.set_user_attr(LADDER, study.cheap.epochs)

    def begin(self, trials: Sequence[FrozenTrial]) -> optuna.Trial | None:
        if not any(trial.state is TrialState.COMPLETE for trial in trials):
            require_different_failures([outcome for outcome in self.outcomes if not self._is_over_limit(outcome)])
        require_few_of_one_kind(self.outcomes)
        if self.wanted is not None:
            self._ask_for(self.wanted(trials))
        if self.spec.is_ladder:
            return self._climb(trials)
        if begun(trials) >= self.spec.trials or self._is_late():
            return None
        given = next_given(trials, self.firsts, self.tries)
        if given is None and begun(trials) == len(trials) and self._is_fruitless(trials):
            return None
        return begin_trial(self.optuna, self.spec, trials, given)

    def _climb(self, trials: Sequence[FrozenTrial]) -> optuna.Trial | None:
        """The trial that the ladder begins, or sends on from its pause."""
        if self._is_late():
            return None
        if begun(trials) < len(trials):  # one waits that a killed coordinator had enqueued
            return self.optuna.ask()
        given = next_given(trials, self.firsts, self.tries)
        step = self._step(trials, is_given=given is not None)
        is_to_be_given = isinstance(step, Begin) and step.way == "given"
        if step is None or (not is_to_be_given and self._is_fruitless(trials)):
            return None
        if isinstance(step, Begin):
            return begin_climb(self.optuna, self.spec, trials, step, given)
        return send_on(self.optuna, trials, step)

    def _step(self, trials: Sequence[FrozenTrial], *, is_given: bool) -> Begin | GoOn | None:
        """What the ladder says comes next in a sweep that has these trials."""
        return self._ladder.next(curves_of(trials, self.spec, self.firsts), is_given=is_given)

    @property
    def _ladder(self) -> Ladder:
        epochs = self.spec.cheap.epochs
        return Ladder(epochs, budget=self.spec.trials * epochs, first=self.spec.first_rung or 1)

    @property
    def _full_length(self) -> int | None:
        """The epochs of a full-length trial, where the trials of a ladder are counted by them."""
        return self.spec.cheap.epochs if self.spec.is_ladder else None

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def end_paused(self) -> None:
        """End the trials that are still paused when the sweep is over: they are pruned. After a time limit they stay
        paused, for the next sweep to send on."""
        if self._is_late():
            return
        for frozen in filter(is_paused, self.trials()):
            retry_storage(partial(self._end_paused, frozen))

    def _end_paused(self, frozen: FrozenTrial) -> None:
        self.adopt(frozen)
        job = replace(self._job(live_trial(self.optuna, trial_id(frozen))), pause_at=None)
        paused = read_pause(job.folder, job.inputs) or summary("paused", ended_epochs(job))
        reason = f"paused after {count(paused.epochs, 'epoch')}, and not sent on before the sweep ended"
        outcome = settle(job, replace(paused, state="pruned", reason=reason))
        events.record("end", study=job.study_name, trial=job.number, state=outcome.state, reason=outcome.reason)
        note_end(job, outcome)
        self.tell(job, outcome)

    def _ask_for(self, trials: int) -> None:
        """Have so many trials in all from now on."""
        if trials != self.spec.trials:
            self.spec = replace(self.spec, trials=trials)
            self.optuna.set_user_attr("trials", trials)

    def _is_over_limit(self, outcome: Outcome) -> bool:
        """Whether the configuration costs too much: several of them in a row say nothing about the code."""
        return bool(over_limits(self.spec.limits, outcome.costs))

    def _is_fruitless(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether so many trials in a row were no better that the search ends."""
        limit = self.spec.stop_after
        return limit is not None and fruitless(trials, self.spec.direction, self._full_length) >= limit

    def adopt(self, orphan: FrozenTrial) -> None:
        self.optuna.sampler = self.spec.sampler(orphan.number)
        if not self.spec.is_ladder or UNTIL in orphan.user_attrs:
            return
        if orphan.params:  # the fidelity gate has begun it
            live_trial(self.optuna, trial_id(orphan)).set_user_attr(UNTIL, self.spec.cheap.epochs)
            return
        trials = [trial for trial in self.trials() if trial.number != orphan.number]
        step = self._step(trials, is_given=orphan.number in self.firsts)
        first_rung = Begin(self._ladder.rungs[0], "ladder", "sobol")
        begin_again(self.optuna, self.spec, orphan, trials, step if isinstance(step, Begin) else first_rung)

    def tell(self, job: Job, outcome: Outcome) -> None:
        self.optuna.sampler = self.spec.sampler(job.number)  # some samplers take note of each result
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Constraints have been set")  # CMA-ES does not use them
            super().tell(job, outcome)

    def question(self, trial: optuna.Trial) -> Question:
        stored = trial.user_attrs
        attributes = {key: stored[key] for key in (TRY, WAY, UNTIL) if key in stored}
        until = stored.get(UNTIL, self.spec.cheap.epochs)
        pause_at = until if until < self.spec.cheap.epochs else None
        return Question(draw(trial, self.spec), self.spec.training_seed(trial.number), attributes, pause_at)

    def is_wanted(self, trial: optuna.Trial) -> bool:  # noqa: ARG002
        return True

    def standing(self, trials: Sequence[FrozenTrial]) -> Standing:
        """How far the sweep has come that has these trials."""
        return standing_of(
            trials,
            self.spec.trials,
            self.spec.direction,
            stop_after=self.spec.stop_after,
            full_length=self._full_length,
        )


def require_different_failures(outcomes: Sequence[Outcome]) -> None:
    """Raise SweepFailed where the last trials failed with one and the same error, and nothing has been completed."""
    last = list(outcomes)[-SAME_FAILURE:]
    kinds = {kind_of(outcome.reason) if is_fault(outcome.reason) else outcome.reason for outcome in last}
    alike = len(last) == SAME_FAILURE and len(kinds) == 1
    if alike and all(outcome.state == "failed" for outcome in last):
        raise SweepFailed(f"{SAME_FAILURE} trials in a row failed alike: {last[-1].reason}\n{last[-1].traceback}")


def require_few_of_one_kind(outcomes: Sequence[Outcome]) -> None:
    """Raise SweepFailed where most of the latest trials of this command failed with an error of one kind.

    Also where others were completed: each further trial would most likely be wasted.
    """
    latest = list(outcomes)[-LATEST:]
    alike = largest_kind(latest)
    if len(alike) >= OF_ONE_KIND:
        last = alike[-1]
        raise SweepFailed(
            f"{len(alike)} of the last {len(latest)} trials failed in one way: {last.reason}\n{last.traceback}"
        )
