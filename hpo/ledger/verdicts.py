"""Which status may follow which, and what a conclusion needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hpo.errors import Refused
from hpo.ledger.name import CONCLUDED, STATUSES
from hpo.ledger.record import NOT_MEASURED, Record, event
from hpo.promotion.candidate import DEFAULT

NEXT = {  # status -> those that may follow it
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
    allowed = NEXT[record.status]
    if to not in allowed:
        raise Refused(f"{record.id} cannot go from {record.status} to {to}; allowed: {', '.join(allowed)}")
    missing = [str(requirement) for requirement in lacking(record, to)]
    missing += _unexplained(record, to, why)
    if missing:
        raise Refused(f"{record.id} cannot become {to}:\n" + "\n".join(f"  {line}" for line in missing))
    history = [*record.history, event(at, who, to, why)]
    return replace(record, kept={**record.kept, "status": to, "history": history})


@dataclass(frozen=True)
class Requirement:
    """What a record must have, and how it gets it."""

    sentence: str
    command: str

    def __str__(self) -> str:
        return f"{self.sentence}: {self.command}"


def lacking(record: Record, status: str) -> list[Requirement]:
    """What a record of this status must have, and this one has not."""
    if status == "failed" and not (record.section("Problem") or record.section("Lesson")):
        command = f"hpo ledger note {record.id} problem TEXT"
        return [Requirement("a failure needs a problem or a lesson", command)]
    if record.is_by_hand and status == "success":  # there was nothing to promote
        has_results = bool(record.part("imported")) or bool(record.section("Results"))
        command = f"hpo ledger note {record.id} results TEXT"
        return (
            []
            if has_results
            else [Requirement("a success needs its results, where no study stands behind it", command)]
        )
    if status == "success" and "winner" not in record.part("promotion"):
        return [Requirement("a success needs a verdict of hpo promote", "with STUDY promoted, hpo ledger sync")]
    if status == "success" and not record.part("winner").get("sha256"):
        command = "hpo promote, and hpo ledger sync"
        return [Requirement("a success needs the exported weights of its winner", command)]
    return []


def doubts(record: Record) -> list[str]:
    """What speaks against calling a promoted experiment a success."""
    promotion, study = record.part("promotion"), record.part("study")
    reasons = []
    if study.get("forced"):
        reasons.append(f"preflight: forced past {study.get('preflight')}")
    elif study.get("preflight") not in ("go", "caution"):
        reasons.append(f"preflight: {study.get('preflight')}")
    if promotion.get("seeds", 0) < LEAST_SEEDS:
        reasons.append(f"{promotion.get('seeds', 0)} seeds, fewer than {LEAST_SEEDS}")
    if promotion.get("winner") == DEFAULT:
        reasons.append("the default stands: nothing was shown to be better")
    elif not _is_ahead(promotion.get("lead_over_default", NOT_MEASURED)):
        reasons.append("its lead over the default is not surely above zero")
    if "best_baseline" in promotion and not _is_ahead(promotion.get("lead_over_baseline", NOT_MEASURED)):
        reasons.append(f"its lead over {promotion['best_baseline']} is not surely above zero")
    if "doubt" in promotion:
        reasons.append(promotion["doubt"])
    return reasons + [f"the task's own check says no-go: {name}" for name in promotion.get("no_go", ())]


def proposed(record: Record) -> str:
    """What the harness would conclude, for the person who does."""
    if record.is_superseded:
        return f"nothing: {record.field_text('superseded_by')} has taken its place"
    if record.is_by_hand:
        return "nothing: no study stands behind it"
    if "winner" not in record.part("promotion"):
        return "nothing: it has not been promoted"
    reasons = doubts(record)
    if reasons:
        return f"failed, or success with a reason: {'; '.join(reasons)}"
    return "success: nothing speaks against it"


def _unexplained(record: Record, to: str, why: str) -> list[str]:
    if why.strip():
        return []
    if to == "success" and record.is_by_hand:
        return ["a success without a promotion needs a reason: --why TEXT"]
    if to == "success":
        return [f"{reason}; say why it is a success: --why TEXT" for reason in doubts(record)]
    return ["say why it is taken up again: --why TEXT"] if record.status in CONCLUDED else []


def _is_ahead(lead: object) -> bool:
    """Whether the whole interval (mean, low, high) lies above zero."""
    return isinstance(lead, list) and len(lead) == 3 and isinstance(lead[1], int | float) and lead[1] > 0
