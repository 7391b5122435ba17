"""A budget at work: the clock of `hpo run --budget`, which says how many trials and seeds there is still time for."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter, ValidationError

from hpo.checking.cost import Cost, full_seconds, measure_cost
from hpo.errors import NoGo
from hpo.formatting import count, duration, seconds_of
from hpo.promotion.race import Race as PlannedRace
from hpo.promotion.race import rounds_of, runs_of
from hpo.promotion.selection import is_judged, read_selection
from hpo.promotion.standing import run_key, values_of
from hpo.search.proposal import begun, used_up
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Check
from hpo.trial.pausing import spent
from hpo.trial.record import read_outcome
from hpo.verbs import plan
from hpo.verbs.clock import seconds_before
from hpo.verbs.opening import Opened
from hpo.workers import coordinator

REPORT_S = 6.0  # for verdict and report, until one has been written
MARGIN = 2.0  # times as long as the report of the sweep takes all that comes after the last run
BESIDE = 2.0  # times as long as a trial does a run take beside its epochs: it writes weights and scores the test split
NO_SWEEP = plan.BudgetPlan(trials=0, keep=0, seeds=0, sweep_seconds=0.0, promotion_seconds=0.0)
RECENT = 12  # trials that the pace of the sweep is taken from
RECENT_RUNS = 4  # runs that the pace of the promotion is taken from


class Budget:
    """So many seconds from now for a whole study."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        started = seconds_before()
        self.leaving = started / 2  # the end of a process takes about half as long as its start
        self.ends = time.monotonic() + seconds - started
        self.report = REPORT_S
        self.between = REPORT_S / MARGIN  # for the report of the sweep

    @staticmethod
    def of(text: str | None) -> Budget | None:
        """The budget that is given as "2h", from now on; None where none is given or where it is no time."""
        try:
            return Budget(seconds_of(text)) if text else None
        except ValueError:
            return None

    @property
    def left(self) -> float:
        """Seconds that are left for sweep and promotion."""
        return self.ends - self.leaving - self.report - time.monotonic()

    def measure_report(self, write: Callable[[], object]) -> None:
        """Write a report, and expect the last one to take the like."""
        began = time.monotonic()
        write()
        self.report = MARGIN * (time.monotonic() - began)
        self.between = 0.0


