"""What a notebook gets of a study: its findings as records, and the figures of its report, each complete in itself."""

from __future__ import annotations

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest

import hpo
from hpo.page import grounds, pictures, results, search
from hpo.page.palette import TEMPLATE
from hpo.page.views import Plot
from hpo.storage.folder import RunFolder
from tests.finished import HOSTILE, STUDY, finished
from tests.test_report import chromium
from tests.wide import swept, wide_study

__all__ = ["chromium"]

SWEPT = ["history", "curves", "separation", "importance", "slice recipe.lr", "slice task.shift", "parallel", "timeline"]
PROMOTED = ["leads", "scores", "agreement", "training"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that holds the study `toy`, with every stage behind it."""
    folder = tmp_path_factory.mktemp("runs")
    finished(folder).path.rename(folder / STUDY.name)
    return folder


def test_findings_hold_the_numbers_of_the_report(runs: Path) -> None:
    findings = hpo.findings(STUDY, runs=runs)
    verdict = json.loads((runs / "toy" / "verdict.json").read_text())
    assert findings.promotion.verdict.sentence == verdict["sentence"]
    assert findings.promotion.winner.candidate.name == verdict["winner"]
    assert len(findings.sweep.trials) == 10
    assert findings.sweep.best.value == min(trial.value for trial in findings.sweep.ranked)
    assert repr(findings) == f"<findings of toy: {findings.headline.badge}. {verdict['sentence']}>"


def test_every_figure_of_the_report_is_there_by_name_with_its_title(runs: Path) -> None:
    figures = hpo.figures(STUDY, runs=runs)
    assert list(figures) == [*PROMOTED, *SWEPT, "overfit", "chart Line"]
    assert all(isinstance(figure, go.Figure) for figure in figures.values())
    findings = hpo.findings(STUDY, runs=runs)
    sections = [
        results.promotion_section(findings),
        pictures.pictures_section(findings),
        search.sweep_section(findings),
        grounds.preflight_section(findings),
    ]
    of_the_report = {plot.title for section in sections for plot in plots_in(section)}
    measures = {title for title in of_the_report if title.startswith(("PED-ANOVA", "fANOVA"))}
    assert {figure.layout.title.text for figure in figures.values()} == {
        f"<b>{title}</b>" for title in (of_the_report - measures) | {"What mattered"}
    }
    assert len(measures) == 2


def plots_in(value: object) -> list[Plot]:
    """The plots of a section, at whatever depth."""
    if isinstance(value, Plot):
        return [value]
    parts = value if isinstance(value, tuple) else vars(value).values() if hasattr(value, "__dict__") else ()
    return [plot for part in parts for plot in plots_in(part)]


def test_a_figure_stands_alone(runs: Path) -> None:
    for name, figure in hpo.figures(STUDY, runs=runs).items():
        assert figure.layout.template.layout.colorway == tuple(TEMPLATE["layout"]["colorway"]), name
        assert figure.layout.paper_bgcolor.startswith("#"), name
        assert HOSTILE not in figure.to_json()
    importance = hpo.figures(STUDY, runs=runs)["importance"]
    bars = [trace for trace in importance.data if trace.type == "bar"]
    assert [sum(trace.x) for trace in bars] == pytest.approx([1, 1])
    legend = [trace.name for trace in importance.data if trace.showlegend]
    assert [entry.partition(":")[0] for entry in legend] == ["fANOVA", "PED-ANOVA"]
    assert importance.layout.yaxis.ticktext == ("recipe.lr", "task.shift")


def test_a_study_that_was_swept_and_not_promoted_has_the_figures_of_its_sweep(tmp_path: Path) -> None:
    study = wide_study(2)
    swept(RunFolder(tmp_path / study.name), study, 12)
    figures = hpo.figures(study, runs=tmp_path)
    names = ["history", "curves", "separation", "importance", "slice task.p000", "slice task.p001", "parallel"]
    assert [name for name in figures if name != "timeline"] == names
    findings = hpo.findings(study, runs=tmp_path)
    assert findings.promotion is None
    assert [missing.sentence for missing in findings.missing][-1].startswith("No promotion")
    with pytest.raises(KeyError, match="there is no figure 'scores' of this study so far; there are: history, curves"):
        figures["scores"]


def test_what_has_not_been_run_is_refused(tmp_path: Path) -> None:
    for read in (hpo.findings, hpo.figures):
        with pytest.raises(hpo.Refused, match=r"nothing has been run in .*; run: hpo run toy"):
            read(STUDY, runs=tmp_path)


CUT = """() => [...document.querySelectorAll('.plotly-graph-div')].flatMap((figure) => {
    const box = figure.getBoundingClientRect();
    return [...figure.querySelectorAll('svg text')].filter((text) => {
        const {left, right, top, bottom, width} = text.getBoundingClientRect();
        return width && (left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1);
    }).map((text) => text.textContent);
})"""


def test_no_label_is_cut_in_a_browser(runs: Path, tmp_path: Path, chromium) -> None:
    study = wide_study(12, prefix="a_rather_long_name_of_a_weight_")
    swept(RunFolder(tmp_path / study.name), study, 9)
    figures = [*hpo.figures(STUDY, runs=runs).values(), *hpo.figures(study, runs=tmp_path).values()]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, default_width="700px")
        for number, figure in enumerate(figures)
    ]
    page = tmp_path / "figures.html"
    page.write_text("".join(parts))
    tab = chromium.new_page(viewport={"width": 1400, "height": 900})
    tab.goto(page.as_uri(), timeout=120_000)
    tab.wait_for_function(f"document.querySelectorAll('.gtitle').length === {len(figures)}", timeout=120_000)
    assert tab.evaluate(CUT) == []
    tab.close()
