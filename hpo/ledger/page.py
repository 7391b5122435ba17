"""EXPERIMENTS.html: the dashboard, the records, open questions and what to run next, as one file in the report's style
that asks for no other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from hpo.formatting import count
from hpo.ledger.dashboard import MEANING, MISSING, rankings
from hpo.ledger.html_dashboard import DashboardSection, ranking_view, status_badge
from hpo.ledger.html_questions import (
    Entry,
    NotesSection,
    PlansSection,
    QuestionsSection,
    WarningsSection,
    question_view,
)
from hpo.ledger.html_records import FileLink, RecordsSection, article
from hpo.ledger.lint import promises
from hpo.ledger.markdown import markdown
from hpo.ledger.name import STATUSES
from hpo.ledger.question import Question
from hpo.ledger.reading import (
    last_change,
    newest_first,
    open_first,
    plan,
    planned,
    questions,
)
from hpo.ledger.record import Record
from hpo.page.palette import COLOURS
from hpo.page.rendering import render_page
from hpo.page.views import Badge, Section


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
    return StatusTile(status_badge(status), sum(record.status == status for record in records), MEANING[status])


def _sections(
    records: Sequence[Record], folder: str, runs: str, asked: Sequence[Question], notes: Sequence[str]
) -> list[Section]:
    lead = f"Only results of one goal, on the same data at the same fidelity, stand in one table. {MISSING}"
    sections = [
        DashboardSection(lead=lead, rankings=tuple(ranking_view(ranking) for ranking in rankings(records))),
        RecordsSection(
            lead="The newest first.",
            articles=tuple(article(record, folder, runs) for record in newest_first(records)),
        ),
        QuestionsSection(
            lead="What the experiments have left open.",
            asked=tuple(question_view(question, folder) for question in open_first(asked)),
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
