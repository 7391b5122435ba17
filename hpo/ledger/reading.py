"""What both pages say of the records beside the dashboard: facts, files, a person's text, questions, plans.

Everything follows from the records alone: not from the clock, and not from the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from hpo.formatting import setting
from hpo.ledger.dashboard import measured
from hpo.ledger.fields import HEADINGS
from hpo.ledger.prose import headings, led, undated
from hpo.ledger.question import ANSWERS, QUESTION_HEADINGS, Question
from hpo.ledger.record import NOT_RUN, Record
from hpo.ledger.verdicts import proposed


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
