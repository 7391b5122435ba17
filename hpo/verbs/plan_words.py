"""What is said of a budget of time: the plan before it begins, what became of it, and how the time was kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from hpo.formatting import count, duration, listed
from hpo.promotion.gate import FIRST
from hpo.promotion.race import runs_of
from hpo.verbs.budget import Schedule
from hpo.verbs.clock import Budget
from hpo.verbs.plan import gate_seconds


def plan_lines(schedule: Schedule) -> Iterator[str]:
    """The plan, a line each stage."""
    budget, plan = schedule.budget, schedule.plan
    ends = datetime.now().astimezone() + timedelta(seconds=budget.until_end + budget.leaving)
    workers = count(schedule.workers, "worker")
    yield f"budget of {duration(budget.seconds)}, done by {ends:%H:%M:%S}; the plan, on {workers}:"
    if schedule.is_racing:
        yield f"  promotion, which goes on: {_race(schedule)}"
        return
    yield from _gate(schedule)
    trial = duration(schedule.trial + schedule.beside)
    yield f"  sweep: about {count(plan.trials, 'trial')} of {trial}, in {duration(plan.sweep_seconds)}"
    yield f"  promotion: {_race(schedule)}"
    if budget.rivals:
        yield f"  classical methods, tuned and scored: {duration(budget.rivals)}"
    yield f"  verdict and reports: {duration(budget.report + budget.first_report)}"


def _gate(schedule: Schedule) -> Iterator[str]:
    """Whether the gate fits into the plan; nothing where it has been passed before, or has nothing to test."""
    plan = schedule.plan
    if plan.gate:
        tried = f"{FIRST}" if plan.gate == FIRST else f"{FIRST} to {plan.gate}"
        runs = f"full runs of {tried} random configurations, in at most {duration(plan.gate_seconds)}"
        yield f"  gate: {runs}; their cheap trials are the first of the sweep"
    elif schedule.has_untested:
        least = duration(gate_seconds(FIRST, schedule.run_seconds, workers=schedule.race_workers))
        yield (
            f"  gate: left out, since its first {FIRST} full runs would take {least}, more than a fifth of the time "
            f"that is left; so whether the cheap setting ranks like the full one is not tested"
        )


def race_line(schedule: Schedule) -> str:
    """What the gate and the sweep have taken, and the race that is left time for."""
    race = f"{duration(schedule.budget.left)} are left for the promotion: {_race(schedule)}"
    if schedule.is_racing:
        return race
    took, planned = schedule.budget.spent["sweep"], schedule.plan.sweep_seconds
    return f"the sweep took {duration(took)}, where {duration(planned)} were planned; {race}"


def _race(schedule: Schedule) -> str:
    """The race that is planned now: its runs, who runs, and how long."""
    race, run = schedule.race, duration(schedule.run_seconds)
    runs = runs_of(schedule.rounds(race.keep, race.seeds))
    configurations = count(race.keep, "configuration")
    if schedule.study.goals:
        who = f"{race.seeds} each of the default and of up to {configurations} of the front"
    else:
        who = f"in rounds, {configurations} and the default"
    return f"{count(runs, 'run')} of {run}, {who}, in about {duration(schedule.race_seconds)}"


def kept_line(budget: Budget) -> str:
    """How the time was kept, and what took it."""
    stages = listed([f"{name} {duration(seconds)}" for name, seconds in budget.spent.items()])
    left = budget.until_end
    end = f"{duration(left)} before its end" if left >= 0 else f"{duration(-left)} after its end"
    return f"budget of {duration(budget.seconds)}: done {end}, after {stages}"
