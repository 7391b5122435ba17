"""The verdict of a promotion: which candidate won, by how much, and how certain that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo.direction import Direction
from hpo.errors import SweepFailed
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.promotion.intervals import Interval, crossed_interval
from hpo.promotion.runs import FinishedRun, Runs
from hpo.promotion.selection import RunKey, Selection
from hpo.promotion.test_split import Baseline
from hpo.study import StudySpec
from hpo.task import Check
from hpo.trial.record import State


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
class Verdict:
    """The result of a promotion."""

    goal: str
    direction: Direction
    results: tuple[Result, ...]  # best validation score first; candidates with a failed run last
    baselines: tuple[Baseline, ...]
    winner: str  # name of the first candidate
    sentence: str  # the verdict in words
    checks: tuple[Check, ...] = ()  # the task's checks on the winner
    selection: str = ""  # key of the selection that was judged


def judge(study: StudySpec, selection: Selection, runs: Runs, baselines: tuple[Baseline, ...]) -> Verdict:
    """Rank the candidates by their mean validation score, and compare them with the default on the test split.

    Raises SweepFailed where every candidate has a failed run.
    """
    default_SU = _units(selection.candidates[0], selection, runs)
    results = [
        _result(candidate, selection, runs, default_SU, baselines, study.direction)
        for candidate in selection.candidates
    ]
    ranked = study.direction.ranked(results, key=lambda result: study.direction.worst_if_none(result.full))
    if ranked[0].full is None:
        reasons = "; ".join(sorted({run.reason for result in results for run in result.runs}))
        raise SweepFailed(f"no configuration could be trained at full fidelity: {reasons}")
    return Verdict(
        goal=study.task.goal,
        direction=study.direction,
        results=tuple(ranked),
        baselines=baselines,
        winner=ranked[0].candidate.name,
        sentence=_sentence(ranked, study, selection),
        selection=selection.key,
    )


def _result(
    candidate: Candidate,
    selection: Selection,
    runs: Runs,
    default_SU: np.ndarray | None,
    baselines: tuple[Baseline, ...],
    direction: Direction,
) -> Result:
    finished = [runs[RunKey(candidate.key, index)] for index in range(selection.seeds)]
    results = tuple(_run_result(index, run) for index, run in enumerate(finished))
    units_SU = _units(candidate, selection, runs)
    if units_SU is None:
        return Result(candidate, results)
    is_default = default_SU is None or candidate.name == DEFAULT
    return Result(
        candidate,
        results,
        full=float(np.mean([run.score for run in results])),
        test=crossed_interval(units_SU),
        scores=_mean_scores([run.outcome.test for run in finished]),
        ahead_of_default=None if is_default else crossed_interval(direction.lead(units_SU, default_SU)),
        ahead_of_baselines={
            baseline.name: crossed_interval(direction.lead(units_SU, np.array(baseline.units)))
            for baseline in baselines
        },
    )


def _mean_scores(tests: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The scores that every run has, as means over the seeds."""
    shared = [name for name in tests[0] if all(name in test for test in tests)]
    return {name: float(np.mean([test[name] for test in tests])) for name in shared}


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


def _units(candidate: Candidate, selection: Selection, runs: Runs) -> np.ndarray | None:
    """The goal on test, [seeds, units]; None unless every run is complete."""
    outcomes = [runs[RunKey(candidate.key, index)].outcome for index in range(selection.seeds)]
    if any(outcome.state != "complete" for outcome in outcomes):
        return None
    return np.array([outcome.units for outcome in outcomes])


def _sentence(ranked: list[Result], study: StudySpec, selection: Selection) -> str:
    """The verdict in words, which claim no more than the interval of the lead allows."""
    winner = ranked[0]
    claim = _default_won(ranked[1:]) if winner.candidate.name == DEFAULT else _candidate_won(winner)
    tests = study.full.examples("test")
    return f"{claim} ({study.task.goal}, {selection.seeds} seeds x {tests} test examples, 95 % intervals)."


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
