"""Which configuration won, by how much, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo.errors import SweepFailed
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.promotion.intervals import Interval, crossed_interval
from hpo.promotion.selection import Selection
from hpo.promotion.test_split import Baseline
from hpo.study import StudySpec
from hpo.task import Check
from hpo.trial.record import Outcome

Outcomes = Mapping[tuple[str, int], tuple[int, Outcome]]  # (candidate key, seed index) -> (trial number, outcome)


@dataclass(frozen=True)
class Result:
    """One candidate after all of its runs. Differences are positive where the candidate is better."""

    candidate: Candidate
    runs: tuple[Mapping[str, Any], ...]  # number, seed_index, state, value (validation), test, seconds, reason
    full: float | None = None  # mean validation score; None where a run failed
    test: Interval | None = None
    scores: Mapping[str, float] = field(default_factory=dict)  # means over the seeds, on test
    ahead_of_default: Interval | None = None
    ahead_of_baselines: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What the promotion found."""

    goal: str
    direction: str
    results: tuple[Result, ...]  # best validation score first
    baselines: tuple[Baseline, ...]
    winner: str
    sentence: str
    checks: tuple[Check, ...] = ()
    selection: str = ""  # key of the selection that was judged


def judge(
    study: StudySpec,
    selection: Selection,
    outcomes: Outcomes,
    baselines: tuple[Baseline, ...],
) -> Verdict:
    """Rank the candidates by their mean validation score; compare the winner with the default on the test split."""
    sign = -1 if study.task.direction == "minimize" else 1
    default_SU = _units(selection.candidates[0], selection, outcomes)
    results = [
        _result(candidate, selection, outcomes, default_SU, baselines, sign) for candidate in selection.candidates
    ]
    ranked = sorted(results, key=lambda r: -math.inf if r.full is None else sign * r.full, reverse=True)
    if ranked[0].full is None:
        reasons = "; ".join(sorted({run["reason"] for result in results for run in result.runs}))
        raise SweepFailed(f"no configuration could be trained at full fidelity: {reasons}")
    return Verdict(
        study.task.goal,
        study.task.direction,
        tuple(ranked),
        baselines,
        ranked[0].candidate.name,
        _sentence(ranked, study, selection),
        selection=selection.key,
    )


def _result(
    candidate: Candidate,
    selection: Selection,
    outcomes: Outcomes,
    default_SU: np.ndarray | None,
    baselines: tuple[Baseline, ...],
    sign: int,
) -> Result:
    runs = tuple(_run_record(index, *outcomes[candidate.key, index]) for index in range(selection.seeds))
    units_SU = _units(candidate, selection, outcomes)
    if units_SU is None:
        return Result(candidate, runs)
    of_baselines = {one.name: crossed_interval(sign * (units_SU - np.array(one.units))) for one in baselines}
    tests = [outcomes[candidate.key, index][1].test for index in range(selection.seeds)]
    return Result(
        candidate,
        runs,
        full=float(np.mean([run["value"] for run in runs])),
        test=crossed_interval(units_SU),
        scores={
            name: float(np.mean([test[name] for test in tests]))
            for name in tests[0]
            if all(name in test for test in tests)
        },
        ahead_of_default=None
        if default_SU is None or candidate.name == DEFAULT
        else crossed_interval(sign * (units_SU - default_SU)),
        ahead_of_baselines=of_baselines,
    )


def _run_record(index: int, number: int, outcome: Outcome) -> dict[str, Any]:
    return {
        "number": number,
        "seed_index": index,
        "state": outcome.state,
        "value": outcome.value,
        "test": dict(outcome.test),
        "seconds": outcome.seconds,
        "reason": outcome.reason,
        "chosen": dict(outcome.chosen),
    }


def _units(candidate: Candidate, selection: Selection, outcomes: Outcomes) -> np.ndarray | None:
    """[seeds, units] of the goal on test; None unless every run was completed."""
    found = [outcomes[candidate.key, index][1] for index in range(selection.seeds)]
    return np.array([one.units for one in found]) if all(one.state == "complete" for one in found) else None


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
