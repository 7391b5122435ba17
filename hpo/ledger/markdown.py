"""EXPERIMENTS.md, for whoever reads the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hpo.formatting import count
from hpo.ledger.lint import promises
from hpo.ledger.reading import (
    HEADS,
    MARKS,
    MEANING,
    MISSING,
    cells,
    facts,
    files,
    last_change,
    newest_first,
    plan,
    planned,
    prose,
    questions,
    rankings,
)
from hpo.ledger.record import STATUSES, Record


def markdown(records: Sequence[Record], folder: str, runs: str) -> str:
    return "\n".join(_lines(records, folder, runs)) + "\n"


def _lines(records: Sequence[Record], folder: str, runs: str) -> Iterator[str]:
    yield "<!-- Written by `hpo ledger page` from the records. Edit those, not this. -->\n"
    yield f"# Experiments\n\n{count(len(records), 'experiment')}, the last change on {last_change(records)}.\n"
    yield from (f"- {MARKS[status]} **{status}**: {MEANING[status]}" for status in STATUSES)
    yield f"\n{MISSING}\n\n## Dashboard\n"
    for ranking in rankings(records):
        yield f"**{literal(ranking.title)}**\n\n{_row(HEADS)}\n{_row(['---'] * len(HEADS))}"
        yield from (_row([f"[{one.id}]({folder}/{one.id}.md)", *map(literal, cells(one)[1:])]) for one in ranking.rows)
        yield ""
    yield "## Records\n"
    for record in newest_first(records):
        yield from _record(record, folder, runs)
    yield "## Open questions\n"
    yield from (
        [f"- {literal(text)} ([{one.id}]({folder}/{one.id}.md))" for text, one in questions(records)] or ["None."]
    )
    yield "\n## Next experiments\n"
    yield from (
        [
            f"{number}. [{one.id}]({folder}/{one.id}.md): {literal(plan(one))}"
            for number, one in enumerate(planned(records), 1)
        ]
        or ["None planned."]
    )
    if warnings := promises(records):
        yield "\n## What the records do not keep\n"
        yield from (f"- {literal(str(one))}" for one in warnings)


def _record(record: Record, folder: str, runs: str) -> Iterator[str]:
    yield f"### {record.name.replace('_', chr(92) + '_')}\n"
    yield f"{MARKS[record.status]} **{record.status}**" + (f": {literal(record.title)}" if record.title else "") + "\n"
    yield from (f"- {literal(key)}: {literal(value)}" for key, value in facts(record))
    if found := files(record, runs):
        yield "- files: " + ", ".join(f"[{literal(name)}]({path})" for name, path in found.items())
    yield ""
    for heading, text in prose(record, folder):  # quoted: no heading, table or fence of it reaches beyond
        yield f"**{heading}**\n"
        yield "\n".join(f"> {line}".rstrip() for line in _no_tags(text).split("\n")) + "\n"


def literal(text: str) -> str:
    """The text in one line, with no sign that means something to Markdown."""
    return re.sub(r"([\\`*\[\]<>|~&!#]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def _no_tags(text: str) -> str:
    """Markdown without HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
