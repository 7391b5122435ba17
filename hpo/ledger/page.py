"""EXPERIMENTS.html: the dashboard, the records, open questions and what to run next, as one file in the report's style
that asks for no other one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import Template

from markdown_it import MarkdownIt

from hpo import report
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
    last_change,
    newest_first,
    plan,
    planned,
    questions,
    rankings,
)
from hpo.ledger.record import HEADINGS, STATUSES, Record
from hpo.report.markup import Cell, Section, badge, folded, numeric, section, text_of, words
from hpo.report.markup import table as html_table
from hpo.report.palette import css
from hpo.wording import count

BADGES = {"planned": "skip", "wip": "open", "analysis": "caution", "success": "go", "failed": "no-go"}


def pages(records: Sequence[Record], folder: str, runs: str) -> dict[str, str]:
    """Both pages by name. `folder` and `runs` lead from them to the records and the studies."""
    return {"EXPERIMENTS.md": markdown(records, folder, runs), "EXPERIMENTS.html": html(records, folder, runs)}


def html(records: Sequence[Record], folder: str, runs: str) -> str:
    """The same as one file that asks for no other one, in the report's style."""
    parts = list(_sections(records, folder, runs))
    links = "".join(f'<li><a href="#{one.name}">{text_of(one.title)}</a></li>' for one in parts)
    tiles = "".join(f'<div class="tile"><dt>{badge(BADGES[status], status)}</dt>'
                    f"<dd>{sum(one.status == status for one in records)}</dd><dd>{text_of(MEANING[status])}</dd></div>"
                    for status in STATUSES)  # fmt: skip
    body = f"""<header><div><p class="eyebrow">The experiment ledger</p><h1>Experiments</h1>
<p class="verdict">{count(len(records), "experiment")}, the last change on {text_of(last_change(records))}.</p>
<dl class="tiles">{tiles}</dl></div></header><nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main">{"".join(one.html for one in parts)}</main>
<footer><p>Written by hpo ledger page from the records; edit those. This file holds all that it shows.</p></footer>"""
    return Template(report.PAGE.read_text()).substitute(
        title="Experiments", palette=css(), body=body, plotly="", template="{}", dark="{}")  # fmt: skip


def _sections(records: Sequence[Record], folder: str, runs: str) -> Iterator[Section]:
    lead = f"Only results of one goal, on the same data at the same fidelity, stand in one table. {MISSING}"
    yield section("dashboard", "Dashboard", lead, *map(_dashboard, rankings(records)))
    yield section("records", "Records", "The newest first.",
                  *(_article(record, folder, runs) for record in newest_first(records)))  # fmt: skip
    asked = "".join(f"<li>{text_of(' '.join(text.split()))} {_link(one)}</li>" for text, one in questions(records))
    yield section("questions", "Open questions", "What the experiments have left open.",
                  f"<ul>{asked}</ul>" if asked else "<p>None.</p>")
    plans = "".join(f"<li>{_link(one)}: {text_of(plan(one))}</li>" for one in planned(records))
    yield section("next", "Next experiments", "What is planned, the most urgent first.",
                  f"<ol>{plans}</ol>" if plans else "<p>None.</p>")
    if warnings := promises(records):
        yield section("warnings", "Warnings", "What the records promise and do not keep.",
                      "<ul>", *(f"<li>{text_of(one)}</li>" for one in warnings), "</ul>")  # fmt: skip


def _dashboard(ranking: Ranking) -> str:
    rows = []
    for record in ranking.rows:
        name, _, *rest = cells(record)
        shown = [words(text, "name") if index in (0, 7) else numeric(None, text) for index, text in enumerate(rest)]
        rows.append([Cell(_link(record), value=name), Cell(_status(record), "name"), *shown])
    return f'<div class="block"><h3>{text_of(ranking.title)}</h3>' + html_table(
        HEADS, rows, name=ranking.title, numbers=(*HEADS[3:9],)) + "</div>"  # fmt: skip


def _article(record: Record, folder: str, runs: str) -> str:
    known = html_table(("", ""), [[key, words(value)] for key, value in facts(record)], name=f"Facts of {record.id}")
    found = {"record": f"{folder}/{record.id}.md", **files(record, runs)}
    links = ", ".join(f'<a href="{text_of(path)}">{text_of(name)}</a>' for name, path in found.items())
    prose = "".join(f"<h4>{heading}</h4>{PROSE.render(text)}" for heading in HEADINGS
                    if (text := record.section(heading)))  # fmt: skip
    return (f'<article class="box exhibit" id="{record.id}"><h3>{record.id} {_status(record)}</h3>'
            f'<p>{text_of(record.title)}</p>{prose}<p class="muted">Files: {links}</p>'
            f'{folded("What the harness knows", known)}</article>')  # fmt: skip


def _status(record: Record) -> str:
    return badge(BADGES[record.status], record.status)


def _link(record: Record) -> str:
    return f'<a href="#{record.id}">{record.id}</a>'


def _prose() -> MarkdownIt:
    """Markdown without HTML and without pictures, whose headings stay below the page's."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.core.ruler.push("headings", lambda state: [setattr(one, "tag", "h5") for one in state.tokens
                                                      if one.type.startswith("heading_")])  # fmt: skip
    return parser


PROSE = _prose()
