"""What a reader can do where the leader is ahead and its lead is not sure."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.formatting import count, is_bounded, listed, number, unit
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.more import Needed
from hpo.promotion.results import Verdict

MOST_SEEDS = 200  # further ones that anybody would pay for
MOST_TIMES = 20  # as many test examples, or clusters of them, as there are now
FEW_SEEDS = 2  # so few can hardly decide anything
TO_LEARN_THE_NOISE = 2  # further seeds, where it is not known how much training varies


@dataclass(frozen=True)
class Advice:
    """A sentence, and the options of `hpo promote` that do it: none where nothing is to be run."""

    text: str
    options: tuple[str, ...] = ()


def outlook(verdict: Verdict) -> Advice | None:
    """How many further seeds or test examples would decide a lead at the next look.

    None where it is decided, where the leader is not ahead, and where the sample is too small for any interval.
    """
    if verdict.goals or not verdict.is_open or verdict.sample.is_too_small:
        return None
    if verdict.noise is None:
        return Advice(
            f"How many further seeds would decide it shows after {TO_LEARN_THE_NOISE}:",
            ("--more", str(TO_LEARN_THE_NOISE)),
        )
    if verdict.needed is None:  # a verdict of an older version
        return None
    seeds, units = verdict.needed.seeds, _units(verdict)
    if seeds is not None and seeds <= MOST_SEEDS:
        beside = f", and so would about {units}" if units else ""
        return Advice(
            f"About {count(seeds, 'further seed')} would decide it if the lead stays{beside}:", ("--more", str(seeds))
        )
    if units:
        return Advice(f"No number of seeds would decide it; about {units} would, if the lead stays")
    if verdict.sample.folds > 1:
        return Advice(
            f"No number of seeds would decide it in {verdict.sample.folds} folds: only more {verdict.sample.noun}s "
            f"in further folds"
        )
    if verdict.needed == Needed(None, None):
        return Advice(f"Neither further seeds alone nor further {verdict.sample.unit_noun}s alone would decide it")
    return Advice("The lead is so small that no number of seeds or test examples is worth paying")


def power(verdict: Verdict) -> str:
    """What lead the seeds of this promotion can show, and what more of them would.

    "" where it is decided, where the sample is too small for any interval, and where the noise is not known.
    """
    lead = verdict.leading.ahead_of_default if verdict.leading else None
    is_decided = not is_bounded(lead) or lead.excludes_zero
    if verdict.leading is None or lead is None or is_decided or verdict.sample.is_too_small or not verdict.least_leads:
        return ""
    seeds, goal_unit = len(verdict.leading.runs), unit(verdict.goal)
    shown = f"a lead of {number(lead.half_width, 2)} {goal_unit}".rstrip()
    here = f"{count(seeds, 'seed')} could show {shown} or more"
    if seeds <= FEW_SEEDS:
        here = f"{count(seeds, 'seed')} can hardly decide anything: they could show {shown} or more"
    # A further look is held to a higher confidence, so a few seeds more may show less than these did.
    smaller = [least for least in verdict.least_leads if least.lead < lead.half_width]
    more = [f"{least.seeds} could show {number(least.lead, 2)}" for least in smaller]
    return f"{here}; {listed(more)}" if more else here


def _units(verdict: Verdict) -> str:
    """The further test examples, or clusters, that would decide it; "" where no number that is worth paying would."""
    needed, sample = verdict.needed, verdict.sample
    if needed is None or needed.units is None or needed.units > MOST_TIMES * sample.units:
        return ""
    return count(needed.units, f"further {sample.unit_noun}")


def export_of_leader(verdict: Verdict) -> Advice | None:
    """How to export the leader where the default was. None where the leader was, and where it is not ahead."""
    if verdict.goals or verdict.winner != DEFAULT or not verdict.is_open:
        return None
    return Advice(f"The default was exported; to export {verdict.leader} instead:", ("--tie", "leader"))
