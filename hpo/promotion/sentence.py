"""The verdict in words, which claim no more than the intervals allow."""

from __future__ import annotations

import math

from hpo.formatting import count, interval
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.intervals import Interval
from hpo.promotion.results import Result, Sample, Verdict


def sentence_of(verdict: Verdict) -> str:
    """The verdict in a sentence, with what it rests on."""
    return _sentence(verdict, f"{verdict.goal}, {_grounds(verdict)}")


def claim_of(verdict: Verdict) -> str:
    """The verdict in a sentence, without what it rests on."""
    return _sentence(verdict, verdict.goal)


def _sentence(verdict: Verdict, remark: str) -> str:
    sample, leading = verdict.sample, verdict.leading
    claim = _without_interval(verdict, sample) if sample.is_too_small else _claim(verdict, leading)
    if sample.speaks_for_one:
        claim = f"For this one {sample.noun} alone: {claim}"
    ruled = ""
    if sample.clusters and any(result.is_ruled_by_one for result in verdict.results):
        ruled = f" One {sample.noun} makes up most of the spread: its interval is not to be trusted."
    return f"{claim} ({remark}).{ruled}"


def _grounds(verdict: Verdict) -> str:
    """What the claim rests on."""
    sample = verdict.sample
    compared = verdict.leading or verdict.winning
    seeds = count(len(compared.runs), "seed")
    tested = (
        f"{seeds} x {sample}" if sample.folds == 1 else f"{seeds}, each tested in one of {sample.folds} folds, {sample}"
    )
    look = f" (look {verdict.look})" if verdict.look > 1 else ""
    intervals = f"{100 * verdict.confidence:.4g} % intervals{look}"
    return f"{tested}, {intervals}"


def _claim(verdict: Verdict, leading: Result | None) -> str:
    if leading is None:
        return "The default stands: nothing else could be promoted"
    name, lead = leading.candidate.name, leading.ahead_of_default
    if lead is None:
        return f"{name} won; the default could not be trained"
    if lead.low > 0:
        return f"{name} beats the default by {interval(lead)}"
    if lead.high < 0:
        lag = interval(_shown(lead))
        return f"The default stands: {name}, the best of the others on validation, lags by {lag} on test"
    if lead.low == lead.high == 0:
        doubt = "scores the same on test in every run"
    elif not math.isfinite(lead.high):
        doubt = f"{_moves(lead)}, and so few runs do not show how much training itself varies"
    else:
        doubt = f"{_relation(lead)} {interval(_shown(lead))}, which includes zero"
    if verdict.winner == DEFAULT:
        return f"The default stands: {name} {doubt}"
    return f"A tie: {name} {doubt}; it is exported because a tie was asked to go to the leader"


def _without_interval(verdict: Verdict, sample: Sample) -> str:
    """What is claimed where the interval would be too wide to say anything."""
    few = f"{sample.doubt}: test on more of them, or in folds"
    leading = verdict.leading
    if leading is None:
        return f"The default stands: nothing else could be promoted, and {few}"
    name, lead = leading.candidate.name, leading.ahead_of_default
    if lead is None:
        return f"{name} won; the default could not be trained, and {few}"
    if verdict.winner == DEFAULT:
        return f"The default stands: {name} {_moves(lead)} on test, but {few}"
    return f"{name} is exported, as a tie was asked to go to the leader: it {_moves(lead)} on test, but {few}"


def _moves(lead: Interval) -> str:
    """Whether it leads or lags, and by how much; the interval says nothing."""
    return f"{_relation(lead)} {_shown(lead).mean:z.4g}"


def _relation(lead: Interval) -> str:
    return "leads by" if lead.mean >= 0 else "lags by"


def _shown(lead: Interval) -> Interval:
    """What it leads or lags by, as a positive mean."""
    return lead if lead.mean >= 0 else _of_default(lead)


def _of_default(lead: Interval) -> Interval:
    """The default's lead, where a lead over it is given."""
    return Interval(-lead.mean, -lead.high, -lead.low, lead.confidence)
