"""The dashboard: tables of experiments whose results may be compared, with what stands in their cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hpo.direction import Direction
from hpo.formatting import better, duration, finite, interval, label, score
from hpo.ledger.prose import undated
from hpo.ledger.record import NOT_APPLICABLE, NOT_MEASURED, NOT_RUN, Record
from hpo.promotion.intervals import Interval

MARKS = {
    "planned": "–",
    "wip": "○",
    "analysis": "!",
    "success": "✓",
    "failed": "✕",
}
MEANING = {
    "planned": "not begun",
    "wip": "under way",
    "analysis": "ended, and not judged yet",
    "success": "judged so, after a promotion or by hand",
    "failed": "judged so, with its problem or its lesson",
}
MISSING = (
    f"{NOT_RUN}: the stage has not been; {NOT_MEASURED}: it has been, and gave no number; "
    f"{NOT_APPLICABLE}: there can be none. Intervals are 95 %."
)
MAX_RESULT = 60  # characters of a result in words


class Column(StrEnum):
    """The columns of the dashboard, in their order, by their heads."""

    EXPERIMENT = "Experiment"
    STATUS = "Status"
    STATE = "State"
    RESULT = "Result"
    LEAD_OVER_DEFAULT = "Lead over default"
    LEAD_OVER_BASELINE = "Lead over best baseline"
    SEEDS = "Seeds"
    TRIALS = "Trials"
    TIME = "Time"
    CODE = "Code"

    @property
    def holds_numbers(self) -> bool:
        """Whether the column is aligned to the right."""
        return self in _NUMBERS


_NUMBERS = {
    Column.RESULT,
    Column.LEAD_OVER_DEFAULT,
    Column.LEAD_OVER_BASELINE,
    Column.SEEDS,
    Column.TIME,
}


@dataclass(frozen=True)
class Ranking:
    """Experiments whose results may be compared: same goal, data and fidelity. Best first, without a result last."""

    title: str
    rows: tuple[Record, ...]


@dataclass(frozen=True, order=True)
class Comparable:
    """What must be equal for two results to be ranked. In this order the tables of the dashboard follow each other."""

    is_sweep: bool  # promoted results come first
    goal: str
    direction: str
    evaluation: str  # fingerprint of goal, direction, data and fidelity


def rankings(records: Sequence[Record]) -> list[Ranking]:
    """A ranking for each set of results that may be compared, and a last one of the records without a result."""
    groups: dict[Comparable, list[Record]] = {}
    others = []
    for record in sorted(records, key=lambda record: record.order):
        key = _comparable(record)
        if key is None:
            others.append(record)
        else:
            groups.setdefault(key, []).append(record)
    compared = [Ranking(_title(groups[key][0], key), tuple(_ranked(groups[key], key))) for key in sorted(groups)]
    return [*compared, Ranking("Without a result that can be ranked", tuple(others))] if others else compared


def _comparable(record: Record) -> Comparable | None:
    study, stage = record.part("study"), result(record).stage
    evaluation, direction = record.part(stage).get("eval"), study.get("direction")
    if not evaluation or direction not in tuple(Direction):
        return None
    return Comparable(stage == "sweep", str(study.get("goal")), direction, str(evaluation))


def _title(record: Record, key: Comparable) -> str:
    if key.is_sweep:
        identity, where = record.part("identity"), "on validation, at the cheap fidelity; no verdict"
    else:
        identity, where = record.part("promotion"), "on test, at full fidelity"
    rests_on = f"data {identity.get('data')}, fidelity {identity.get('fidelity')}"
    return f"{label(key.goal)}, {better(key.direction)}, {where} ({rests_on})"


def _ranked(records: Sequence[Record], key: Comparable) -> list[Record]:
    direction = Direction(key.direction)
    return direction.ranked(records, key=lambda record: direction.worst_if_none(result(record).value))


# -- a row of the dashboard ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class RankedValue:
    """The number that an experiment is ranked by, or why there is none."""

    stage: str  # promotion, sweep, or nothing for a run made by hand
    value: float | None
    shown: str


def result(record: Record) -> RankedValue:
    """What came of an experiment: the winner's mean on test, or before that the sweep's best.

    Of an experiment without a study it is the first line of its results.
    """
    if record.is_by_hand and record.section("Results") and record.status != "planned":
        return RankedValue("", None, _first_line(record.section("Results")))
    if not record.study and record.status != "planned":
        return RankedValue("", None, NOT_APPLICABLE)
    promotion, sweep = record.part("promotion"), record.part("sweep")
    if "winner" in promotion:
        test = interval_of(promotion.get("test"))
        return RankedValue("promotion", test.mean if test else None, measured(promotion.get("test")))
    best = sweep.get("best", NOT_RUN)
    return RankedValue("sweep", finite(best), measured(best))


def _first_line(text: str) -> str:
    """The first line, without emphasis and not too long for a table."""
    first = next((line for line in undated(text).split("\n") if line.strip()), "")
    line = re.sub(r"^[-*+] |[*`]", "", first).strip()
    return line if len(line) <= MAX_RESULT else f"{line[: MAX_RESULT - 1].rstrip()}…"


def measured(value: Any, *, signed: bool = False) -> str:
    """A score, an interval, or one of the three words for what is missing."""
    if known := interval_of(value):
        return interval(known, signed=signed)
    if finite(value) is not None:
        return score(value)
    return str(value) if value in (NOT_RUN, NOT_MEASURED, NOT_APPLICABLE) else NOT_MEASURED


def interval_of(value: Any) -> Interval | None:
    """A mean with its range, where the record has one."""
    is_interval = isinstance(value, list) and len(value) == 3 and all(finite(part) is not None for part in value)
    return Interval(*value) if is_interval else None


def cells(record: Record) -> dict[Column, str]:
    """A row of the dashboard, as text, in the order of the columns."""
    promotion, sweep = record.part("promotion"), record.part("sweep")
    missing = NOT_RUN if record.study or record.status == "planned" else NOT_APPLICABLE
    trials = ", ".join(f"{sweep[state]} {state}" for state in ("complete", "pruned", "failed") if sweep.get(state))
    baseline_lead = measured(promotion.get("lead_over_baseline", missing), signed=True)
    if "best_baseline" in promotion:
        baseline_lead += f" ({promotion['best_baseline']})"
    seconds = [finite(part["seconds"]) or 0.0 for part in (sweep, promotion) if "seconds" in part]
    return {
        Column.EXPERIMENT: record.id,
        Column.STATUS: f"{MARKS[record.status]} {record.status}",
        Column.STATE: str(record.part("study").get("state", missing)),
        Column.RESULT: result(record).shown,
        Column.LEAD_OVER_DEFAULT: measured(promotion.get("lead_over_default", missing), signed=True),
        Column.LEAD_OVER_BASELINE: baseline_lead,
        Column.SEEDS: str(promotion.get("seeds", missing)),
        Column.TRIALS: trials or missing,
        Column.TIME: duration(sum(seconds)) if seconds else missing,
        Column.CODE: str(record.part("identity").get("code", missing))[:7],
    }
