"""A budget at work: how many trials and seeds there is still time for, by what trials and runs take."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter, ValidationError

from hpo.checking.cost import Cost, full_seconds, measure_cost
from hpo.errors import NoGo
from hpo.promotion.gate import MOST, read_gate
from hpo.promotion.race import Race as PlannedRace
from hpo.promotion.race import planner
from hpo.promotion.rivals import rival_seconds
from hpo.promotion.selection import is_judged, read_selection, select
from hpo.promotion.standing import run_key, values_of
from hpo.search.proposal import begun, used_up
from hpo.storage.folder import RunFolder, promotion_name
from hpo.storage.reading import stored_trials
from hpo.study import StudySpec
from hpo.task import Check
from hpo.trial.changes import Change
from hpo.trial.pausing import spent
from hpo.trial.record import read_outcome
from hpo.verbs import plan
from hpo.verbs.clock import Budget
from hpo.verbs.gate import can_be_tested
from hpo.verbs.opening import Opened
from hpo.workers import coordinator

BESIDE_S = 0.1  # seconds of a trial beside its epochs, until trials have shown them
BESIDE = 2.0  # times as long as a trial does a run take beside its epochs: it writes weights and scores the test split
NO_SWEEP = plan.BudgetPlan(trials=0, keep=0, seeds=0, sweep_seconds=0.0, promotion_seconds=0.0)
RECENT = 12  # trials that the pace of the sweep is taken from
RECENT_RUNS = 4  # runs that the pace of the promotion is taken from


class Schedule:
    """The plan of a study that has a budget, kept to what its trials and runs really take."""

    def __init__(self, opened: Opened, budget: Budget, cost: Cost, run_seconds: float, *, gate: int) -> None:
        self.budget = budget
        self.study, self.folder = opened.study, opened.folder
        self.workers = cost.workers
        self.race_workers = 1 if opened.options.devices > 1 else self.workers
        self.rounds = planner(self.study)
        self.default = cost.trial_seconds  # of the epochs of a trial, and of a run, with the default configuration
        self.run = run_seconds
        self.trial = (cost.trial_seconds + cost.slowest_seconds) / 2  # of a full-length trial's epochs, as measured ...
        self.recent: float | None = None  # ... and as the last ones took them
        self.beside = BESIDE_S  # seconds of a trial beside its epochs
        self.before = self.epochs_before = 0  # trials that had begun before this command, epochs before this sweep
        self.sweeping: float | None = None  # when the sweep began
        self.epoch_seconds: dict[int, float | None] = {}  # of trials that have ended, by their numbers
        under_way = race_under_way(opened.folder)
        self.is_racing = under_way is not None  # the promotion has begun, so the sweep is over
        self.has_untested = gate > 0  # the gate could say something that is not known
        self.plan = self._plan(gate) if under_way is None else NO_SWEEP
        self.race = under_way or plan.Race(self.plan.keep, self.plan.seeds)

    def _plan(self, gate: int) -> plan.BudgetPlan:
        costs = plan.Costs(self.trial + self.beside, self.run_seconds, self.budget.report + self.budget.between)
        return plan.plan_budget(
            self.budget.until_end,
            costs,
            workers=self.workers,
            race_workers=self.race_workers,
            rounds=self.rounds,
            gate=gate,
        )

    def planned(self, trials: Sequence[FrozenTrial]) -> StudySpec:
        """The study with the numbers of the plan; its sweep has these trials."""
        self.before = begun(trials)
        trials_wanted = used_up(trials, self.study) + (0 if self.is_racing else self.plan.trials)
        return replace(self.study, trials=trials_wanted, keep=self.race.keep, seeds=self.race.seeds)

    def with_race(self, trials: Sequence[FrozenTrial]) -> StudySpec:
        """The study with the largest race that fits into what its sweep, which has these trials, has left."""
        if not self.is_racing:
            candidates = select(list(trials), replace(self.study, keep=None))
            if self.study.goals:  # what is on a front differs in what it costs
                self._take_epochs([candidate.trial for candidate in candidates if candidate.trial is not None])
            self.race = self._largest_race(self.budget.left, others=len(candidates) - 1)
        return replace(self.study, keep=self.race.keep, seeds=self.race.seeds)

    def _largest_race(self, seconds: float, *, others: int) -> plan.Race:
        """The largest race in so many seconds, of no more than so many configurations and than the gate has found to be
        enough."""
        gate = read_gate(self.folder)
        enough = plan.LARGEST if gate is None or self.study.goals else min(plan.LARGEST, gate.keep)
        return plan.largest_race(
            seconds,
            self.run_seconds,
            workers=self.race_workers,
            rounds=self.rounds,
            most=max(1, min(enough, others)),
        )

    @property
    def race_seconds(self) -> float:
        """What the race is expected to take, at the pace of now."""
        return plan.race_seconds(self.race, self.run_seconds, workers=self.race_workers, rounds=self.rounds)

    @property
    def run_seconds(self) -> float:
        """What a run of the race is expected to take, at the pace of now."""
        slower = 1.0 if self.recent is None else self.recent / self.default
        return self.run * slower + BESIDE * self.beside

    def trials_wanted(self, trials: Sequence[FrozenTrial]) -> int:
        """How many trials the sweep has in all, by the time that its trials take."""
        if self.is_racing:
            return used_up(trials, self.study)
        ended = [trial for trial in trials if trial.number >= self.before and trial.state.is_finished()]
        settled = self._take_pace(ended)
        if self.sweeping is None:
            self._begin_sweep(trials)
        left = self.budget.left - self.budget.between - self.race_seconds
        if self.study.is_ladder:  # then `trials` counts the epochs of full-length ones
            return self._full_length_trials(trials, left)
        trial_seconds = _mean_seconds(settled) or (self.recent or self.trial) + self.beside
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        further = plan.further_trials(left, trial_seconds, workers=self.workers, running=running)
        least = max(0, 2 - begun(trials))  # the default, and one beside it
        return begun(trials) + max(further, least)

    def affords_gate(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether the gate's full runs of these trials, which have ended, fit in at the pace of now."""
        self._take_pace(trials)
        self._take_runs()
        return plan.gate_fits(len(trials), self.run_seconds, self.plan, workers=self.race_workers)

    def _begin_sweep(self, trials: Sequence[FrozenTrial]) -> None:
        """Share what the gate, if any, has left. It may have ended early, and has shown what runs take."""
        self.sweeping, self.epochs_before = time.monotonic(), _epochs(trials)
        if self.plan.gate:
            self._take_runs()
            shared = self.budget.left - self.budget.between
            self.race = self._largest_race(plan.PROMOTION * shared, others=plan.LARGEST)

    def _full_length_trials(self, trials: Sequence[FrozenTrial], left: float) -> int:
        epochs, done = self.study.cheap.epochs, _epochs(trials)
        pace = self.workers * epochs / (self.recent or self.trial)
        if done - self.epochs_before >= epochs and self.sweeping is not None:
            pace = (done - self.epochs_before) / (time.monotonic() - self.sweeping)
        return max(2, plan.full_length_trials(done, pace, left, epochs=epochs))

    def _take_pace(self, ended: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        """What trials take now, by the last ones that have ended. Returns those that did not wait for their workers to
        start."""
        settled = ended[self.workers :][-RECENT:]
        self._take_epochs([trial.number for trial in ended[-RECENT:]])
        self._take_beside(settled)
        return settled

    def _take_epochs(self, numbers: Sequence[int]) -> None:
        """What the epochs of a full-length trial take, by these trials, which have ended."""
        known = [seconds for seconds in map(self._epoch_seconds, numbers) if seconds is not None]
        if known:
            middle = statistics.mean if self.study.goals else statistics.median
            self.recent = middle(known) * self.study.cheap.epochs

    def _take_beside(self, ended: Sequence[FrozenTrial]) -> None:
        """What a trial takes beside its epochs, by trials that have ended."""
        beside = [seconds - trial.user_attrs.get("seconds", 0.0) for trial, seconds in _durations(ended)]
        if beside and not self.study.is_ladder:  # a pause is no work
            self.beside = max(0.0, statistics.median(beside))

    def _take_runs(self) -> None:
        """What a run takes, by those of the gate."""
        runs = stored_trials(self.folder, promotion_name(self.study.name))
        seconds = _mean_seconds([run for run in runs if run.state is TrialState.COMPLETE])
        if seconds is not None:
            self.run *= seconds / self.run_seconds

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
        entrants = max(1, len(stages[-1].entrants))
        recent = [run for run in runs if run.state.is_finished()][-max(RECENT_RUNS, entrants) :]
        return plan.seeds_in_time(
            self.budget.left,
            _mean_seconds(recent) or self.run_seconds,
            entrants=entrants,
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


def scheduled(opened: Opened, budget: Budget, change: Change | None) -> Schedule:
    """The schedule of a study whose preflight has passed, and whose `change` is still to be made. Raises Refused where
    the budget is too short, and NoGo where the default configuration cannot be trained."""
    study, device = opened.study, opened.options.device
    pool = coordinator.executor(opened.workers, opened.on, device=device)
    cost = _kept_cost(opened) or measure_cost(study, opened.workers, device, pool)
    full = full_seconds(study, opened.workers, device, pool)
    for failed in (cost, full):
        if isinstance(failed, Check):
            raise NoGo(f"the cost of {study.name} could not be measured: {failed.seen}")
    assert isinstance(cost, Cost)
    assert isinstance(full, float)
    budget.rivals = rival_seconds(study, opened.folder)
    is_tested = change is None and read_gate(opened.folder) is not None
    gate = MOST if can_be_tested(opened) and not is_tested else 0
    return Schedule(opened, budget, cost, full, gate=gate)


def _kept_cost(opened: Opened) -> Cost | None:
    """What the kept preflight has measured with as many workers; None where it has not."""
    try:
        record = json.loads(opened.folder.preflight.read_text())
        cost = TypeAdapter(Cost).validate_python(record["cost"])
    except (OSError, KeyError, TypeError, ValueError, ValidationError):
        return None
    return cost if cost.workers == opened.workers else None
