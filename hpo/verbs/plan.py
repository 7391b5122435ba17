"""How a budget of time is spent: two thirds on the sweep, a third on the promotion. Nothing here reads a clock.

Measured by replay of learning curves: a promotion of many configurations does not pay below 8 full trainings, and a
race of 5 to 8 configurations is enough for any budget. Where the full runs of the gate take at most a fifth, they come
first, and the rest is shared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.errors import Refused
from hpo.formatting import duration
from hpo.promotion.gate import FIRST, WORTH
from hpo.promotion.race import RoundsOf, rounds_of

PROMOTION = 1 / 3  # of the budget
MOST = 1 / 2  # of the budget: what the smallest promotion may take
LARGEST = 8  # configurations that start a race beside the default
SEEDS = 2  # runs of each in the last round, at least
MOST_SEEDS = 8  # that are planned for the last round
LONGER = 1.5  # times as long as planned may the gate take
SLACK = 0.02  # of the budget: so much later a last round may end than it should


@dataclass(frozen=True)
class Costs:
    """What things take, in seconds, where all workers are busy."""

    trial: float  # of the sweep, on average
    run: float  # of the promotion
    report: float  # everything after the last run


@dataclass(frozen=True)
class BudgetPlan:
    """A gate, a sweep and a race that end in time."""

    trials: int  # that the sweep begins, beside those that it has
    keep: int  # configurations that start the race beside the default
    seeds: int  # runs of each in the last round
    sweep_seconds: float
    promotion_seconds: float
    gate: int = 0  # configurations that the gate may try; 0: there is no gate
    gate_seconds: float = 0.0  # of its full runs; its cheap trials are the sweep's


@dataclass(frozen=True)
class Race:
    """The size of a race."""

    keep: int
    seeds: int


SMALLEST = Race(1, SEEDS)


def plan_budget(
    seconds: float,
    costs: Costs,
    *,
    workers: int,
    race_workers: int,
    rounds: RoundsOf = rounds_of,
    gate: int = 0,
) -> BudgetPlan:
    """Plan so many seconds: the largest race that fits into a third of them, and the sweep in the rest.

    The smallest race, two seeds of the sweep's best and of the default, may take half. `gate` is how many
    configurations the gate may try where there is time; 0 where there is nothing to test. Raises Refused where not
    even the smallest race fits.
    """
    usable = seconds - costs.report
    tested = gate_size(usable, costs.run, workers=race_workers, most=gate)
    testing = gate_seconds(tested, costs.run, workers=race_workers)
    shared = usable - testing

    race = largest_race(PROMOTION * shared, costs.run, workers=race_workers, rounds=rounds)
    promotion = race_seconds(race, costs.run, workers=race_workers, rounds=rounds)
    if promotion > MOST * shared:
        raise Refused(
            f"the budget is too short: the smallest promotion takes about {duration(promotion)}, and "
            f"{duration(max(0.0, usable))} are left for it and for the sweep; give at least "
            f"{duration(promotion / MOST + costs.report)} more than the preflight takes, or make `full` cheaper"
        )
    sweep = shared - promotion
    trials = max(2, further_trials(sweep, costs.trial, workers=workers))
    return BudgetPlan(trials, race.keep, race.seeds, sweep, promotion, tested, testing)


def gate_size(seconds: float, run: float, *, workers: int, most: int) -> int:
    """How many configurations the gate may try, so that their full runs take at most a fifth of so many seconds.

    0 where that is fewer than it needs to decide anything.
    """
    affordable = min(most, math.floor(WORTH * seconds / run) * workers)
    return affordable if affordable >= FIRST else 0


def gate_seconds(configurations: int, run: float, *, workers: int) -> float:
    """How long the gate's full runs of so many configurations take. Its cheap trials are the sweep's."""
    return run * math.ceil(configurations / workers)


def gate_fits(configurations: int, run: float, plan: BudgetPlan, *, workers: int) -> bool:
    """Whether the gate may train so many configurations fully, now that runs take so long: not quite as long as planned
    is no harm, much longer is."""
    total = plan.gate_seconds + plan.sweep_seconds + plan.promotion_seconds
    return gate_seconds(configurations, run, workers=workers) <= LONGER * WORTH * total


def races(most: int = LARGEST) -> Sequence[Race]:
    """The races that are planned for at most so many configurations, from the shortest to the longest."""
    by_size = [Race(keep, SEEDS) for keep in range(1, most + 1)]
    by_seeds = [Race(most, seeds) for seeds in range(SEEDS + 1, MOST_SEEDS + 1)]
    return (*by_size, *by_seeds)


def largest_race(
    seconds: float, run: float, *, workers: int, rounds: RoundsOf = rounds_of, most: int = LARGEST
) -> Race:
    """The largest race that so many seconds are enough for; the smallest one where they are enough for none."""
    fitting = [race for race in races(most) if race_seconds(race, run, workers=workers, rounds=rounds) <= seconds]
    return fitting[-1] if fitting else SMALLEST


def race_seconds(race: Race, run: float, *, workers: int, rounds: RoundsOf = rounds_of) -> float:
    """How long a race takes where each run takes `run` seconds. A round begins when the one before it has ended."""
    return run * sum(math.ceil(race_round.runs / workers) for race_round in rounds(race.keep, race.seeds))


def further_trials(seconds: float, trial: float, *, workers: int, running: int = 0) -> int:
    """How many further trials a sweep begins that has so many seconds left and so many trials running.

    A trial begins where it ends nearer to the sweep's end than if it did not. Those that run have half of their time
    before them.
    """
    return max(0, math.floor((seconds * workers - running * trial / 2) / trial + 0.5))


def full_length_trials(epochs_done: int, epochs_a_second: float, seconds: float, *, epochs: int) -> int:
    """How many trials of `epochs` all epochs are worth that a sweep has trained and trains in so many seconds more.

    That is what a sweep has whose trials pause: it begins many and trains few to their end.
    """
    return math.floor((epochs_done + epochs_a_second * max(0.0, seconds)) / epochs)


def seeds_in_time(
    seconds: float,
    run: float,
    *,
    entrants: int,
    begun: int,
    running: int,
    workers: int,
    slack: float,
    least: int,
) -> int:
    """How many seeds the last round of a race has that should end in so many seconds, or at most `slack` later.

    `begun` are the runs of that round which have begun: a seed that has begun stays. `running` have half of their time
    before them.
    """
    until_free = run / 2 if running else 0.0

    def length(seeds: int) -> float:
        return until_free + run * math.ceil((seeds * entrants - begun) / workers)

    seeds = max(least, math.ceil(begun / entrants))
    while length(seeds + 1) <= seconds + slack:
        seeds += 1
    return seeds
