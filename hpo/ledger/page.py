"""EXPERIMENTS.html: the dashboard, the records, open questions and what to run next, as one file in the report's style
that asks for no other one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markupsafe import Markup

from hpo.formatting import count
from hpo.ledger.lint import promises
from hpo.ledger.markdown import markdown
from hpo.ledger.name import STATUSES
from hpo.ledger.prose import led
from hpo.ledger.question import Hypothesis, Question
from hpo.ledger.reading import (
    MEANING,
    MISSING,
    Column,
    Ranking,
    cells,
    facts,
    files,
    interval_of,
    last_change,
    newest_first,
    open_first,
    plan,
    planned,
    prose,
    questions,
    rankings,
    remaining,
)
from hpo.ledger.record import Record
from hpo.ledger.verdicts import proposed
from hpo.page.palette import COLOURS
from hpo.page.rendering import render_page
from hpo.page.views import Anchor, Badge, Cell, Lines, Section, Table, Whisker, table
from hpo.promotion.intervals import Interval

BADGES = {
    "planned": "skip",
    "wip": "open",
    "analysis": "caution",
    "success": "go",
    "failed": "no-go",
}
ANSWER_BADGES = {"open": "open", "answered": "go"}
STATE_BADGES = {"open": "open", "supported": "go", "refuted": "no-go"}
LEADS = {
    Column.LEAD_OVER_DEFAULT: "lead_over_default",
    Column.LEAD_OVER_BASELINE: "lead_over_baseline",
}


def pages(
    records: Sequence[Record], folder: str, runs: str, asked: Sequence[Question] = (), notes: Sequence[str] = ()
) -> dict[str, str]:
    """Both pages by name. `folder` and `runs` lead from them to the records and the studies."""
    return {
        "EXPERIMENTS.md": markdown(records, folder, runs, asked, notes),
        "EXPERIMENTS.html": html(records, folder, runs, asked, notes),
    }


def html(
    records: Sequence[Record], folder: str, runs: str, asked: Sequence[Question] = (), notes: Sequence[str] = ()
) -> str:
    """The ledger's page in HTML."""
    return render_page(
        "hpo.ledger",
        "experiments.html.j2",
        title="Experiments",
        colours=COLOURS,
        summary=f"{count(len(records), 'experiment')}, the last change on {last_change(records)}.",
        tiles=[_status_tile(status, records) for status in STATUSES],
        sections=_sections(records, folder, runs, asked, notes),
        palette={"dark": {}, "template": {}},  # there are no figures
        plotly="",
    )


@dataclass(frozen=True)
class StatusTile:
    """How many experiments have a status."""

    badge: Badge
    experiments: int
    meaning: str


def _status_tile(status: str, records: Sequence[Record]) -> StatusTile:
    return StatusTile(_badge(status), sum(record.status == status for record in records), MEANING[status])


def _badge(status: str) -> Badge:
    return Badge(BADGES[status], status)


def _sections(
    records: Sequence[Record], folder: str, runs: str, asked: Sequence[Question], notes: Sequence[str]
) -> list[Section]:
    lead = f"Only results of one goal, on the same data at the same fidelity, stand in one table. {MISSING}"
    sections = [
        DashboardSection(lead=lead, rankings=tuple(_ranking(ranking) for ranking in rankings(records))),
        RecordsSection(
            lead="The newest first.",
            articles=tuple(_article(record, folder, runs) for record in newest_first(records)),
        ),
        QuestionsSection(
            lead="What the experiments have left open.",
            asked=tuple(_question(question, folder) for question in open_first(asked)),
            questions=tuple(Entry(record.id, " ".join(text.split())) for text, record in questions(records)),
        ),
        PlansSection(
            lead="What is planned, the most urgent first.",
            plans=tuple(Entry(record.id, plan(record)) for record in planned(records)),
        ),
    ]
    if notes:
        links = tuple(FileLink(name, quote(f"{folder}/{name}")) for name in notes)
        sections.append(NotesSection(lead="What belongs to no experiment.", notes=links))
    warnings = tuple(str(warning) for warning in promises(records, asked))
    if warnings:
        sections.append(WarningsSection(lead="What the records promise and do not keep.", warnings=warnings))
    return sections


# -- dashboard -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class RankingView:
    """A table of experiments that may be compared."""

    title: str
    table: Table


@dataclass(frozen=True, kw_only=True)
class DashboardSection(Section):
    """All experiments, those that may be compared in one table."""

    name: ClassVar[str] = "dashboard"
    title: ClassVar[str] = "Dashboard"
    template: ClassVar[str] = "ledger/dashboard.html.j2"
    rankings: tuple[RankingView, ...]


