"""What both pages and the list say of the records: rankings, rows, facts, questions, plans. Of the records alone: no
clock, and nothing of the machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hpo.formatting import better, duration, finite, interval, label, score, setting
from hpo.ledger.record import HEADINGS, NOT_APPLICABLE, NOT_MEASURED, NOT_RUN, Record
from hpo.ledger.verdicts import proposed
from hpo.promotion.intervals import Interval

MARKS = {"planned": "–", "wip": "○", "analysis": "!", "success": "✓", "failed": "✕"}
MEANING = {
    "planned": "not begun",
    "wip": "under way",
    "analysis": "ended, and not judged yet",
    "success": "promoted, and judged so",
    "failed": "judged so, with its problem or its lesson",
}
MISSING = (
    f"{NOT_RUN}: the stage has not been; {NOT_MEASURED}: it has been, and gave no number; "
    f"{NOT_APPLICABLE}: there can be none. Intervals are 95 %."
)
HEADS = (
    "Experiment",
    "Status",
    "State",
    "Result",
    "Lead over default",
    "Lead over best baseline",
    "Seeds",
    "Trials",
    "Time",
    "Code",
)


@dataclass(frozen=True)
class Ranking:
    """Experiments whose results may be compared: same goal, data and fidelity. Best first, without a result last."""

    title: str
    rows: tuple[Record, ...]


def rankings(records: Sequence[Record]) -> list[Ranking]:
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(_comparable(record), []).append(record)
    return [Ranking(_title(rows[0], key), tuple(sorted(rows, key=_rank))) for key, rows in sorted(groups.items())]


def _comparable(record: Record) -> tuple[str, ...]:
    """What must be equal for two results to be ranked; promoted results first, hand-made runs last."""
    study = record.part("study")
    for order, stage in (("0", "promotion"), ("1", "sweep")):
        part = record.part(stage)
        if result(record).stage == stage and part.get("eval"):
            return order, str(study.get("goal")), str(study.get("direction")), str(part["eval"])
    return ("2",)


def _title(record: Record, key: tuple[str, ...]) -> str:
    if key == ("2",):
        return "Without a result"
    identity = record.part(result(record).stage) if key[0] == "0" else record.part("identity")
    where = "on test, at full fidelity" if key[0] == "0" else "on validation, at the cheap fidelity; no verdict"
    return (
        f"{label(key[1])}, {better(key[2])}, {where} (data {identity.get('data')}, fidelity {identity.get('fidelity')})"
    )


def _rank(record: Record) -> tuple[float, str]:
    value = result(record).value
    sign = 1 if record.part("study").get("direction") == "minimize" else -1
    return (float("inf") if value is None else sign * value, record.id)


@dataclass(frozen=True)
class Result:
    """The number that an experiment is ranked by, or why there is none."""

    stage: str
    value: float | None
    shown: str


def result(record: Record) -> Result:
    if not record.study and record.status != "planned":
        return Result("", None, NOT_APPLICABLE)
    promotion, sweep = record.part("promotion"), record.part("sweep")
    if "winner" in promotion:
        test = interval_of(promotion.get("test"))
        return Result("promotion", test.mean if test else None, measured(promotion.get("test")))
    best = sweep.get("best", NOT_RUN)
    return Result("sweep", finite(best), measured(best))


def measured(value: Any, *, signed: bool = False) -> str:
    """A score, an interval, or one of the three words for what is missing."""
    if known := interval_of(value):
        return interval(known, signed=signed)
    if finite(value) is not None:
        return score(value)
    return str(value) if value in (NOT_RUN, NOT_MEASURED, NOT_APPLICABLE) else NOT_MEASURED


def interval_of(value: Any) -> Interval | None:
    """A mean with its range, where the record has one."""
    whole = isinstance(value, list) and len(value) == 3 and all(finite(one) is not None for one in value)
    return Interval(*value) if whole else None


def cells(record: Record) -> tuple[str, ...]:
    """A row of the dashboard, as text, in the order of HEADS."""
    promotion, sweep = record.part("promotion"), record.part("sweep")
    missing = NOT_RUN if record.study or record.status == "planned" else NOT_APPLICABLE
    trials = ", ".join(f"{sweep[state]} {state}" for state in ("complete", "pruned", "failed") if sweep.get(state))
    against = measured(promotion.get("lead_over_baseline", missing), signed=True)
    against += f" ({promotion['best_baseline']})" if "best_baseline" in promotion else ""
    seconds = [finite(part["seconds"]) or 0.0 for part in (sweep, promotion) if "seconds" in part]
    return (
        record.id,
        f"{MARKS[record.status]} {record.status}",
        str(record.part("study").get("state", missing)),
        result(record).shown,
        measured(promotion.get("lead_over_default", missing), signed=True),
        against,
        str(promotion.get("seeds", missing)),
        trials or missing,
        duration(sum(seconds)) if seconds else missing,
        str(record.part("identity").get("code", missing))[:7],
    )


def facts(record: Record) -> Iterator[tuple[str, str]]:
    """What the harness knows of one experiment, and who judged it."""
    study, promotion, winner = record.part("study"), record.part("promotion"), record.part("winner")
    for key in ("parent", "superseded_by", "alias", "cost", "priority"):
        if key in record.person:
            yield key.replace("_", " "), str(record.person[key])
    if study:
        yield "study", f"{study.get('name')}: {study.get('state')}, preflight {study.get('preflight', NOT_RUN)}"
        yield "time", f"{study.get('began', NOT_RUN)} to {study.get('ended', NOT_RUN)}"
    if record.part("space"):
        yield "searched", "; ".join(f"{name} in {where}" for name, where in record.part("space").items())
    if "sentence" in promotion:
        yield "verdict", str(promotion["sentence"])
    for stage in (promotion, record.part("sweep")):
        if stage.get("settings"):
            who = f"winner, {stage['winner']}" if "winner" in stage else f"best, trial {stage.get('best_trial')}"
            yield who, ", ".join(f"{name} = {setting(value)}" for name, value in stage["settings"].items())
            break
    if record.part("baselines"):
        yield "baselines", "; ".join(f"{name}: {measured(one)}" for name, one in record.part("baselines").items())
    if record.part("identity"):
        yield "rests on", ", ".join(f"{key} {value}" for key, value in record.part("identity").items())
    if winner:
        yield "weights", f"{winner.get('weights')}, {winner.get('bytes')} bytes, sha256 {winner.get('sha256')}"
    if record.status == "analysis" and study:
        yield "the harness would say", proposed(record)
    yield "history", "; ".join(_entry(one) for one in record.history)


def _entry(one: Mapping[str, str]) -> str:
    return f"{str(one['at'])[:10]} {one['to']} by {one['who']}" + (f": {one['why']}" if one.get("why") else "")


def files(record: Record, runs: str) -> dict[str, str]:
    """What there is to read of a study: name -> where it lies, as a URL."""
    return {name: quote(f"{runs}/{record.study}/{path}") for name, path in record.part("files").items()}


def prose(record: Record, folder: str) -> Iterator[tuple[str, str]]:
    """What a person wrote, by heading; a link that leads on from the record does so from beside its folder."""
    for heading in HEADINGS:
        if text := record.section(heading):
            yield heading, re.sub(r"(\]\(<?)(?![A-Za-z][A-Za-z0-9+.-]*:|[/#])", rf"\g<1>{quote(folder)}/", text)


def questions(records: Sequence[Record]) -> list[tuple[str, Record]]:
    """The items under `## Open questions` that are not ticked."""
    found = []
    for record in records:
        text = record.section("Open questions")
        for item in re.split(r"(?m)^(?=[-*+] )|\n{2,}", text):
            if item.strip() and not re.match(r"[-*+] \[[xX]\]", item.strip()):
                found.append((re.sub(r"^[-*+] (\[ \] )?", "", item.strip()), record))
    return found


def planned(records: Sequence[Record]) -> list[Record]:
    """What to run next, the most urgent first."""
    waiting = [record for record in records if record.status == "planned"]
    return sorted(waiting, key=lambda one: (priority_of(one), one.id))


def newest_first(records: Sequence[Record]) -> list[Record]:
    return sorted(sorted(records, key=lambda one: one.id), key=lambda one: one.date, reverse=True)


def priority_of(record: Record) -> int:
    """A whole number; without one, last."""
    given = record.person.get("priority")
    return given if isinstance(given, int) else 10**9


def plan(record: Record) -> str:
    about = [
        record.title,
        f"priority {priority_of(record)}" if "priority" in record.person else "",
        f"expected cost {record.person['cost']}" if "cost" in record.person else "",
    ]
    return "; ".join(one for one in about if one) or "no title yet"


def last_change(records: Sequence[Record]) -> str:
    return max((record.date for record in records), default="")[:10] or "no day yet"
