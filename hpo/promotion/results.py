"""What a promotion comes to, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.contract.costs import over_limits
from hpo.direction import Direction
from hpo.formatting import count
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.promotion.intervals import CONFIDENCE, Interval
from hpo.promotion.more import LeastLead, Needed
from hpo.promotion.race import Round
from hpo.promotion.test_split import Baseline
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
    """One candidate after its last run. What a candidate is ahead of is a difference, positive where it is better.

    Where a run failed there is nothing but the runs.
    """

    candidate: Candidate
    runs: tuple[RunResult, ...]  # as many as it came through rounds of the race
    full: float | None = None  # the goal on validation at full fidelity, mean over the runs
    test: Interval | None = None  # the goal on test; of a finalist in the runs that chose nothing
    scores: Mapping[str, float] = field(default_factory=dict)  # on test, means over the same runs
    ahead_of_default: Interval | None = None
    ahead_of_baselines: Mapping[str, Interval] = field(default_factory=dict)
    is_ruled_by_one: bool = False  # one block of examples makes up most of the spread of the lead over the default
    costs: Mapping[str, Interval | None] = field(default_factory=dict)  # as far as the study asks; None: unbounded

    def over(self, limits: Mapping[str, float]) -> dict[str, float]:
        """Its costs that are above their limits, in the mean over its runs."""
        return over_limits(limits, {name: cost.mean for name, cost in self.costs.items() if cost is not None})


@dataclass(frozen=True)
class Sample:
    """What the test split consists of."""

    examples: int
    clusters: int | None  # how many things are independent; None: each example is
    noun: str  # what one of those is called: "photo"
    folds: int = 1

    @property
    def units(self) -> int:
        """How many things the blocks of an interval are made of: clusters; examples where all are of one cluster."""
        return self.examples if self.clusters in (None, 1) else self.clusters

    @property
    def unit_noun(self) -> str:
        """What one of those things is called."""
        return "test example" if self.clusters in (None, 1) else self.noun

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
    results: tuple[Result, ...]  # the winner first, then who came furthest; candidates with a failed run last
    baselines: tuple[Baseline, ...]
    winner: str  # name of the candidate that is exported
    sentence: str  # the verdict in words, with what it rests on
    sample: Sample  # what it rests on
    checks: tuple[Check, ...] = ()  # the task's checks on the winner
    selection: str = ""  # key of the selection that was judged
    leader: str | None = None  # name of the best candidate beside the default, at the end of the race
    rounds: tuple[Round, ...] = ()  # of the race; none in verdicts of older versions
    look: int = 1  # which verdict on this test split it is
    confidence: float = CONFIDENCE  # of its intervals
    noise: float | None = None  # standard deviation of a run's test score that its training seed makes
    claim: str = ""  # the sentence without what it rests on; "" in verdicts of older versions
    needed: Needed | None = None  # to decide the leader's lead at the next look; None where that is not known
    least_leads: tuple[LeastLead, ...] = ()  # that more seeds would show at the next look
    limits: Mapping[str, float] = field(default_factory=dict)  # what a configuration may cost
    goals: tuple[str, ...] = ()  # of a study with several: the task's goal and some costs
    front: tuple[str, ...] = ()  # names of the candidates that no other one dominates, the best in the goal first

    @property
    def winning(self) -> Result:
        """The result of the winner."""
        return self.results[0]

    @property
    def leading(self) -> Result | None:
        """The result of the leader; None where every candidate beside the default has failed."""
        return next((result for result in self.results if result.candidate.name == self.leader), None)

    @property
    def default(self) -> Result | None:
        """The result of the default; None where it was not promoted."""
        return next((result for result in self.results if result.candidate.name == DEFAULT), None)

    def roles(self, name: str) -> tuple[str, ...]:
        """What became of a candidate: whether it leads, and whether it was exported."""
        roles = {"leader": self.leader, "exported": self.winner}
        on_front = ("on the front",) if name in self.front else ()
        return (*on_front, *(role for role, holder in roles.items() if holder == name))

    def title(self, name: str) -> str:
        """The name of a candidate with what became of it: "trial 3 (leader)"."""
        roles = self.roles(name)
        return f"{name} ({', '.join(roles)})" if roles else name

    @property
    def costs(self) -> tuple[str, ...]:
        """The names of the costs that were measured."""
        return tuple(dict.fromkeys(name for result in self.results for name in result.costs))

    @property
    def has_no_winner(self) -> bool:
        """Whether there are several goals, and more than one candidate that no other one dominates."""
        return len(self.front) > 1

    @property
    def is_default_over(self) -> bool:
        """Whether the default is over a limit, and so cannot be the winner."""
        return self.default is not None and bool(self.default.over(self.limits))

    @property
    def is_open(self) -> bool:
        """Whether the leader is ahead of the default, and it is not sure that it is better."""
        leading, default = self.leading, self.default
        if leading is None or default is None or default.full is None:
            return False
        lead = leading.ahead_of_default
        if lead is None:  # so it is read from a file where the interval was unbounded
            return True
        return lead.mean > 0 and (not lead.excludes_zero or self.sample.is_too_small)

    @property
    def no_go(self) -> tuple[str, ...]:
        """The names of the task's checks that say no-go."""
        return tuple(check.name for check in self.checks if check.status == "no-go")

    @property
    def runs(self) -> int:
        """How many runs it rests on."""
        return sum(len(result.runs) for result in self.results)
