"""Which status may follow which, and what a conclusion needs."""

from __future__ import annotations

from dataclasses import replace

from hpo.errors import Refused
from hpo.ledger.record import NOT_MEASURED, STATUSES, Record, event
from hpo.promotion.candidate import DEFAULT

NEXT = {
    "planned": ("wip",),
    "wip": ("analysis", "failed"),
    "analysis": ("success", "failed"),
    "success": ("wip",),
    "failed": ("wip",),
}
LEAST_SEEDS = 3


def moved(record: Record, to: str, *, at: str, who: str, why: str = "") -> Record:
    """The record with another status. Raises Refused where that may not follow, or where something is missing."""
    if to not in STATUSES:
        raise Refused(f"the status must be {', '.join(STATUSES)}; got {to!r}")
    if to not in NEXT[record.status]:
        raise Refused(
            f"{record.id} is {record.status}, which only {' or '.join(NEXT[record.status])} may follow; got {to}"
        )
    if missing := lacking(record, to) + _unexplained(record, to, why):
        raise Refused(f"{record.id} cannot become {to}:\n" + "\n".join(f"  {one}" for one in missing))
    history = [*record.history, event(at, who, to, why)]
    return replace(record, kept={**record.kept, "status": to, "history": history})


def lacking(record: Record, status: str) -> list[str]:
    """What a record of this status must have, and this one has not."""
    if status == "failed" and not (record.section("Problem") or record.section("Lesson")):
        return [f"a failure needs a problem or a lesson: hpo ledger note {record.id} problem TEXT"]
    if status == "success" and "winner" not in record.part("promotion"):
        return ["a success needs a verdict of hpo promote: with STUDY promoted, hpo ledger sync"]
    if status == "success" and not record.part("winner").get("sha256"):
        return ["a success needs the exported weights of its winner: hpo promote, and hpo ledger sync"]
    return []


def doubts(record: Record) -> list[str]:
    """What speaks against calling a promoted experiment a success."""
    promotion, study = record.part("promotion"), record.part("study")
    found = []
    if study.get("preflight") not in ("go", "caution") or study.get("forced"):
        found.append(f"preflight: {'forced past ' if study.get('forced') else ''}{study.get('preflight')}")
    if promotion.get("seeds", 0) < LEAST_SEEDS:
        found.append(f"{promotion.get('seeds', 0)} seeds, fewer than {LEAST_SEEDS}")
    if promotion.get("winner") == DEFAULT:
        found.append("the default won: the search has found nothing better")
    elif not _ahead(promotion.get("lead_over_default", NOT_MEASURED)):
        found.append("its lead over the default is not above zero with 95 % confidence")
    if "best_baseline" in promotion and not _ahead(promotion.get("lead_over_baseline", NOT_MEASURED)):
        found.append(f"its lead over {promotion['best_baseline']} is not above zero with 95 % confidence")
    return found + [f"the task's own check says no-go: {name}" for name in promotion.get("no_go", ())]


def proposed(record: Record) -> str:
    """What the harness would conclude, for the person who does."""
    if "winner" not in record.part("promotion"):
        return "nothing: it has not been promoted"
    against = doubts(record)
    return (
        f"failed, or success with a reason: {'; '.join(against)}" if against else "success: nothing speaks against it"
    )


def _unexplained(record: Record, to: str, why: str) -> list[str]:
    if why.strip():
        return []
    if to == "success":
        return [f"{one}; say why it is one: --why TEXT" for one in doubts(record)]
    return ["say why it is taken up again: --why TEXT"] if record.status in ("success", "failed") else []


def _ahead(lead: object) -> bool:
    """Whether the whole interval (mean, low, high) lies above zero."""
    return isinstance(lead, list) and len(lead) == 3 and isinstance(lead[1], int | float) and lead[1] > 0
