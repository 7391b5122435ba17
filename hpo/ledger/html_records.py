"""The records as a section of EXPERIMENTS.html."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markupsafe import Markup

from hpo.ledger.html_dashboard import status_badge
from hpo.ledger.reading import facts, files, prose
from hpo.ledger.record import Record
from hpo.ledger.verdicts import proposed
from hpo.page.views import Badge, Cell, Section, Table, table


@dataclass(frozen=True)
class Passage:
    """What a person wrote under a heading."""

    heading: str
    text: Markup


@dataclass(frozen=True)
class FileLink:
    """A file that there is to read."""

    name: str
    url: str


@dataclass(frozen=True)
class Article:
    """One record."""

    id: str
    badge: Badge
    title: str
    judgement: str  # the verdict; before a person has concluded, also what the harness would say
    passages: tuple[Passage, ...]
    files: tuple[FileLink, ...]
    facts: Table


@dataclass(frozen=True, kw_only=True)
class RecordsSection(Section):
    """What each record says."""

    name: ClassVar[str] = "records"
    title: ClassVar[str] = "Records"
    template: ClassVar[str] = "ledger/records.html.j2"
    articles: tuple[Article, ...]


def article(record: Record, folder: str, runs: str) -> Article:
    """What the page says of a record. `folder` and `runs` lead from the page to the records and the studies."""
    links = {"record": quote(f"{folder}/{record.id}.md"), **files(record, runs)}
    rows = [[Cell(fact), Cell(text, "words")] for fact, text in facts(record)]
    return Article(
        id=record.id,
        badge=status_badge(record.status),
        title=record.label,
        judgement=_judgement(record),
        passages=tuple(Passage(heading, rendered(text)) for heading, text in prose(record, folder)),
        files=tuple(FileLink(name, url) for name, url in links.items()),
        facts=table(("Fact", "Recorded"), rows, name=f"Facts of {record.id}"),
    )


def _judgement(record: Record) -> str:
    sentence = record.part("promotion").get("sentence")
    if not sentence:
        return ""
    proposal = f" The harness would say: {proposed(record)}." if record.status == "analysis" else ""
    return f"{sentence}{proposal}"


def rendered(text: str) -> Markup:
    """A person's Markdown as HTML. The parser escapes HTML in it and refuses links that run scripts."""
    return Markup(_PARSER.render(text))


def _parser() -> MarkdownIt:
    """Markdown without HTML and without pictures, whose headings stay below the page's."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.core.ruler.push("headings", _lower_headings)
    return parser


def _lower_headings(state: StateCore) -> None:
    for token in state.tokens:
        if token.type.startswith("heading_"):
            token.tag = "h5"


_PARSER = _parser()
