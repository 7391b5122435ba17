"""What both pages and the list say of the records: rankings, rows, facts, questions, plans.

Everything follows from the records alone: not from the clock, and not from the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from hpo.direction import Direction
from hpo.formatting import better, duration, finite, interval, label, score, setting
from hpo.ledger.fields import HEADINGS
from hpo.ledger.prose import headings, led, undated
from hpo.ledger.question import ANSWERS, QUESTION_HEADINGS, Question
from hpo.ledger.record import NOT_APPLICABLE, NOT_MEASURED, NOT_RUN, Record
from hpo.ledger.verdicts import proposed
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


# -- rankings --------------------------------------------------------------------------------------------------------
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


# -- what else there is to say ---------------------------------------------------------------------------------------
def further(record: Record) -> Iterator[tuple[str, str]]:
    """What came of the studies of a record behind the first one."""
    for study, block in record.part("further").items():
        sweep, promotion = block.get("sweep", {}), block.get("promotion", {})
        came_to = f"{block.get('study', {}).get('state', NOT_RUN)}, best {measured(sweep.get('best', NOT_RUN))}"
        if "best_trial" in sweep:
            came_to += f" (trial {sweep['best_trial']})"
        yield f"study {study}", f"{came_to}. {promotion['sentence']}" if "sentence" in promotion else came_to


def facts(record: Record) -> Iterator[tuple[str, str]]:
    """What the harness knows of one experiment, and who judged it: names with texts."""
    study, winner = record.part("study"), record.part("winner")
    yield from _person_facts(record)
    if study:
        yield "study", f"{study.get('name')}: {study.get('state')}, preflight {study.get('preflight', NOT_RUN)}"
        yield "time", f"{study.get('began', NOT_RUN)} to {study.get('ended', NOT_RUN)}"
    yield from further(record)
    if record.part("space"):
        yield "searched", "; ".join(f"{name} in {values}" for name, values in record.part("space").items())
    yield from _outcome_facts(record)
    if record.part("baselines"):
        yield "baselines", "; ".join(f"{name}: {measured(value)}" for name, value in record.part("baselines").items())
    if record.part("identity"):
        yield "rests on", ", ".join(f"{key} {value}" for key, value in record.part("identity").items())
    if winner:
        yield "weights", f"{winner.get('weights')}, {winner.get('bytes')} bytes, sha256 {winner.get('sha256')}"
    if record.status == "analysis" and study:
        yield "the harness would say", proposed(record)
    if imported := record.part("imported"):
        yield "imported", f"{imported.get('file')}, {imported.get('place')}: {imported.get('heading')}"
    yield "history", "; ".join(_step(event) for event in record.history)


def _person_facts(record: Record) -> Iterator[tuple[str, str]]:
    for key in ("legacy_name", "parent", "superseded_by", "alias", "cost", "priority", "owner"):
        if key in record.person:
            yield key.replace("_", " "), str(record.person[key])
    if record.tags:
        yield "tags", ", ".join(record.tags)


def _outcome_facts(record: Record) -> Iterator[tuple[str, str]]:
    """The verdict, and the settings of the winner or else of the sweep's best trial."""
    promotion, sweep = record.part("promotion"), record.part("sweep")
    if "sentence" in promotion:
        yield "verdict", str(promotion["sentence"])
    if promotion.get("settings"):
        yield f"winner, {promotion['winner']}", _settings(promotion["settings"])
    elif sweep.get("settings"):
        yield f"best, trial {sweep.get('best_trial')}", _settings(sweep["settings"])


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {setting(value)}" for name, value in settings.items())


def _step(event: Mapping[str, str]) -> str:
    step = f"{str(event['at'])[:10] or 'no date'} {event['to']} by {event['who']}"
    return f"{step}: {event['why']}" if event.get("why") else step


def files(record: Record, runs: str) -> dict[str, str]:
    """What there is to read of its studies: name -> where it lies, as a URL."""
    links = _study_files(record.kept, record.study, runs)
    for study, block in record.part("further").items():
        links |= {f"{study}: {name}": url for name, url in _study_files(block, study, runs).items()}
    return links


def _study_files(block: Mapping[str, Any], study: str, runs: str) -> dict[str, str]:
    paths = {str(name): str(path) for name, path in block.get("files", {}).items()}
    best = block.get("sweep", {}).get("best_trial")
    if paths:
        paths |= {"study": ""}
    if isinstance(best, int):
        paths[f"trial {best}"] = f"sweep/{best:04d}/"
    return {name: quote(f"{runs}/{study}/{path}") for name, path in paths.items()}


def prose(record: Record, folder: str) -> Iterator[tuple[str, str]]:
    """What a person wrote, by heading; a link that leads on from the record does so from beside its folder."""
    for heading in dict.fromkeys((*HEADINGS, *headings(record.prose))):
        if text := record.section(heading):
            yield heading, led(text, folder)


def open_first(questions: Sequence[Question]) -> list[Question]:
    """The questions of the ledger, those without an answer first."""
    return sorted(questions, key=lambda question: (question.status != ANSWERS[0], question.number))


def remaining(question: Question) -> list[str]:
    """The headings with text of a question, without the one whose items are its hypotheses."""
    has_items = bool(question.hypotheses)
    names = [heading for heading in dict.fromkeys(headings(question.prose)) if question.section(heading)]
    return [heading for heading in names if not (heading == QUESTION_HEADINGS[0] and has_items)]


def questions(records: Sequence[Record]) -> list[tuple[str, Record]]:
    """The items under `## Open questions` of the records that are not ticked."""
    open_questions = []
    for record in records:
        text = undated(record.section("Open questions"))
        for item in re.split(r"(?m)^(?=(?:[-*+]|\d+[.)]) )|\n{2,}", text):
            item = item.strip()
            is_ticked = re.match(r"[-*+] \[[xX]\]", item)
            is_label = re.fullmatch(r"\*\*[^*]*\*\*", item)
            if item and not is_ticked and not is_label:
                open_questions.append((re.sub(r"^(?:[-*+]|\d+[.)]) (\[ \] )?", "", item), record))
    return open_questions


def planned(records: Sequence[Record]) -> list[Record]:
    """What to run next, the most urgent first."""
    waiting = [record for record in records if record.status == "planned" and not record.is_superseded]
    return sorted(waiting, key=lambda record: (record.priority, record.order))


def newest_first(records: Sequence[Record]) -> list[Record]:
    """The records by their last change; of two on the same day the first id comes first."""
    by_id = sorted(records, key=lambda record: record.order)
    return sorted(by_id, key=lambda record: record.date, reverse=True)


def plan(record: Record) -> str:
    """What a planned experiment is about, in one line."""
    parts = [record.title]
    if "priority" in record.person:
        parts.append(f"priority {record.priority}")
    if "cost" in record.person:
        parts.append(f"expected cost {record.person['cost']}")
    return "; ".join(part for part in parts if part) or "no title yet"


def last_change(records: Sequence[Record]) -> str:
    """The day of the last change to any record."""
    return max((record.date for record in records), default="")[:10] or "no day yet"
