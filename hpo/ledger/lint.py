"""What records promise and do not keep."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from hpo.errors import Refused
from hpo.formatting import first_words
from hpo.ledger.fields import CONFIDENCE, FIELDS, HEADINGS, SEVERAL
from hpo.ledger.folder import NOTES, is_question
from hpo.ledger.front_matter import MERGE
from hpo.ledger.name import name_of
from hpo.ledger.prose import headings
from hpo.ledger.question import STATES, Question
from hpo.ledger.record import OWN, Record
from hpo.ledger.verdicts import NEXT, lacking
from hpo.plain import nearest

PATIENCE_DAYS = 90  # after which what is planned is forgotten
IMPORTED = "imported records"
SHOWN = 3  # names of records or links, where there are many


class LintWarning(NamedTuple):
    """What is wrong with a record, or with a file beside it."""

    id: str
    message: str

    def __str__(self) -> str:
        return f"{self.id}: {self.message}"


def promises(records: Sequence[Record], questions: Sequence[Question] = ()) -> list[LintWarning]:
    """What is wrong in the records and questions themselves; of nothing but them, so that a page can show it.

    What imported records lack is said of all of them together.
    """
    known = {record.id: record for record in records}
    today = max((record.date for record in records), default="")[:10]
    warnings = []
    for record in records:
        warnings += [LintWarning(record.id, message) for message in _record_messages(record, known, today)]
    warnings += _twice("study", [(record.id, study) for record in records for study in record.studies])
    warnings += _twice(
        "alias", [(record.id, record.field_text("alias")) for record in records if record.field_text("alias")]
    )
    warnings += [LintWarning(IMPORTED, message) for message in _lacking_of_imported(records)]
    for question in questions:
        warnings += [LintWarning(question.id, message) for message in _question_messages(question, known)]
    return warnings


def _twice(key: str, uses: Sequence[tuple[str, str]]) -> list[LintWarning]:
    counts = Counter(value for _, value in uses)
    return [
        LintWarning(record_id, f"its {key} {value!r} is another record's too")
        for record_id, value in uses
        if counts[value] > 1
    ]


def _lacking_of_imported(records: Sequence[Record]) -> Iterator[str]:
    """A line for each kind of thing that records from a file kept by hand do not say."""
    by_hand = [record for record in records if record.is_imported_by_hand]
    causes = [record.id for record in by_hand if record.section("Root cause") and "confidence" not in record.person]
    if causes:
        command = f"hpo ledger set ID confidence {'|'.join(CONFIDENCE)}"
        yield f"a root cause without its confidence in {first_words(causes, SHOWN)}: {command}"
    failures = [record.id for record in by_hand if lacking(record, record.status)]
    if failures:
        failed = first_words(failures, SHOWN)
        yield f"failed, with neither a problem nor a lesson: {failed}: hpo ledger note ID problem TEXT"


def _question_messages(question: Question, known: Mapping[str, Record]) -> Iterator[str]:
    for hypothesis in question.hypotheses:
        if hypothesis.state not in STATES:
            yield f"the state of a hypothesis must be {', '.join(STATES)}; got {hypothesis.state!r}"
        elif hypothesis.state != STATES[0] and not hypothesis.evidence and not question.imported:
            yield f"{hypothesis.state}, and no evidence is given: {hypothesis.text}"
        for evidence in hypothesis.evidence:
            if _is_id(evidence) and evidence not in known:
                yield f"its evidence {evidence!r} is not in the ledger"


def _record_messages(record: Record, known: Mapping[str, Record], today: str) -> Iterator[str]:
    yield from _fields(record)
    yield from _course(record)
    if not record.is_imported_by_hand:
        yield from (requirement.sentence for requirement in lacking(record, record.status))
    yield from _relations(record, known)
    yield from _progress(record, today)
    yield from _cause(record, known)
    yield from _prose(record)


def _relations(record: Record, known: Mapping[str, Record]) -> Iterator[str]:
    """What is wrong with the records that it names."""
    for key in ("parent", "superseded_by"):
        record_id = record.field_text(key)
        if record_id and record_id not in known:
            yield f"its {key} {record_id!r} is not in the ledger"
    if record.person.get("superseded_by") and record.person.get("alias"):
        yield f"superseded, but still holds the alias {record.person['alias']!r}"
    if _is_own_ancestor(record, known):
        yield "it is its own ancestor"


def _progress(record: Record, today: str) -> Iterator[str]:
    """Where the status is not what the study, the text or the calendar says."""
    if record.study and record.status == "wip" and record.part("study").get("state", "none") == "none":
        yield f"wip, but nothing of its study {record.study} has been run"
    if re.search(r"(?i)\bnot (yet )?started\b", record.prose) and record.status != "planned":
        yield f"its text says not started, but its status is {record.status}"
    if record.status == "planned" and not record.is_superseded and _days(record.date, today) > PATIENCE_DAYS:
        yield f"planned since {record.date[:10]}: begin it, or say why not"


def _prose(record: Record) -> Iterator[str]:
    """What is wrong with the text and its headings."""
    if MERGE.search(record.prose):
        yield "its text has an unresolved merge"
    counts = Counter(headings(record.prose))
    for heading, times in counts.items():
        if times > 1:
            yield f"the heading {heading!r} stands twice; the second is not read"
    if record.part("imported"):
        return  # it has headings of its own
    for heading in HEADINGS:
        if heading not in counts:
            yield f"no heading {heading!r} (is a ``` left open?)"
    for heading in counts:
        if heading not in HEADINGS:
            yield f"the heading {heading!r} is none of the ledger's{nearest(heading, list(HEADINGS))}"


def _fields(record: Record) -> Iterator[str]:
    for key, value in record.person.items():
        if key not in FIELDS:
            yield f"there is no field {key!r}{nearest(key, list(FIELDS))}"
        elif key in SEVERAL and isinstance(value, list) and all(type(name) is str for name in value):
            continue  # several
        elif type(value) is not FIELDS[key]:
            yield f"{key} must be a {FIELDS[key].__name__}; got {value!r}"
    if record.person.get("confidence", CONFIDENCE[0]) not in CONFIDENCE:
        yield f"confidence must be {' or '.join(CONFIDENCE)}; got {record.person['confidence']!r}"
    if not record.title.strip():
        yield f"it has no title: hpo ledger set {record.id} title TEXT"


def _course(record: Record) -> Iterator[str]:
    """The history must lead to the status, one legal step after the other."""
    steps = [str(event["to"]) for event in record.history]
    begins_well = steps[:1] == ["planned"] or bool(record.part("imported"))
    if not begins_well or steps[-1:] != [record.status]:
        yield f"its history, {' -> '.join(steps) or 'empty'}, does not lead from planned to {record.status}"
    for before, after in pairwise(steps):
        if after not in NEXT.get(before, ()):
            yield f"its history says {before} -> {after}, which is not allowed"


def _cause(record: Record, known: Mapping[str, Record]) -> Iterator[str]:
    cause, confidence = record.section("Root cause"), record.person.get("confidence")
    if cause and not confidence and not record.is_imported_by_hand:
        yield f"a root cause without its confidence: hpo ledger set {record.id} confidence {'|'.join(CONFIDENCE)}"
    named = set(re.findall(r"v\d+\.\d+_[a-z0-9_-]*[a-z0-9]", cause)) & known.keys() - {record.id}
    if confidence == "confirmed" and not named and not re.search(r"\b(trial |#)\d+", cause):
        yield "a confirmed root cause must name its evidence: an experiment's id, or a trial"


def _is_own_ancestor(record: Record, known: Mapping[str, Record]) -> bool:
    visited: set[str] = set()
    ancestor = record.field_text("parent")
    while ancestor in known and ancestor not in visited and ancestor != record.id:
        visited.add(ancestor)
        ancestor = known[ancestor].field_text("parent")
    return ancestor == record.id


def _days(before: str, after: str) -> int:
    try:
        return (datetime.date.fromisoformat(after[:10]) - datetime.date.fromisoformat(before[:10])).days
    except ValueError:
        return 0


# -- beside the records ----------------------------------------------------------------------------------------------
def surroundings(folder: Path, records: Sequence[Record], runs: Path) -> list[LintWarning]:
    """What the records say of files that are here, and is not so. Studies that are not on this machine are passed
    over."""
    warnings = [
        LintWarning(path.name, "is not named as an experiment, and is not read")
        for path in sorted(folder.glob("*.md"))
        if not (_is_id(path.stem) or is_question(path.stem) or path.name.startswith(NOTES))
    ]
    broken = {record.id: [link for link in _links(record.prose) if not (folder / link).exists()] for record in records}
    for record in records:
        if broken[record.id] and not record.is_imported_by_hand:
            warnings += [LintWarning(record.id, f"links to {link}, which is not there") for link in broken[record.id]]
        for study in record.studies:
            if (runs / study).is_dir():
                warnings += [LintWarning(record.id, message) for message in _study(record, study, runs)]
    old = [
        f"{record.id} ({first_words(broken[record.id], SHOWN)})"
        for record in records
        if broken[record.id] and record.is_imported_by_hand
    ]
    return (
        [*warnings, LintWarning(IMPORTED, f"links to files that are not there: {first_words(old, SHOWN)}")]
        if old
        else warnings
    )


def _study(record: Record, study: str, runs: Path) -> Iterator[str]:
    from hpo.ledger.harvest import further, harvest  # needs torch and Optuna, which the records themselves do not
    from hpo.storage.folder import RunFolder

    if study == record.study:
        yield from _weights(record, runs)
    try:
        block = harvest(RunFolder(runs / study))
    except Refused:
        return  # nothing of it has been run
    recorded = {key: value for key, value in record.kept.items() if key not in (*OWN, "further")}
    if block and study == record.study and block != recorded:
        yield "its study says something else now: hpo ledger sync"
    if block and study != record.study and further(block) != record.part("further").get(study):
        yield f"its study {study} says something else now: hpo ledger sync"


def _weights(record: Record, runs: Path) -> Iterator[str]:
    winner = record.part("winner")
    weights = runs / record.study / str(winner.get("weights", ""))
    if winner and not weights.is_file():
        yield f"its winner's weights are not there: {weights}"
    elif winner and hashlib.sha256(weights.read_bytes()).hexdigest() != winner.get("sha256"):
        yield f"{weights} are not the weights that were recorded: their sha256 differs"


def _links(prose: str) -> list[str]:
    """Relative targets of Markdown links, without their anchors."""
    targets = re.findall(r"\]\(<?([^)\s>#]+)", prose)
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:|/", target, re.IGNORECASE)]


def _is_id(stem: str) -> bool:
    try:
        return name_of(stem).id == stem
    except Refused:
        return False
