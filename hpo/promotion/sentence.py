"""The verdict in words, which claim no more than the intervals allow."""

from __future__ import annotations

from hpo.promotion.candidate import DEFAULT
from hpo.promotion.intervals import Interval
from hpo.promotion.results import Result, Sample
from hpo.promotion.selection import Selection
from hpo.study import StudySpec


def sentence_of(ranked: list[Result], study: StudySpec, selection: Selection, sample: Sample) -> str:
    """The verdict in words, which claim no more than the interval of the lead allows."""
    winner = ranked[0]
    if sample.is_too_small:
        claim = _without_interval(ranked, sample)
    else:
        claim = _default_won(ranked[1:]) if winner.candidate.name == DEFAULT else _candidate_won(winner)
    if sample.speaks_for_one:
        claim = f"For this one {sample.noun} alone: {claim}"
    folds = f" in {sample.folds} folds" if sample.folds > 1 else ""
    ruled = ""
    if sample.clusters and any(result.is_ruled_by_one for result in ranked):
        ruled = f" One {sample.noun} makes up most of the spread: its interval is not to be trusted."
    return f"{claim} ({study.task.goal}, {selection.seeds} seeds x {sample}{folds}, 95 % intervals).{ruled}"


def _without_interval(ranked: list[Result], sample: Sample) -> str:
    """What is claimed where the interval would be too wide to say anything."""
    winner, lead = ranked[0].candidate.name, ranked[0].ahead_of_default
    few = f"{sample.doubt}: test on more of them, or in folds"
    if lead is None:
        return f"{'The default' if winner == DEFAULT else winner} validates best, but {few}"
    return f"{winner} validates best and leads by {lead.mean:.4g} on test, but {few}"


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
