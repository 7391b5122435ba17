"""EXPERIMENTS.md, for whoever reads the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from hpo.formatting import count
from hpo.ledger.dashboard import MARKS, MEANING, MISSING, Column, cells, rankings
from hpo.ledger.lint import promises
from hpo.ledger.name import STATUSES
from hpo.ledger.prose import WRITTEN_BY_HPO, led
from hpo.ledger.question import Question
from hpo.ledger.reading import (
    facts,
    files,
    last_change,
    newest_first,
    open_first,
    plan,
    planned,
    prose,
    questions,
    remaining,
)
from hpo.ledger.record import Record


def markdown(
    records: Sequence[Record], folder: str, runs: str, asked: Sequence[Question] = (), notes: Sequence[str] = ()
) -> str:
    """The ledger's page in Markdown. `folder` and `runs` lead from it to the records and the studies."""
    return "\n".join(_lines(records, folder, runs, asked, notes)) + "\n"


def _lines(
    records: Sequence[Record], folder: str, runs: str, asked: Sequence[Question], notes: Sequence[str]
) -> Iterator[str]:
    yield f"{WRITTEN_BY_HPO} from the records. Edit those, not this. -->\n"
    yield f"# Experiments\n\n{count(len(records), 'experiment')}, the last change on {last_change(records)}.\n"
    yield from (f"- {MARKS[status]} **{status}**: {MEANING[status]}" for status in STATUSES)
    yield f"\n{MISSING}\n\n## Dashboard\n"
    for ranking in rankings(records):
        yield f"**{literal(ranking.title)}**\n\n{_row(list(Column))}\n{_row(['---'] * len(Column))}"
        yield from (_dashboard_row(record, folder) for record in ranking.rows)
        yield ""
    yield "## Records\n"
    for record in newest_first(records):
        yield from _record(record, folder, runs)
    yield "## Open questions\n"
    for question in open_first(asked):
        yield from _question(question, folder)
    in_records = [f"- {literal(text)} ({_link(record, folder)})" for text, record in questions(records)]
    yield from in_records or ([] if asked else ["None."])
    yield "\n## Next experiments\n"
    plans = [
        f"{number}. {_link(record, folder)}: {literal(plan(record))}"
        for number, record in enumerate(planned(records), 1)
    ]
    yield from plans or ["None planned."]
    if notes:
        yield "\n## Notes\n"
        yield from (f"- [{literal(name)}]({quote(f'{folder}/{name}')})" for name in notes)
    warnings = promises(records, asked)
    if warnings:
        yield "\n## What the records do not keep\n"
        yield from (f"- {literal(str(warning))}" for warning in warnings)


def _question(question: Question, folder: str) -> Iterator[str]:
    yield f"- [{question.id}]({folder}/{question.id}.md) **{question.status}**: {literal(question.text)}"
    yield from (f"  - {literal(str(hypothesis))}" for hypothesis in question.hypotheses)
    for heading in remaining(question):
        yield f"  - {literal(heading)}: {literal(led(question.section(heading), folder))}"


def _link(record: Record, folder: str) -> str:
    return f"[{record.id}]({folder}/{record.id}.md)"


def _dashboard_row(record: Record, folder: str) -> str:
    texts = {column: literal(text) for column, text in cells(record).items()}
    return _row([*(texts | {Column.EXPERIMENT: _link(record, folder)}).values()])


def _record(record: Record, folder: str, runs: str) -> Iterator[str]:
    name = record.name.replace("_", r"\_")
    title = f": {literal(record.title)}" if record.title else ""
    yield f"### {name}\n"
    yield f"{MARKS[record.status]} **{record.status}**{title}\n"
    yield from (f"- {literal(key)}: {literal(value)}" for key, value in facts(record))
    links = [f"[{literal(name)}]({url})" for name, url in files(record, runs).items()]
    if links:
        yield f"- files: {', '.join(links)}"
    yield ""
    for heading, text in prose(record, folder):  # quoted: no heading, table or fence of it reaches beyond
        yield f"**{literal(heading)}**\n"
        yield "\n".join(f"> {line}".rstrip() for line in _no_tags(text).split("\n")) + "\n"


def literal(text: str) -> str:
    """The text in one line, with no sign that means something to Markdown."""
    return re.sub(r"([\\`*\[\]<>|~&!#]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))


def _no_tags(text: str) -> str:
    """Markdown without HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
