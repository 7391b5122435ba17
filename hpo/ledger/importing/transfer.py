"""What a file holds, beside what is in the ledger: all that would be written is known before anything is."""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from hpo.errors import Refused
from hpo.files import check_encoding, write_whole
from hpo.ledger.folder import NOTES, Ledger
from hpo.ledger.importing.building import (
    Origin,
    has_status,
    new_id,
    notes_of,
    question_of,
    question_text,
    record_of,
)
from hpo.ledger.importing.dashboard import Row, by_name, rows_of
from hpo.ledger.importing.document import Document, Item, Note, legend, place, read_document
from hpo.ledger.importing.passages import passages_of
from hpo.ledger.importing.text import Source
from hpo.ledger.name import variant_of
from hpo.ledger.prose import WRITTEN_BY_HPO
from hpo.ledger.question import Question
from hpo.ledger.record import Record
from hpo.plain import fingerprint


@dataclass(frozen=True)
class Difference:
    """Something that is in the ledger already, with another text than in the file."""

    id: str
    name: str
    lines: str

    def __str__(self) -> str:
        return f"{self.id} ({self.name}) says something else than {self.lines}"


@dataclass(frozen=True)
class Transfer:
    """What an import would write, what it leaves as it is, and what a person should look at."""

    records: tuple[Record, ...]
    questions: tuple[Question, ...]
    notes: Mapping[str, str]  # file name -> text
    known: tuple[str, ...]  # what was imported before, by id or file name
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...]


def transfer(ledger: Ledger, source: Source, at: str) -> Transfer:
    """What comes of a file beside what is in the ledger. Writes nothing. `at` is when plans enter the ledger."""
    check_encoding("the file", source.path)
    if source.text.lstrip().startswith(WRITTEN_BY_HPO):
        raise Refused(f"{source.path} was written by hpo ledger page, from records that are there already")
    document = read_document(source.text)
    rows = [row for note in document.notes for row in rows_of(note, legend(source.text))]
    if not document.experiments:
        document = replace(document, experiments=tuple(row.item for row in rows if row.status))
    if not (document.experiments or document.plans or document.questions):
        raise Refused(
            f"no experiment was recognized in {source.path}; each must have a heading with a status mark or word, as "
            f"'### d2: Masks ✓ SUCCESS', or stand below a heading as '## Experiments'"
        )
    origin = Origin(source.path.name, _lead(source.path, ledger.path), source.text)
    items = _marked((*document.experiments, *document.plans))
    is_begun = ledger.path.is_dir()
    named = by_name(rows)
    records = _records(ledger.records() if is_begun else (), items, named, at, origin)
    questions = _questions(ledger.questions() if is_begun else (), _marked(document.questions), origin)
    notes = _notes(ledger, document.notes, origin)
    return Transfer(
        records.new,
        questions.new,
        notes.new,
        records.known + questions.known + notes.known,
        records.differences + questions.differences + notes.differences,
        (*_repairs(source), *_without_status(items, named), *_without_name(items, named), *_not_understood(document)),
    )


def write(ledger: Ledger, new: Transfer) -> None:
    """Write what is new. Under the lock. What is written before a failure is known to the next import."""
    for record in new.records:
        ledger.write(record)
    for question in new.questions:
        ledger.write_question(question)
    for name, text in new.notes.items():
        write_whole(ledger.path / name, text.encode())


def _lead(file: Path, ledger: Path) -> str:
    """From the folder of records to the file's; of a file outside of the project, to where that folder lies."""
    folder, project = file.resolve().parent, ledger.resolve().parent
    return os.path.relpath(folder, ledger.resolve()) if folder.is_relative_to(project) else ".."


def _marked(items: Sequence[Item]) -> dict[str, Item]:
    """The items by a fingerprint of what they say; two that say the same have two."""
    times: Counter[str] = Counter()
    marked = {}
    for item in items:
        text = f"{item.written}\n{item.text.strip()}"
        times[text] += 1
        marked[fingerprint([text, times[text]])] = item
    return marked


# -- records, questions, notes ---------------------------------------------------------------------------------------
New = TypeVar("New")


@dataclass(frozen=True)
class _Sorted(Generic[New]):
    new: New
    known: tuple[str, ...]
    differences: tuple[Difference, ...]