class Schedule:
    """The plan of a study that has a budget, kept to what its trials and runs really take."""

    def __init__(self, opened: Opened, budget: Budget, cost: Cost, run_seconds: float) -> None:
        self.budget = budget
        self.workers = cost.workers
        self.race_workers = 1 if opened.options.devices > 1 else self.workers
        self.trial = (cost.trial_seconds + cost.slowest_seconds) / 2
        self.run = run_seconds
        self.slower = 1.0  # epochs take so many times as long as preflight has measured
        self.beside = 0.0  # seconds of a trial beside its epochs
        self.before = self.epochs_before = 0  # trials of the sweep that had begun before this command, and their epochs
        self.sweeping: float | None = None  # when the sweep began
        under_way = race_under_way(opened.folder)
        self.is_racing = under_way is not None  # the promotion has begun, so the sweep is over
        self.plan = self._plan(opened.study.task.folds) if under_way is None else NO_SWEEP
        self.race = under_way or plan.Race(self.plan.keep, self.plan.seeds)
        self.study, self.folder = opened.study, opened.folder
        self.epoch_seconds: dict[int, float | None] = {}  # of trials that have ended, by their numbers

    def _plan(self, folds: int) -> plan.BudgetPlan:
        costs = plan.Costs(self.trial, self.run, self.budget.report + self.budget.between)
        seconds = self.budget.left + self.budget.report
        return plan.plan_budget(seconds, costs, workers=self.workers, race_workers=self.race_workers, folds=folds)

    def planned(self, trials: Sequence[FrozenTrial]) -> StudySpec:
        """The study with the numbers of the plan; its sweep has these trials."""
        self.before, self.epochs_before = begun(trials), _epochs(trials)
        trials_wanted = used_up(trials, self.study) + (0 if self.is_racing else self.plan.trials)
        return replace(self.study, trials=trials_wanted, keep=self.race.keep, seeds=self.race.seeds)

    @property
    def sentence(self) -> str:
        """The plan in words."""
        rounds = rounds_of(self.race.keep, self.race.seeds, folds=self.study.task.folds)
        trials = f"about {count(self.plan.trials, 'trial')} of {duration(self.trial)}"
        sweep = "" if self.is_racing else f"{trials} in {duration(self.plan.sweep_seconds)}, then "
        ends = datetime.now().astimezone() + timedelta(seconds=self.budget.ends - time.monotonic())
        return (
            f"budget of {duration(self.budget.seconds)}: {sweep}a race of {count(runs_of(rounds), 'run')} of "
            f"{duration(self.run)}, {count(self.race.keep, 'configuration')} and the default, in "
            f"{duration(self.race_seconds)}, on {count(self.workers, 'worker')}; done by {ends:%H:%M:%S}"
        )

    def with_race(self) -> StudySpec:
        """The study with the largest race that fits into what the sweep has left."""
        if not self.is_racing:
            folds = self.study.task.folds
            self.race = plan.largest_race(self.budget.left, self.run_seconds, workers=self.race_workers, folds=folds)
        return replace(self.study, keep=self.race.keep, seeds=self.race.seeds)

    @property
    def race_sentence(self) -> str:
        """What is left for the promotion, and what it is expected to take, in words."""
        return (
            f"{duration(self.budget.left)} are left for the promotion, which takes about "
            f"{duration(self.race_seconds)} as planned; its last round gets as many seeds as fit"
        )

    @property
    def race_seconds(self) -> float:
        """What the race is expected to take, at the pace of now."""
        folds = self.study.task.folds
        return plan.race_seconds(self.race, self.run_seconds, workers=self.race_workers, folds=folds)

    @property
    def run_seconds(self) -> float:
        """What a run of the race is expected to take, at the pace of now."""
        return self.run * self.slower + BESIDE * self.beside

    def trials_wanted(self, trials: Sequence[FrozenTrial]) -> int:
        """How many trials the sweep has in all, by the time that its trials take."""
        if self.is_racing:
            return used_up(trials, self.study)
        if self.sweeping is None:
            self.sweeping = time.monotonic()
        fresh = [trial for trial in trials if trial.number >= self.before]
        ended = [trial for trial in fresh if trial.state.is_finished()][-RECENT:]
        self._take_pace(ended)
        left = self.budget.left - self.budget.between - self.race_seconds
        if self.study.is_ladder:  # then `trials` counts the epochs of full-length ones
            return self._full_length_trials(trials, left)
        trial_seconds = _mean_seconds(ended) or self.trial
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        further = plan.further_trials(left, trial_seconds, workers=self.workers, running=running)
        least = max(0, 2 - begun(trials))  # the default, and one beside it
        return begun(trials) + max(further, least)

    def _full_length_trials(self, trials: Sequence[FrozenTrial], left: float) -> int:
        epochs, done = self.study.cheap.epochs, _epochs(trials)
        pace = self.workers * epochs / (self.trial * self.slower)
        if done - self.epochs_before >= epochs and self.sweeping is not None:
            pace = (done - self.epochs_before) / (time.monotonic() - self.sweeping)
        return max(2, plan.full_length_trials(done, pace, left, epochs=epochs))

    def _take_pace(self, ended: Sequence[FrozenTrial]) -> None:
        """How much slower than measured epochs are, and what a trial takes beside them, by trials that have ended."""
        known = [self._epoch_seconds(trial.number) for trial in ended]
        epochs = [seconds for seconds in known if seconds is not None]
        if epochs:
            self.slower = statistics.median(epochs) * self.study.cheap.epochs / self.trial
        beside = [seconds - trial.user_attrs.get("seconds", 0.0) for trial, seconds in _durations(ended)]
        if beside and not self.study.is_ladder:  # a pause is no work
            self.beside = max(0.0, statistics.median(beside))

    def _epoch_seconds(self, number: int) -> float | None:
        """The median epoch of a trial that has ended, without the first one, which pays for imports."""
        if number not in self.epoch_seconds:
            outcome = read_outcome(self.folder.trial("sweep", number))
            seconds = [epoch.seconds for epoch in outcome.history[1:]] if outcome else []
            self.epoch_seconds[number] = statistics.median(seconds) if seconds else None
        return self.epoch_seconds[number]

    def seeds_wanted(self, race: PlannedRace, trials: Sequence[FrozenTrial]) -> int:
        """How many seeds the last round of the race has, by the time that its runs take."""
        stages, last = race.stages(values_of(trials)), race.rounds[-1]
        if len(stages) < len(race.rounds):
            return len(last.seeds)
        asked = {run_key(trial): trial for trial in trials if trial.state is not TrialState.WAITING}
        runs = [asked[run] for run in race.runs(values_of(trials)) if run in asked]
        return plan.seeds_in_time(
            self.budget.left,
            _mean_seconds([run for run in runs if run.state.is_finished()][-RECENT_RUNS:]) or self.run_seconds,
            entrants=max(1, len(stages[-1].entrants)),
            begun=sum(run in asked for run in stages[-1].runs),
            running=sum(run.state is TrialState.RUNNING for run in runs),
            workers=self.race_workers,
            slack=plan.SLACK * self.budget.seconds,
            least=plan.SEEDS if len(race.rounds) == 1 else 1,
        )


