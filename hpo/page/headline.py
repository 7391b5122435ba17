"""What a study has come to, in a few words and in a sentence."""

from __future__ import annotations

from hpo.page.findings import Headline, Level, Promotion, Sweep
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.results import Verdict
from hpo.study import StudySpec


def headline(study: StudySpec, sweep: Sweep | None, promotion: Promotion | None) -> Headline:
    """The headline at this stage of the study."""
    if promotion and promotion.verdict:
        return Headline(*_badge(study, promotion.verdict), promotion.verdict.sentence)
    if promotion:
        progress = f"{len(promotion.runs)} of {promotion.planned} runs of the promotion have ended"
        return Headline("open", "promotion unfinished", f"{progress}; its verdict is still open.")
    if sweep and sweep.best:
        where = "among the adopted trials" if sweep.origin else "at the cheap fidelity"
        cheap = f"Trial {sweep.best.number} scored best {where}"
        return Headline(
            "open", "not promoted", f"{cheap}; nothing has been promoted, so nothing is known about the full one."
        )
    if sweep and sweep.trials:
        return Headline("no-go" if sweep.counts.get("failed") else "open", "no result", "No trial has been completed.")
    return Headline("open", "not started", "Nothing has been searched yet.")


def _badge(study: StudySpec, verdict: Verdict) -> tuple[Level, str]:
    """What the verdict comes to. Checks that say no-go come before everything, but for a rehearsal, which is too short
    for them."""
    if verdict.no_go and not study.is_rehearsal:
        return "no-go", "task checks not passed"
    lead = verdict.leading.ahead_of_default if verdict.leading else None
    if verdict.sample.is_too_small:
        return "caution", f"too few {verdict.sample.noun}s to tell"
    if verdict.has_no_winner or (verdict.winner != DEFAULT and (verdict.goals or verdict.is_default_over)):
        return "go", _chosen_by_costs(verdict)
    if verdict.winner == DEFAULT:
        return "caution", "keep the default"
    if any(result.candidate.name == DEFAULT and result.full is None for result in verdict.results):
        return "caution", "default failed"
    if lead is None or not lead.excludes_zero:
        return "caution", "a tie: the leader is exported"
    if lead.high < 0:  # an older version exported whatever validated best
        return "no-go", "default is better"
    if verdict.sample.speaks_for_one:
        return "caution", f"better on one {verdict.sample.noun}"
    return "go", "better than the default"


def _chosen_by_costs(verdict: Verdict) -> str:
    """The badge of a winner that is not chosen by the task's goal alone."""
    if verdict.has_no_winner:
        return f"a front of {len(verdict.front)}"
    return "better in all goals" if verdict.goals else "best within the limits"
