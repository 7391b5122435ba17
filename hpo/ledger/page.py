"""EXPERIMENTS.html: the dashboard, the records, open questions and what to run next, as one file in the report's style
that asks for no other one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import Template
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore

from hpo.formatting import count
from hpo.ledger.lint import promises
from hpo.ledger.markdown import markdown
from hpo.ledger.reading import (
    HEADS,
    MEANING,
    MISSING,
    Ranking,
    cells,
    facts,
    files,
    interval_of,
    last_change,
    newest_first,
    plan,
    planned,
    prose,
    questions,
    rankings,
)
from hpo.ledger.record import STATUSES, Record
from hpo.ledger.verdicts import proposed
from hpo.page import report
from hpo.page.markup import Cell, Section, badge, block, folded, section, text_of, words
from hpo.page.markup import table as html_table
from hpo.page.palette import css
from hpo.promotion.intervals import Interval

BADGES = {"planned": "skip", "wip": "open", "analysis": "caution", "success": "go", "failed": "no-go"}


def pages(records: Sequence[Record], folder: str, runs: str) -> dict[str, str]:
    """Both pages by name. `folder` and `runs` lead from them to the records and the studies."""
    return {"EXPERIMENTS.md": markdown(records, folder, runs), "EXPERIMENTS.html": html(records, folder, runs)}


def html(records: Sequence[Record], folder: str, runs: str) -> str:
    """The same as one file that asks for no other one, in the report's style."""
    parts = list(_sections(records, folder, runs))
    links = "".join(f'<li><a href="#{one.name}">{text_of(one.title)}</a></li>' for one in parts)
    tiles = "".join(
        f'<div class="tile"><dt>{badge(BADGES[status], status)}</dt>'
        f"<dd>{sum(one.status == status for one in records)}</dd><dd>{text_of(MEANING[status])}</dd></div>"
        for status in STATUSES
    )
    body = f"""<header><div><p class="eyebrow">The experiment ledger</p><h1>Experiments</h1>
<p class="verdict">{count(len(records), "experiment")}, the last change on {text_of(last_change(records))}.</p>
<dl class="tiles">{tiles}</dl></div></header><nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main">{"".join(one.html for one in parts)}</main>
<footer><p>Written by hpo ledger page from the records; edit those. This file holds all that it shows.</p></footer>"""
    return Template(report.PAGE.read_text()).substitute(
        title="Experiments", palette=css(), body=body, plotly="", template="{}", dark="{}"
    )


def _sections(records: Sequence[Record], folder: str, runs: str) -> Iterator[Section]:
    lead = f"Only results of one goal, on the same data at the same fidelity, stand in one table. {MISSING}"
    yield section("dashboard", "Dashboard", lead, *map(_dashboard, rankings(records)))
    yield section(
        "records", "Records", "The newest first.", *(_article(record, folder, runs) for record in newest_first(records))
    )
    asked = "".join(f"<li>{text_of(' '.join(text.split()))} {_link(one)}</li>" for text, one in questions(records))
    yield section(
        "questions",
        "Open questions",
        "What the experiments have left open.",
        f"<ul>{asked}</ul>" if asked else "<p>None.</p>",
    )
    plans = "".join(f"<li>{_link(one)}: {text_of(plan(one))}</li>" for one in planned(records))
    yield section(
        "next",
        "Next experiments",
        "What is planned, the most urgent first.",
        f"<ol>{plans}</ol>" if plans else "<p>None.</p>",
    )
    if warnings := promises(records):
        yield section(
            "warnings",
            "Warnings",
            "What the records promise and do not keep.",
            "<ul>",
            *(f"<li>{text_of(one)}</li>" for one in warnings),
            "</ul>",
        )


def _dashboard(ranking: Ranking) -> str:
    leads = {
        index: [interval_of(record.part("promotion").get(key)) for record in ranking.rows]
        for index, key in ((4, "lead_over_default"), (5, "lead_over_baseline"))
    }
    reach = {
        index: max((max(-one.low, one.high) for one in known if one), default=0.0) for index, known in leads.items()
    }
    rows: list[list[Cell | str]] = []
    for number, record in enumerate(ranking.rows):
        shown: list[Cell | str] = [Cell(_link(record)), Cell(_status(record), "name")]
        for index, text in list(enumerate(cells(record)))[2:]:
            drawn = _whisker(leads[index][number], reach[index]) if index in leads else ""
            figures = text_of(text).replace(" (", "<br>(")  # a baseline's name below its figures
            figures = figures.replace(", ", ",<br>") if index == 7 else figures
            shown.append(Cell(figures + drawn, "name" if index in (2, 7, 9) else "num"))
        rows.append(shown)
    return block(ranking.title, html_table(HEADS, rows, name=ranking.title, numbers=(*HEADS[3:7], HEADS[8])))


def _whisker(lead: Interval | None, reach: float) -> str:
    """A lead and its range beside zero, on the scale of its column."""
    if lead is None or not 0 < reach < float("inf"):
        return ""
    low, mean, high = (60 + 55 * one / reach for one in (lead.low, lead.mean, lead.high))
    colour = f"var(--{'good' if lead.low > 0 else 'bad' if lead.high < 0 else 'soft'})"
    return (
        f'<br><svg width="120" height="12" aria-hidden="true"><path d="M60 0v12" stroke="var(--faint)"/>'
        f'<path d="M{low:.1f} 6H{high:.1f}" stroke="{colour}" stroke-width="2"/>'
        f'<circle cx="{mean:.1f}" cy="6" r="3.5" fill="{colour}"/></svg>'
    )


def _article(record: Record, folder: str, runs: str) -> str:
    known = html_table(
        ("Fact", "Recorded"), [[key, words(value)] for key, value in facts(record)], name=f"Facts of {record.id}"
    )
    found = {"record": quote(f"{folder}/{record.id}.md"), **files(record, runs)}
    links = ", ".join(f'<a href="{text_of(path)}">{text_of(name)}</a>' for name, path in found.items())
    written = "".join(f"<h4>{heading}</h4>{PROSE.render(text)}" for heading, text in prose(record, folder))
    return (
        f'<article class="box exhibit" id="{record.id}"><h3>{record.id} {_status(record)}</h3>'
        f'<p>{text_of(record.title)}</p>{_judged(record)}{written}<p class="muted">Files: {links}</p>'
        f"{folded('What the harness knows', known)}</article>"
    )


def _judged(record: Record) -> str:
    """The verdict, and before a person has concluded, what the harness would say."""
    sentence = record.part("promotion").get("sentence")
    would = f" The harness would say: {proposed(record)}." if record.status == "analysis" else ""
    return f'<p class="lead">{text_of(f"{sentence}{would}")}</p>' if sentence else ""


def _status(record: Record) -> str:
    return badge(BADGES[record.status], record.status)


def _link(record: Record) -> str:
    return f'<a href="#{record.id}">{record.id}</a>'


def _prose() -> MarkdownIt:
    """Markdown without HTML and without pictures, whose headings stay below the page's."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.core.ruler.push("headings", _below)
    return parser


def _below(state: StateCore) -> None:
    for token in state.tokens:
        if token.type.startswith("heading_"):
            token.tag = "h5"


PROSE = _prose()
