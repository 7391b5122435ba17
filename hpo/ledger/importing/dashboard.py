"""The rows of a dashboard, for the experiments that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hpo.ledger.importing.document import Item, Kind, Note
from hpo.ledger.importing.marks import heading_of, status_of
from hpo.ledger.importing.outline import parse, plain, row_cells


@dataclass(frozen=True)
class Row:
    """A row of a table, with the table's head so that it can stand alone."""

    name: str  # in its first cell
    line: int  # counted from 1
    table: int  # the line of its head
    text: str
    status: str  # in its column for it; empty where there is none
    cells: tuple[str, ...]  # as written, each behind the head of its column: `**Result:** 0.1`

    @property
    def item(self) -> Item:
        """The row as an experiment, for a file that has its experiments in a table alone."""
        heading = replace(heading_of(self.name), status=self.status)
        return Item(Kind.EXPERIMENT, self.text.split("\n")[-1], heading, "\n".join(self.cells), self.line, self.line)


def rows_of(note: Note, marks: Mapping[str, str]) -> Iterator[Row]:
    """The rows of all tables in a note."""
    lines = note.text.split("\n")
    for token in parse(note.text):
        if token.type == "table_open" and token.level == 0 and token.map:
            first, end = token.map
            head = [plain(cell) for cell in row_cells(lines[first])]
            for number in range(first + 2, end):
                row = row_cells(lines[number])
                named = list(zip(head, row, strict=False))
                stated = [status_of(cell, marks) for name, cell in named if name.casefold() == "status"]
                labelled = tuple(f"**{name}:** {cell.strip()}" for name, cell in named[1:] if name and cell.strip())
                text = "\n".join((lines[first], lines[first + 1], lines[number]))
                status = next(iter(stated), "")
                yield Row(_name(row[0], marks), note.start + number, note.start + first, text, status, labelled)


def by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by the names in lower case."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(row.name.casefold(), []).append(row)
    return named


def _name(cell: str, marks: Mapping[str, str]) -> str:
    without_marks = "".join(sign for sign in cell if sign not in marks and sign != "\ufe0f")
    return plain(without_marks).strip()
