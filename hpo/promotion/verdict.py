"""Which configuration won, by how much, and how sure that is."""

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
    value: float | None  # on validation
    test: Mapping[str, float]
    seconds: float
    reason: str
    chosen: Mapping[str, Any]  # settings that were re-tuned after training

    @property
    def score(self) -> float:
        """The validation value of a run that is known to have one."""
        assert self.value is not None
        return self.value


@dataclass(frozen=True)
class Result:
    """One candidate after all of its runs. Differences are positive where the candidate is better."""

    candidate: Candidate
    runs: tuple[RunResult, ...]
    full: float | None = None  # mean validation score; None where a run failed
    test: Interval | None = None
    scores: Mapping[str, float] = field(default_factory=dict)  # means over the seeds, on test
    ahead_of_default: Interval | None = None
    ahead_of_baselines: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What the promotion found."""

    goal: str
    direction: Direction
    results: tuple[Result, ...]  # best validation score first
    baselines: tuple[Baseline, ...]
    winner: str
    sentence: str
    checks: tuple[Check, ...] = ()
    selection: str = ""  # key of the selection that was judged


def judge(study: StudySpec, selection: Selection, runs: Runs, baselines: tuple[Baseline, ...]) -> Verdict:
    """Rank the candidates by their mean validation score; compare the winner with the default on the test split.

    Raises SweepFailed where every candidate has a run that failed.
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
    """The means over the seeds of the scores that every run has."""
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
    """[seeds, units] of the goal on test; None unless every run was completed."""
    outcomes = [runs[RunKey(candidate.key, index)].outcome for index in range(selection.seeds)]
    if any(outcome.state != "complete" for outcome in outcomes):
        return None
    return np.array([outcome.units for outcome in outcomes])


def _sentence(ranked: list[Result], study: StudySpec, selection: Selection) -> str:
    winner = ranked[0]
    tests = study.full.examples("test")
    where = f"{study.task.goal}, {selection.seeds} seeds x {tests} test examples, 95 % intervals"
    if winner.candidate.name == DEFAULT:
        return f"{_default_won(ranked[1:])} ({where})."
    ahead = winner.ahead_of_default
    if ahead is None:
        return f"{winner.candidate.name} won; the default could not be trained ({where})."
    if not ahead.excludes_zero:
        return f"A tie: {winner.candidate.name} validates best, but its lead on test, {ahead}, includes zero ({where})."
    if ahead.mean < 0:
        return f"The default is better: {winner.candidate.name} validates best, but leads on test by {ahead} ({where})."
    return f"{winner.candidate.name} beats the default by {ahead} ({where})."


def _default_won(others: list[Result]) -> str:
    compared = [(other.candidate.name, other.ahead_of_default) for other in others if other.ahead_of_default]
    if not compared:
        return "The default configuration won: nothing else could be promoted"
    name, ahead = compared[0]
    lead = Interval(-ahead.mean, -ahead.high, -ahead.low)
    if not lead.excludes_zero:
        return f"A tie: the default validates best, but its lead over {name} on test, {lead}, includes zero"
    if lead.mean < 0:
        return f"{name} is better on test by {ahead}, but the default validates best, and validation chooses"
    return f"The default configuration won: {name}, which validates next best, lags by {lead}"