def _ranking(ranking: Ranking) -> RankingView:
    leads = {
        column: [interval_of(record.part("promotion").get(key)) for record in ranking.rows]
        for column, key in LEADS.items()
    }
    rows = []
    for number, record in enumerate(ranking.rows):
        whiskers = {column: _whisker(column_leads[number], column_leads) for column, column_leads in leads.items()}
        rows.append([_dashboard_cell(record, column, text, whiskers) for column, text in cells(record).items()])
    numbers = [column for column in Column if column.holds_numbers]
    return RankingView(ranking.title, table(list(Column), rows, name=ranking.title, numbers=numbers))


def _dashboard_cell(record: Record, column: Column, text: str, whiskers: dict[Column, Whisker | None]) -> Cell:
    if column is Column.EXPERIMENT:
        return Cell(Anchor(record.id))
    if column is Column.STATUS:
        return Cell(_badge(record.status), "name")
    lines = re.split(r" (?=\()", text)  # a baseline's name stands below its figures
    if column is Column.TRIALS:
        lines = [line for part in lines for line in re.split(r"(?<=,) ", part)]
    return Cell(Lines(tuple(lines), whiskers.get(column)), "num" if column.holds_numbers else "name")


def _whisker(lead: Interval | None, leads: Sequence[Interval | None]) -> Whisker | None:
    """A lead and its range beside zero, on a scale that all leads of its column fit in."""
    reach = max((max(-known.low, known.high) for known in leads if known), default=0.0)
    if lead is None or not 0 < reach < float("inf"):
        return None
    low, mean, high = (60 + 55 * value / reach for value in (lead.low, lead.mean, lead.high))
    colour = "soft"
    if lead.low > 0:
        colour = "good"
    elif lead.high < 0:
        colour = "bad"
    return Whisker(low, mean, high, colour)


# -- records ---------------------------------------------------------------------------------------------------------
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


def _article(record: Record, folder: str, runs: str) -> Article:
    links = {"record": quote(f"{folder}/{record.id}.md"), **files(record, runs)}
    rows = [[Cell(fact), Cell(text, "words")] for fact, text in facts(record)]
    return Article(
        id=record.id,
        badge=_badge(record.status),
        title=record.label,
        judgement=_judgement(record),
        passages=tuple(Passage(heading, _rendered(text)) for heading, text in prose(record, folder)),
        files=tuple(FileLink(name, url) for name, url in links.items()),
        facts=table(("Fact", "Recorded"), rows, name=f"Facts of {record.id}"),
    )


def _judgement(record: Record) -> str:
    sentence = record.part("promotion").get("sentence")
    if not sentence:
        return ""
    proposal = f" The harness would say: {proposed(record)}." if record.status == "analysis" else ""
    return f"{sentence}{proposal}"


def _rendered(text: str) -> Markup:
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


# -- questions, plans, warnings --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Entry:
    """A line about an experiment."""

    id: str
    text: str


@dataclass(frozen=True)
class HypothesisView:
    """What might answer a question, and what became of it."""

    badge: Badge
    text: str
    evidence: str


@dataclass(frozen=True)
class QuestionView:
    """An open question with its hypotheses."""

    id: str
    badge: Badge
    text: str
    url: str
    hypotheses: tuple[HypothesisView, ...]
    passages: tuple[Passage, ...]


@dataclass(frozen=True, kw_only=True)
class QuestionsSection(Section):
    """Open questions of all records."""

    name: ClassVar[str] = "questions"
    title: ClassVar[str] = "Open questions"
    template: ClassVar[str] = "ledger/questions.html.j2"
    asked: tuple[QuestionView, ...]
    questions: tuple[Entry, ...]


def _question(question: Question, folder: str) -> QuestionView:
    return QuestionView(
        id=question.id,
        badge=Badge(ANSWER_BADGES[question.status], question.status),
        text=question.text,
        url=quote(f"{folder}/{question.id}.md"),
        hypotheses=tuple(_hypothesis(hypothesis) for hypothesis in question.hypotheses),
        passages=tuple(
            Passage(heading, _rendered(led(question.section(heading), folder))) for heading in remaining(question)
        ),
    )


def _hypothesis(hypothesis: Hypothesis) -> HypothesisView:
    badge = Badge(STATE_BADGES.get(hypothesis.state, "open"), hypothesis.state)
    return HypothesisView(badge, hypothesis.text, ", ".join(hypothesis.evidence))


@dataclass(frozen=True, kw_only=True)
class NotesSection(Section):
    """Files with text that belongs to no experiment."""

    name: ClassVar[str] = "notes"
    title: ClassVar[str] = "Notes"
    template: ClassVar[str] = "ledger/notes.html.j2"
    notes: tuple[FileLink, ...]


@dataclass(frozen=True, kw_only=True)
class PlansSection(Section):
    """What to run next."""

    name: ClassVar[str] = "next"
    title: ClassVar[str] = "Next experiments"
    template: ClassVar[str] = "ledger/plans.html.j2"
    plans: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class WarningsSection(Section):
    """What is wrong in the records."""

    name: ClassVar[str] = "warnings"
    title: ClassVar[str] = "Warnings"
    template: ClassVar[str] = "ledger/warnings.html.j2"
    warnings: tuple[str, ...]
