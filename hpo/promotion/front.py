"""Several goals at the end of a promotion: which candidates no other one dominates, and what is said of them.

Validation chooses the front, as it chooses the leader of a race; the test split shows each goal with its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hpo.contract.costs import UNITS
from hpo.direction import front
from hpo.formatting import count, interval_in_words, is_bounded, label, listed, number, sentence
from hpo.promotion.candidate import DEFAULT, Tie
from hpo.promotion.intervals import Interval

if TYPE_CHECKING:
    from hpo.promotion.results import Result, Verdict
    from hpo.study import StudySpec


def front_of(results: Sequence[Result], study: StudySpec) -> list[Result]:
    """The results that no other one dominates, in means over the runs, the best in the task's goal first."""
    complete = [result for result in results if result.full is not None]
    on_front = front(complete, key=lambda result: study.point(result.full or 0.0, _means(result.costs)))
    return study.direction.ranked(on_front, key=lambda result: result.full)


def winner_of(on_front: Sequence[Result], default: Result | None, tie: Tie) -> Result:
    """The result that is exported.

    One that dominates all others wins where it is surely better than the default in a goal, and surely worse in none.
    Of several the default is exported, where it is on the front, or else the best in the task's goal.
    """
    best = next((result for result in on_front if result.candidate.name != DEFAULT), on_front[0])
    if default is None or tie == "leader":
        return best
    if len(on_front) > 1:
        return default if default in on_front else on_front[0]
    return best if _is_surely_better(best, default) else default


def _is_surely_better(result: Result, default: Result) -> bool:
    """Whether it is surely better than the default in a goal, and surely worse in none."""
    lead = result.ahead_of_default
    if lead is None or not is_bounded(lead) or lead.high < 0:
        return False
    pairs = [(cost, default.costs.get(name)) for name, cost in result.costs.items()]
    cheaper = [cost.high < theirs.low for cost, theirs in pairs if cost is not None and theirs is not None]
    return lead.low > 0 or any(cheaper)


def claim(verdict: Verdict) -> str:
    """What came out of several goals, in sentences."""
    goals = listed([label(verdict.goal), *(UNITS[name] for name in verdict.goals[1:])])
    on_front = [result for name in verdict.front for result in verdict.results if result.candidate.name == name]
    described = "; ".join(_described(result, verdict) for result in on_front)
    if verdict.has_no_winner:
        several = f"{count(len(on_front), 'configuration')} of {len(verdict.results)}"
        exported = f"{sentence(candidate_in_words(verdict.winner))} is exported."
        return (
            f"No single winner: {several} are on the front of {goals}, where none dominates another. "
            f"{sentence(described)}. {exported}"
        )
    name = verdict.front[0]
    if name == DEFAULT:
        return f"Nothing found that the default does not dominate in {goals}; keep it. {sentence(described)}."
    if verdict.winner == name:
        return f"{sentence(name)} dominates all others in {goals}. {sentence(described)}."
    return f"Nothing found surely better than the default in {goals}; keep it. {sentence(described)}."


def _described(result: Result, verdict: Verdict) -> str:
    """A candidate with its value in each goal: "trial 3: error 0.1 (0.09 to 0.12), 97 parameters"."""
    value = interval_in_words(result.test, "") if result.test is not None else number(result.full)
    costs = [cost_in_words(name, result.costs.get(name)) for name in verdict.goals[1:]]
    return f"{candidate_in_words(result.candidate.name)}: {', '.join([f'{label(verdict.goal)} {value}', *costs])}"


def candidate_in_words(name: str) -> str:
    """The name of a candidate in a sentence."""
    return "the default" if name == DEFAULT else name


def cost_in_words(name: str, cost: Interval | None, limits: Mapping[str, float] | None = None) -> str:
    """A cost with its range and its limit: "3.1 milliseconds (3 to 3.3; limit 5)"."""
    if cost is None:
        return f"unknown {UNITS[name]}"
    is_exact = cost.low == cost.high
    mean = number(cost.mean) if is_exact else number(cost.mean, 3)
    span = [] if is_exact or not is_bounded(cost) else [f"{number(cost.low, 3)} to {number(cost.high, 3)}"]
    limit = [f"limit {number(limits[name])}"] if limits and name in limits else []
    remarks = "; ".join([*span, *limit])
    return f"{mean} {UNITS[name]}{f' ({remarks})' if remarks else ''}"


def _means(costs: Mapping[str, Interval | None]) -> dict[str, float]:
    return {name: cost.mean for name, cost in costs.items() if cost is not None}
