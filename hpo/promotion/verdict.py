"""The verdict of a promotion: which candidate won, by how much, and how certain that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hpo.direction import Direction
from hpo.errors import SweepFailed
from hpo.formatting import count
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.promotion.intervals import Interval, crossed_interval, interval_of_runs
from hpo.promotion.runs import FinishedRun, Runs
from hpo.promotion.selection import RunKey, Selection
from hpo.promotion.test_split import Baseline, mean_scores
from hpo.study import StudySpec
from hpo.task import Check
from hpo.trial.record import State

ENOUGH = 5  # independent things, from which on an interval is narrow enough to say something


@dataclass(frozen=True)
class RunResult:
    """One run of a candidate, as the verdict keeps it."""

    number: int  # of its trial in the promotion
    seed_index: int
    state: State
    value: float | None  # the goal on validation; None unless the run is complete
    test: Mapping[str, float]  # scores on the test split
    seconds: float
    reason: str  # why it failed
    chosen: Mapping[str, Any]  # settings that were re-tuned after training, by full name

    @property
    def score(self) -> float:
        """The validation value of a complete run."""
        assert self.value is not None
        return self.value


@dataclass(frozen=True)
class Result:
    """One candidate after all of its runs. What a candidate is ahead of is a difference, positive where it is better.

    Where a run failed there is nothing but the runs.
    """

    candidate: Candidate
    runs: tuple[RunResult, ...]
    full: float | None = None  # the goal on validation at full fidelity, mean over the seeds
    test: Interval | None = None  # the goal on test
    scores: Mapping[str, float] = field(default_factory=dict)  # on test, means over the seeds
    ahead_of_default: Interval | None = None
    ahead_of_baselines: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """What the test split consists of."""

    examples: int
    clusters: int | None  # how many things are independent; None: each example is
    noun: str  # what one of those is called: "photo"
    folds: int = 1

    @property
    def speaks_for_one(self) -> bool:
        """Whether all examples are of one thing: nothing is known about others of its kind."""
        return self.clusters == 1 and self.folds == 1

    @property
    def is_too_small(self) -> bool:
        """Whether there are several independent things, but too few to speak for others of their kind."""
        return self.clusters is not None and 1 < self.clusters < ENOUGH and self.folds == 1

    @property
    def doubt(self) -> str:
        """Why the verdict does not hold for others of its kind; "" where it does."""
        if self.speaks_for_one:
            return f"it was tested on one {self.noun} alone"
        if self.is_too_small:
            return f"{count(self.clusters or 0, self.noun)} cannot speak for others"
        return ""

    def __str__(self) -> str:
        examples = count(self.examples, "test example")
        return examples if self.clusters is None else f"{examples} of {count(self.clusters, self.noun)}"


@dataclass(frozen=True)
class Verdict:
    """The result of a promotion."""

    goal: str
    direction: Direction
    results: tuple[Result, ...]  # best validation score first; candidates with a failed run last
    baselines: tuple[Baseline, ...]
    winner: str  # name of the first candidate
    sentence: str  # the verdict in words
    sample: Sample  # what it rests on
    checks: tuple[Check, ...] = ()  # the task's checks on the winner
    selection: str = ""  # key of the selection that was judged


def judge(study: StudySpec, selection: Selection, runs: Runs, baselines: tuple[Baseline, ...]) -> Verdict:
    """Rank the candidates by their mean validation score, and compare them with the default on the test split.

    Raises SweepFailed where every candidate has a failed run.
    """
    default = _tested(selection.candidates[0], study, selection, runs)
    results = [_result(candidate, study, selection, runs, default, baselines) for candidate in selection.candidates]
    ranked = study.direction.ranked(results, key=lambda result: study.direction.worst_if_none(result.full))
    if ranked[0].full is None:
        reasons = "; ".join(sorted({run.reason for result in results for run in result.runs}))
        raise SweepFailed(f"no configuration could be trained at full fidelity: {reasons}")
    sample = _sample(study, selection, runs)
    return Verdict(
        goal=study.task.goal,
        direction=study.direction,
        results=tuple(ranked),
        baselines=tuple(_with_interval(baseline, study) for baseline in baselines),
        winner=ranked[0].candidate.name,
        sentence=_sentence(ranked, study, selection, sample),
        sample=sample,
        selection=selection.key,
    )


@dataclass(frozen=True)
class _Tested:
    """The goal on the test split: of each run, and its pseudo-values, which are of the same blocks for all runs unless
    each has a fold of its own."""

    totals_S: np.ndarray
    blocks: tuple[tuple[float, ...], ...]  # a run each
    folds: int

    def ahead_of(self, rival: _Tested, direction: Direction) -> Interval:
        """By how much this is better than a rival that was tested on the same examples."""
        lead_S = direction.lead(self.totals_S, rival.totals_S)
        blocks = [
            direction.lead(np.array(own), np.array(its)) for own, its in zip(self.blocks, rival.blocks, strict=True)
        ]
        return _Tested(lead_S, tuple(tuple(lead_U) for lead_U in blocks), self.folds).interval

    @property
    def interval(self) -> Interval:
        """The mean over the runs, with the spread of seeds and test examples."""
        if self.folds > 1:
            return interval_of_runs(self.totals_S)
        return crossed_interval(np.array(self.blocks), centre=float(self.totals_S.mean()))


def _result(
    candidate: Candidate,
    study: StudySpec,
    selection: Selection,
    runs: Runs,
    default: _Tested | None,
    baselines: tuple[Baseline, ...],
) -> Result:
    finished = [runs[RunKey(candidate.key, index)] for index in range(selection.seeds)]
    results = tuple(_run_result(index, run) for index, run in enumerate(finished))
    tested = _tested(candidate, study, selection, runs)
    if tested is None:
        return Result(candidate, results)
    return Result(
        candidate,
        results,
        full=float(np.mean([run.score for run in results])),
        test=tested.interval.within(study.task.bounds.get(study.task.goal)),
        scores=mean_scores([run.outcome.test for run in finished]),
        ahead_of_default=tested.ahead_of(default, study.direction) if default and candidate.name != DEFAULT else None,
        ahead_of_baselines={
            baseline.name: tested.ahead_of(_of_baseline(baseline, study, selection.seeds), study.direction)
            for baseline in baselines
        },
    )


def _run_result(index: int, run: FinishedRun) -> RunResult:
    outcome = run.outcome
    return RunResult(
        number=run.number,
        seed_index=index,
        state=outcome.state,
        value=outcome.value,
        test=dict(outcome.test),
        seconds=outcome.seconds,
        reason=outcome.reason,
        chosen=dict(outcome.chosen),
    )


def _tested(candidate: Candidate, study: StudySpec, selection: Selection, runs: Runs) -> _Tested | None:
    """The goal of a candidate's runs on test; None unless every run is complete."""
    outcomes = [runs[RunKey(candidate.key, index)].outcome for index in range(selection.seeds)]
    if any(outcome.state != "complete" for outcome in outcomes):
        return None
    goal = study.task.goal
    return _Tested(
        totals_S=np.array([outcome.test[goal] for outcome in outcomes]),
        blocks=tuple(outcome.blocks[goal] for outcome in outcomes),
        folds=study.task.folds,
    )