def _epochs(trials: Sequence[FrozenTrial]) -> int:
    """The epochs that trials have taken until now, where one that failed at once counts one, as on the ladder."""
    return sum(spent(trial) if trial.state.is_finished() else len(trial.intermediate_values) for trial in trials)


def _durations(ended: Sequence[FrozenTrial]) -> list[tuple[FrozenTrial, float]]:
    """Trials that have ended, with the seconds from their begin to their end."""
    return [(trial, trial.duration.total_seconds()) for trial in ended if trial.duration is not None]


def _mean_seconds(ended: Sequence[FrozenTrial]) -> float | None:
    seconds = [seconds for _, seconds in _durations(ended)]
    return statistics.mean(seconds) if seconds else None


def race_under_way(folder: RunFolder) -> plan.Race | None:
    """The race of a promotion that has begun and has no verdict: it goes on as it is."""
    selection = read_selection(folder)
    if selection is None or is_judged(selection, folder):
        return None
    return plan.Race(selection.keep, selection.seeds)


def scheduled(opened: Opened, budget: Budget) -> Schedule:
    """The schedule of a study whose preflight has passed. Raises Refused where the budget is too short, and NoGo where
    the default configuration cannot be trained."""
    study, device = opened.study, opened.options.device
    pool = coordinator.executor(opened.workers, opened.on, device=device)
    cost = _kept_cost(opened) or measure_cost(study, opened.workers, device, pool)
    full = full_seconds(study, opened.workers, device, pool)
    for failed in (cost, full):
        if isinstance(failed, Check):
            raise NoGo(f"the cost of {study.name} could not be measured: {failed.seen}")
    assert isinstance(cost, Cost)
    assert isinstance(full, float)
    return Schedule(opened, budget, cost, full)


def _kept_cost(opened: Opened) -> Cost | None:
    """What the kept preflight has measured with as many workers; None where it has not."""
    try:
        record = json.loads(opened.folder.preflight.read_text())
        cost = TypeAdapter(Cost).validate_python(record["cost"])
    except (OSError, KeyError, TypeError, ValueError, ValidationError):
        return None
    return cost if cost.workers == opened.workers else None
