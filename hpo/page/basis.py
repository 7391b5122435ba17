"""What the verdict rests on, a line each: the data, the runs, the cheap setting, pruning, noise, and what would decide.

The sections below have the details.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpo.formatting import amount, count, interval, listed, mean_of, ordinal, sentence
from hpo.page.findings import Agreement, Findings, GateFindings, Promotion, Sweep
from hpo.page.gate import gate_price
from hpo.page.separation_words import flat_sentence, name_of
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.gate import FIRST, MOST
from hpo.promotion.outlook import Advice, export_of_leader, power
from hpo.promotion.repeats import configurations, repeats_sd
from hpo.promotion.results import Verdict

ENOUGH_TO_RANK = 6  # configurations, below which a rank correlation says nothing


@dataclass(frozen=True)
class Ground:
    """A line: what it is about, what is known of it, and the command that changes it."""

    name: str
    text: str
    command: str = ""


def grounds(findings: Findings) -> tuple[Ground, ...]:
    """The lines about what is known; none where nothing has been completed."""
    sweep, promotion = findings.sweep, findings.promotion
    verdict = promotion.verdict if promotion else None
    lines: list[Ground | None] = []
    if promotion and verdict:
        lines += [
            _advised("Exported", promotion, export_of_leader(verdict)),
            _baseline(promotion, verdict),
            _data(verdict),
            _runs(promotion, verdict),
            _power(verdict),
        ]
    if sweep and sweep.best:
        lines += [_cheap(findings.gate, promotion), _pruning(sweep)]
        lines += [_noise(sweep, verdict, findings.study.task.goal), _separation(sweep)]
    return tuple(line for line in lines if line)


# -- of the promotion ------------------------------------------------------------------------------------------------
def _advised(name: str, promotion: Promotion, advice: Advice | None) -> Ground | None:
    """A line of advice, with the command that follows it."""
    if advice is None:
        return None
    command = " ".join([promotion.command, *advice.options]) if advice.options else ""
    return Ground(name, advice.text, command)


def _baseline(promotion: Promotion, verdict: Verdict) -> Ground | None:
    """How what was exported compares with the best classical baseline. None where that is not known."""
    best, exported = promotion.best_baseline, verdict.winning
    lead = exported.ahead_of_baselines.get(best.name) if best else None
    if best is None or lead is None:
        return None
    name = "the default" if exported.candidate.name == DEFAULT else exported.candidate.name
    rival, shown = f"the best classical baseline, {best.name}", interval(lead, signed=True)
    if verdict.sample.doubt:
        relation = "above" if lead.mean > 0 else "below"
        text = f"here {name} is {relation} {rival}, by {mean_of(lead, signed=True)}"
    elif lead.low > 0:
        text = f"{name} beats {rival}, by {shown}"
    elif lead.high < 0:
        text = f"{name} does not reach {rival}: its lead is {shown}"
    else:
        text = f"{name} cannot be told apart from {rival}: its lead is {shown}"
    return Ground("Baseline", sentence(text))


def _data(verdict: Verdict) -> Ground:
    """What was tested on, how often a verdict has read it, and how wide intervals are for that."""
    sample = verdict.sample
    folds = f" in each of {sample.folds} folds" if sample.folds > 1 else ""
    looks = f"the {ordinal(verdict.look)} look at them"
    if sample.is_too_small:
        return Ground("Test data", f"{sample}, {looks}; too few for an interval")
    return Ground("Test data", f"{sample}{folds}, {looks}: {100 * verdict.confidence:.4g} % intervals")


def _runs(promotion: Promotion, verdict: Verdict) -> Ground | None:
    """How many runs there were, in how many rounds, and which of their seeds earlier verdicts had. None for a verdict
    of an older version, whose sentence says it."""
    compared = verdict.leading or verdict.winning
    if not verdict.rounds:
        return None
    seeds = [run.seed_index for run in compared.runs]
    used_before = sum(seed < promotion.first_new_seed for seed in seeds)
    earlier = f", {used_before} of which an earlier look used" if used_before else ""
    rounds, own = count(len(verdict.rounds), "round"), count(len(seeds), "seed")
    both = "the leader and the default" if verdict.leading else "the default"
    return Ground("Runs", f"{verdict.runs} at full fidelity in {rounds}; {own} for {both}{earlier}")


def _power(verdict: Verdict) -> Ground | None:
    """What lead so many seeds can show; None where the verdict is decided."""
    text = power(verdict)
    return Ground("Seeds", text) if text else None


# -- of the sweep ----------------------------------------------------------------------------------------------------
def _cheap(known: GateFindings | None, promotion: Promotion | None) -> Ground | None:
    """Whether the cheap setting ranks like the full one. None where there is nothing to test, and where it does not:
    that stands above as a caution."""
    if known is None:
        return None
    if known.gate is not None:
        passed = known.gate.decision == "pass"
        return Ground("Cheap setting", f"It ranks like the full one: {known.gate.evidence}") if passed else None
    price = f" ({gate_price(known)})" if gate_price(known) else ""
    agreement = _of_first_round(promotion.agreement if promotion else None)
    untested = f"Whether it ranks like the full one was not tested{agreement}"
    return Ground("Cheap setting", f"{untested}; {FIRST} to {MOST} full runs{price} would tell:", known.command)


def _of_first_round(agreement: Agreement | None) -> str:
    """What the promotion's first round says of it."""
    if agreement is None or not agreement.pairs:
        return ""
    promoted = count(len(agreement.pairs), "configuration")
    if agreement.spearman is None or len(agreement.pairs) < ENOUGH_TO_RANK:
        return f", and the {promoted} of the first round are too few to tell"
    return f" (rank correlation {agreement.spearman:.2f} over the {promoted} of the first round)"


def _pruning(sweep: Sweep) -> Ground | None:
    return Ground("Pruning", sweep.audit.short) if sweep.audit else None


def _noise(sweep: Sweep, verdict: Verdict | None, goal: str) -> Ground | None:
    """How far scores differ that only the seed tells apart, as standard deviations.

    The lead of a run is a difference of two runs: it varies by the root of 2 more than one of them.
    """
    parts = []
    if verdict and verdict.noise:
        lead = amount(math.sqrt(2) * verdict.noise, goal)
        parts.append(f"from seed to seed the lead of a single run varies by {lead}")
    sd = repeats_sd(configurations(sweep.ranked))
    if sd is not None:
        parts.append(f"equal trials of the sweep differ by {amount(sd, goal)} on validation")
    return Ground("Noise", sentence(f"{listed(parts)} (standard deviation)")) if parts else None


def _separation(sweep: Sweep) -> Ground | None:
    """What separates, or that nothing does. None where there were too few trials to ask."""
    separation = sweep.separation
    if separation.is_flat:
        return Ground("Hyperparameters", flat_sentence(separation).rstrip("."))
    named = [f"{name_of(finding)} ({finding.explained:.0%})" for finding in separation.named]
    if not named:
        return None
    return Ground("Hyperparameters", f"These separate, with their shares of the spread of the scores: {listed(named)}")
