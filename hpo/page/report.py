"""The findings of a study as one HTML file that opens offline, at any stage of the study."""

from __future__ import annotations

from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

import hpo
from hpo.files import write_whole
from hpo.page import collect, grounds, results, search
from hpo.page.findings import Findings
from hpo.page.header import header
from hpo.page.markup import Section, json_of, text_of
from hpo.page.palette import COLOURS, TEMPLATE, css
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec

PAGE = Path(__file__).with_name("page.html")


def write_report(study: StudySpec, folder: RunFolder) -> Path:
    """Write the study's page and return where it is. Raises Refused where the study has no folder."""
    page = render(collect.collect(study, folder))
    write_whole(folder.report, page.encode())
    return folder.report


def render(found: Findings) -> str:
    """The page of these findings: one file that asks for no other one."""
    return Template(PAGE.read_text()).substitute(
        title=text_of(f"{found.study.name}: {found.headline.badge}"),
        palette=css(),
        body=_body(found),
        plotly=get_plotlyjs(),
        template=json_of(TEMPLATE),
        dark=json_of({colour.light: colour.dark for colour in COLOURS.values()}),
    )


def _body(found: Findings) -> str:
    sections = _sections(found)
    links = "".join(f'<li><a href="#{one.name}">{text_of(one.title)}</a></li>' for one in sections)
    return f"""{header(found)}
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main">{"".join(one.html for one in sections)}</main>
<footer><p>Written {found.written:%Y-%m-%d %H:%M} UTC by hpo {hpo.__version__}. This file holds all that it shows.</p>
</footer>"""


def _sections(found: Findings) -> list[Section]:
    """In the order in which they are read; a stage that has not been run has none."""
    every = (
        results.promotion(found),
        results.pictures(found),
        search.sweep(found),
        search.trials(found),
        grounds.preflight(found),
        grounds.task_checks(found),
        grounds.provenance(found),
    )
    return [section for section in every if section]