def _of_baseline(baseline: Baseline, study: StudySpec, seeds: int) -> _Tested:
    """The goal of a baseline, once for each run, on the test split of that run."""
    goal, folds = study.task.goal, study.task.folds
    scores = [baseline.folds[run % folds] for run in range(seeds)]
    return _Tested(
        totals_S=np.array([score.scores[goal] for score in scores]),
        blocks=tuple(score.blocks[goal] for score in scores),
        folds=folds,
    )


def _with_interval(baseline: Baseline, study: StudySpec) -> Baseline:
    interval = _of_baseline(baseline, study, study.task.folds).interval
    return replace(baseline, interval=interval.within(study.task.bounds.get(study.task.goal)))


def _sample(study: StudySpec, selection: Selection, runs: Runs) -> Sample:
    """The test split, as the runs have counted it."""
    outcomes = [runs[RunKey(candidate.key, 0)].outcome for candidate in selection.candidates]
    counted = next(outcome for outcome in outcomes if outcome.state == "complete")
    noun = study.task.cluster.partition("_")[0] if study.task.cluster else "example"
    return Sample(counted.examples, counted.clusters, noun, study.task.folds)


def _sentence(ranked: list[Result], study: StudySpec, selection: Selection, sample: Sample) -> str:
    """The verdict in words, which claim no more than the interval of the lead allows."""
    winner = ranked[0]
    if sample.is_too_small:
        claim = _without_interval(ranked, sample)
    else:
        claim = _default_won(ranked[1:]) if winner.candidate.name == DEFAULT else _candidate_won(winner)
    if sample.speaks_for_one:
        claim = f"For this one {sample.noun} alone: {claim}"
    folds = f" in {sample.folds} folds" if sample.folds > 1 else ""
    return f"{claim} ({study.task.goal}, {selection.seeds} seeds x {sample}{folds}, 95 % intervals)."


def _without_interval(ranked: list[Result], sample: Sample) -> str:
    """What is claimed where the interval would be too wide to say anything."""
    winner = ranked[0]
    few = f"{sample.doubt}: test on more of them, or in folds"
    if winner.ahead_of_default is None:
        return f"{winner.candidate.name} validates best, but {few}"
    return f"{winner.candidate.name} validates best and leads by {winner.ahead_of_default.mean:.4g} on test, but {few}"


def _candidate_won(winner: Result) -> str:
    name, ahead = winner.candidate.name, winner.ahead_of_default
    if ahead is None:
        return f"{name} won; the default could not be trained"
    if not ahead.excludes_zero:
        return f"A tie: {name} validates best, but its lead on test, {ahead}, includes zero"
    if ahead.mean < 0:
        return f"The default is better: {name} validates best, but its lead on test is negative, {ahead}"
    return f"{name} beats the default by {ahead}"


def _default_won(others: list[Result]) -> str:
    """`others` are the other candidates, best validation score first."""
    rival = next((result for result in others if result.ahead_of_default), None)
    if rival is None or rival.ahead_of_default is None:
        return "The default configuration won: nothing else could be promoted"
    name, behind = rival.candidate.name, rival.ahead_of_default
    lead = Interval(-behind.mean, -behind.high, -behind.low)  # of the default
    if not lead.excludes_zero:
        return f"A tie: the default validates best, but its lead over {name} on test, {lead}, includes zero"
    if lead.mean < 0:
        return f"{name} is better on test by {behind}, but the default validates best, and validation chooses"
    return f"The default configuration won: {name}, which validates next best, lags by {lead}"
