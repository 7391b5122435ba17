"""The findings of a study as one HTML file that opens offline, at any stage of the study."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from plotly.offline import get_plotlyjs

import hpo
from hpo.files import write_whole
from hpo.page import earlier, failures, gate, grounds, pictures, results, search
from hpo.page.collect import collect
from hpo.page.findings import Findings
from hpo.page.header import Top, top
from hpo.page.palette import COLOURS, TEMPLATE
from hpo.page.rendering import PAGE, render_page
from hpo.page.views import Section
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec


def write_report(study: StudySpec, folder: RunFolder) -> Path:
    """Write the study's page and return where it is. Raises Refused where the study has no folder."""
    page = render(collect(study, folder))
    write_whole(folder.report, page.encode())
    return folder.report


def render(findings: Findings) -> str:
    """The page of these findings: one file that asks for no other one."""
    title = f"{findings.study.name}: {findings.headline.badge}"
    return render_sections(title, top(findings), _sections(findings), findings.written)


def render_sections(title: str, header: Top, sections: Sequence[Section], written: datetime) -> str:
    """The page of these sections under a header."""
    return render_page(
        PAGE,
        "report.html.j2",
        title=title,
        colours=COLOURS,
        top=header,
        sections=sections,
        written=f"{written:%Y-%m-%d %H:%M}",
        version=hpo.__version__,
        palette={
            "dark": {colour.light: colour.dark for colour in COLOURS.values()},
            "template": TEMPLATE,
        },
        plotly=packed(get_plotlyjs()),
    )


def packed(source: str) -> str:
    """A script as page.js unpacks it: two fifths as long. The same script gives the same text."""
    return base64.b64encode(gzip.compress(source.encode(), mtime=0)).decode()


def _sections(findings: Findings) -> list[Section]:
    """In the order in which they are read; a stage that has not been run has none."""
    every = (
        results.promotion_section(findings),
        pictures.pictures_section(findings),
        earlier.earlier_section(findings),
        gate.gate_section(findings),
        search.sweep_section(findings),
        search.trials_section(findings),
        failures.failures_section(findings),
        grounds.preflight_section(findings),
        grounds.checks_section(findings),
        grounds.provenance_section(findings),
    )
    return [section for section in every if section]