def _records(
    existing: Sequence[Record], items: Mapping[str, Item], rows: Mapping[str, Sequence[Row]], at: str, origin: Origin
) -> _Sorted[tuple[Record, ...]]:
    imported = {str(record.part("imported").get("text")): record for record in existing}
    known = {mark: imported[mark] for mark in items if mark in imported}
    known_ids = {record.id for record in known.values()}
    by_name = {name: record for record in existing if record.id not in known_ids for name in _names(record)}
    taken = {record.id for record in existing}
    new, differences = [], []
    for mark, item in items.items():
        if mark in known:
            continue
        if other := by_name.get(item.heading.name.casefold()):
            differences.append(Difference(other.id, item.heading.name, item.place))
            continue
        record_id = new_id(item, taken)
        taken.add(record_id)
        new.append(record_of(item, record_id, mark, _rows(item, rows), at, origin))
    ids = {name: record.id for record in (*existing, *new) for name in _names(record)}
    related = tuple(_related(record, items[str(record.part("imported")["text"])], ids) for record in new)
    return _Sorted(related, tuple(sorted(known_ids)), tuple(differences))


def _names(record: Record) -> list[str]:
    """What a record may be called, in lower case."""
    names = (record.id, record.name, record.legacy_name.casefold())
    return [name for name in names if name]


def _rows(item: Item, rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The rows that name an experiment, by its name or by its title."""
    names = dict.fromkeys((item.heading.name.casefold(), item.heading.title.casefold()))
    return [row for name in names if name for row in rows.get(name, ())]


def _related(record: Record, item: Item, ids: Mapping[str, str]) -> Record:
    """With the records that it says it builds on, and that it is superseded by."""
    bases = [passage.text for passage in passages_of(item.text) if passage.key in ("parent", "base", "based on")]
    named = {
        "superseded_by": re.search(r"(?i)\b(?:superseded|replaced) by\s+[`*\[]*([\w.-]*\w)", item.text),
        "parent": re.match(r"[`*\[]*([\w.-]*\w)", next(iter(bases), "")),
    }
    for key, match in named.items():
        other = ids.get(match[1].casefold()) if match else None
        if other and other != record.id:
            record = record.with_field(key, other)
    return record


def _questions(
    existing: Sequence[Question], items: Mapping[str, Item], origin: Origin
) -> _Sorted[tuple[Question, ...]]:
    imported = {str(question.imported.get("text")): question for question in existing}
    by_text = {question.text.casefold(): question for question in existing}
    first = max((question.number for question in existing), default=0) + 1
    new: list[Question] = []
    differences = []
    for mark, item in items.items():
        other = by_text.get(question_text(item).casefold())
        if mark in imported:
            continue
        if other and other.imported.get("text") not in items:
            differences.append(Difference(other.id, other.text, item.place))
        else:
            new.append(question_of(item, f"q{first + len(new)}", mark, origin))
    known = tuple(imported[mark].id for mark in items if mark in imported)
    return _Sorted(tuple(new), known, tuple(differences))


def _notes(ledger: Ledger, notes: Sequence[Note], origin: Origin) -> _Sorted[Mapping[str, str]]:
    if not notes:
        return _Sorted({}, (), ())
    name = f"{NOTES}{variant_of(Path(origin.file).stem)}.md"
    text = notes_of(notes, origin, fingerprint([note.text for note in notes]))
    path = ledger.path / name
    if not path.exists():
        return _Sorted({name: text}, (), ())
    head = path.read_text(errors="replace").partition("\n")[0]
    if head == text.partition("\n")[0]:
        return _Sorted({}, (name,), ())
    return _Sorted({}, (), (Difference(name, "notes", f"the notes of {origin.file}"),))


# -- what a person should look at ------------------------------------------------------------------------------------
def _repairs(source: Source) -> Iterator[str]:
    if source.repairs:
        first = source.repairs[0]
        yield (
            f"{len(source.repairs)} mangled characters were repaired, the first in line {first.line}: "
            f"{first.mangled} -> {first.repaired}"
        )


def _without_status(items: Mapping[str, Item], rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    for item in items.values():
        if not has_status(item, _rows(item, rows)):
            yield f"{item.place}: {item.heading.name!r} has no status; its record says analysis, which is not judged"


def _without_name(items: Mapping[str, Item], rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Rows that name no experiment, of a table whose other rows do."""
    of_experiments = {row for item in items.values() for row in _rows(item, rows)}
    tables = {row.table for row in of_experiments}
    for row in sorted((row for same in rows.values() for row in same), key=lambda row: row.line):
        if row.table in tables and row not in of_experiments:
            yield f"line {row.line}: {row.name!r} of the table is the name of no experiment"


def _not_understood(document: Document) -> Iterator[str]:
    for note in document.notes:
        if not note.is_expected:
            words = textwrap.shorten(note.text, 60, placeholder=" …")
            yield f"{place(note.start, note.end)}: not understood, kept as a note: {words}"
