"""The verdict as one would say it. It claims no more than the intervals allow.

Terminal, report, `hpo status` and the ledger show these sentences as verdict.json keeps them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hpo.contract.costs import UNITS
from hpo.direction import Direction
from hpo.formatting import count, finite, interval_in_words, is_bounded, listed, number, numerals, sentence, unit
from hpo.promotion import front
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.front import candidate_in_words, cost_in_words
from hpo.promotion.intervals import Interval
from hpo.promotion.results import Result, Sample, Verdict

Bounds = tuple[float, float]  # what a score cannot leave

KEEP = "Nothing found better than the default; keep it."


@dataclass(frozen=True)
class Measure:
    """What leads are said in: their numbers times a factor, with a unit."""

    factor: float = 1.0
    unit: str = ""
    most: float = math.inf  # that anything can be better by: an error falls by no more than 100 %

    def difference(self, lead: Interval) -> str:
        """By how much, with the range: "0.6 % (0.2 to 1.0)"."""
        return interval_in_words(self._of(lead), self.unit)

    def between(self, lead: Interval) -> str:
        """A range that zero lies in: "between 0.2 % worse and 0.4 % better"."""
        shown = numerals(self._of(lead), in_words=True)
        worse, better = shown.low.removeprefix("-"), shown.high
        return f"between {self._with_unit(worse)} worse and {self._with_unit(better)} better"

    def amount(self, value: float) -> str:
        """A difference alone, without its sign."""
        return self._with_unit(number(abs(value) * self.factor, 2))

    def _of(self, lead: Interval) -> Interval:
        return lead.times(self.factor).within((-math.inf, self.most))

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.unit}".rstrip()


def worded(verdict: Verdict, bounds: Bounds | None = None) -> Verdict:
    """The verdict with its sentences: `claim` says what came out, and `sentence` also what it rests on.

    `bounds` is what the goal cannot leave. Where that is 0 to 1, leads are percentage points; where 0 is the least,
    they are percent of the default's test score; else they have the unit of the goal.
    """
    claim = " ".join([_claim_about_sample(verdict, _measure(verdict, bounds)), *_costs(verdict)])
    return replace(verdict, claim=claim, sentence=f"{claim} Tested on {verdict.goal}: {_grounds(verdict)}.")


def with_failed_checks(verdict: Verdict) -> Verdict:
    """The verdict with a word about the checks that say no-go; the same where there is none."""
    if not verdict.no_go:
        return verdict
    remark = f"Task checks are not passed: {listed(verdict.no_go)}."
    return replace(verdict, claim=f"{verdict.claim} {remark}", sentence=f"{verdict.sentence} {remark}")


def _measure(verdict: Verdict, bounds: Bounds | None) -> Measure:
    if bounds == (0, 1):
        return Measure(100, "percentage points")
    level = finite(verdict.default.test.mean) if verdict.default and verdict.default.test else None
    if bounds is not None and bounds[0] == 0 and level is not None and level > 0:
        return Measure(100 / level, "%", most=100 if verdict.direction is Direction.MINIMIZE else math.inf)
    return Measure(unit=unit(verdict.goal))


def _grounds(verdict: Verdict) -> str:
    """What the claim rests on."""
    sample = verdict.sample
    compared = verdict.leading or verdict.winning
    seeds = count(len(compared.runs), "seed")
    tested = (
        f"{seeds} x {sample}" if sample.folds == 1 else f"{seeds}, each tested in one of {sample.folds} folds, {sample}"
    )
    look = f" (look {verdict.look})" if verdict.look > 1 else ""
    return f"{tested}, {100 * verdict.confidence:.4g} % intervals{look}"


def _claim_about_sample(verdict: Verdict, measure: Measure) -> str:
    """The claim, and why it may not hold for other things than those tested on."""
    sample = verdict.sample
    if verdict.goals:
        claim = front.claim(verdict)
    elif sample.is_too_small:
        claim = _of_few(verdict, sample, measure)
    else:
        claim = _claim(verdict, measure)
    if sample.speaks_for_one:
        claim = f"For this one {sample.noun} alone: {claim}"
    if sample.clusters and any(result.is_ruled_by_one for result in verdict.results):
        claim += f" One {sample.noun} makes up most of the spread: its interval is not to be trusted."
    return claim


def _costs(verdict: Verdict) -> list[str]:
    """What the winner costs, with the limits, in a sentence; none where nothing was measured."""
    winner, limits = verdict.winning, verdict.limits
    names = limits if verdict.goals else winner.costs  # the claim says those that are goals
    costs = [cost_in_words(name, winner.costs.get(name), limits) for name in names]
    return [f"{sentence(candidate_in_words(winner.candidate.name))} costs {listed(costs)}."] if costs else []


def _within_limits(verdict: Verdict, leading: Result, default: Result, measure: Measure) -> str:
    """What is claimed of the leader where the default is over a limit."""
    over = default.over(verdict.limits)
    excess = [f"{number(cost)} {UNITS[name]} (limit {number(verdict.limits[name])})" for name, cost in over.items()]
    lead = leading.ahead_of_default
    assert lead is not None
    name = _name(leading)
    relation = f"is better by {measure.difference(lead)}" if lead.low > 0 else _beside_default(lead, leading, measure)
    return f"{name} is the best within the limits. The default is over them, with {listed(excess)}. {name} {relation}."


def _claim(verdict: Verdict, measure: Measure) -> str:
    leading = verdict.leading
    if leading is None:
        return f"{KEEP} No other configuration could be trained."
    name, lead = _name(leading), leading.ahead_of_default
    if lead is None:
        return f"{name} won: the default could not be trained."
    if verdict.is_default_over and verdict.default is not None:
        return _within_limits(verdict, leading, verdict.default, measure)
    if lead.low > 0:
        return f"{name} is better by {measure.difference(lead)}."
    if verdict.winner == DEFAULT:
        return f"{KEEP} {name} {_beside_default(lead, leading, measure)}."
    return (
        f"Nothing found surely better than the default. {name} is exported, as a tie was asked to go to the leader: it "
        f"{_beside_default(lead, leading, measure)}."
    )


def _beside_default(lead: Interval, leading: Result, measure: Measure) -> str:
    """How the leader compares with the default, where it is not surely better."""
    if not is_bounded(lead):
        runs = count(len(leading.runs), "run")
        return f"is {_relation(lead, measure)} in {runs}, too few to show how much training itself varies"
    if lead.low == lead.high == 0:
        return "scores the same on test in every run"
    if lead.high < 0:
        return f"is worse by {measure.difference(_lag(lead))}"
    return f"is {measure.between(lead)}"


def _of_few(verdict: Verdict, sample: Sample, measure: Measure) -> str:
    """What is claimed where the interval would be too wide to say anything."""
    few = f"{sentence(sample.doubt)}: test on more of them, or in folds."
    leading = verdict.leading
    if leading is None:
        return f"{KEEP} No other configuration could be trained, and {sample.doubt}: test on more of them, or in folds."
    name, lead = _name(leading), leading.ahead_of_default
    if lead is None:
        return f"{name} won: the default could not be trained. {few}"
    relation = f"{_relation(lead, measure)} on test"
    if verdict.winner == DEFAULT:
        return f"{KEEP} {name} is {relation}. {few}"
    return f"{name} is exported, as a tie was asked to go to the leader: it is {relation}. {few}"


def _name(result: Result) -> str:
    return sentence(result.candidate.name)


def _relation(lead: Interval, measure: Measure) -> str:
    """Whether it is ahead or behind, and by how much; the interval says nothing."""
    if lead.mean == 0:
        return "level with the default"
    return f"{'ahead' if lead.mean > 0 else 'behind'} by {measure.amount(lead.mean)}"


def _lag(lead: Interval) -> Interval:
    """By how much the default is better."""
    return replace(lead, mean=-lead.mean, low=-lead.high, high=-lead.low)
