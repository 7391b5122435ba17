"""The rows of a dashboard, for the experiments that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpo.ledger.importing.document import Note
from hpo.ledger.importing.marks import status_of
from hpo.ledger.importing.outline import parse, plain


@dataclass(frozen=True)
class Row:
    """A row of a table, with the table's head so that it can stand alone."""

    name: str  # in its first cell
    line: int  # counted from 1
    table: int  # the line of its head
    text: str
    status: str  # in its column for it; empty where there is none


def rows_of(note: Note, marks: Mapping[str, str]) -> Iterator[Row]:
    """The rows of all tables in a note."""
    lines = note.text.split("\n")
    for token in parse(note.text):
        if token.type == "table_open" and token.level == 0 and token.map:
            first, end = token.map
            head = [plain(cell).casefold() for cell in cells(lines[first])]
            for number in range(first + 2, end):
                row = cells(lines[number])
                stated = [status_of(cell, marks) for name, cell in zip(head, row, strict=False) if name == "status"]
                text = "\n".join((lines[first], lines[first + 1], lines[number]))
                status = next(iter(stated), "")
                yield Row(_name(row[0], marks), note.start + number, note.start + first, text, status)


def cells(row: str) -> list[str]:
    """The cells of a table's row, as written."""
    return re.split(r"(?<!\\)\|", row.strip().removeprefix("|").removesuffix("|"))


def by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by the names in lower case."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(row.name.casefold(), []).append(row)
    return named


def _name(cell: str, marks: Mapping[str, str]) -> str:
    without_marks = "".join(sign for sign in cell if sign not in marks and sign != "\ufe0f")
    return plain(without_marks).strip()
