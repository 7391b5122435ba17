"""The figures of the report as plotly figures that stand alone: with their titles, legends and colours, outside the
page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go

from hpo.page import draw_agreement, draw_front, draw_overfit, draw_promotion, draw_slices, draw_sweep
from hpo.page.axes import scales
from hpo.page.draw_importance import importance
from hpo.page.draw_parallel import parallel
from hpo.page.draw_reports import reports
from hpo.page.draw_separation import separation_bars
from hpo.page.draw_timeline import timeline
from hpo.page.drawing import Drawing, safe
from hpo.page.findings import Exhibit, Findings, Promotion, Sweep
from hpo.page.gate import gate_drawing
from hpo.page.palette import COLOURS, INK, SOFT, SURFACE, TEMPLATE
from hpo.page.trial_marks import BEST_KEY, DEFAULT_KEY, keys_for
from hpo.page.views import Key, Plot
from hpo.space import distributions
from hpo.study import StudySpec

TITLE_PX, LINE_PX, LEGEND_PX = 34, 18, 28  # the heights of a title, a line of the text under it, and the legend
LINE_LETTERS = 95  # of that text
WIDE_PX = 700  # a figure that needs more has a width of its own; others fill their place
MARKS = {  # how a key of the page's legend is drawn by plotly
    "dot": {"mode": "markers", "marker": {"symbol": "circle"}},
    "cross": {"mode": "markers", "marker": {"symbol": "x"}},
    "thin-cross": {"mode": "markers", "marker": {"symbol": "x-thin", "line": {"width": 1.6}}},
    "diamond": {"mode": "markers", "marker": {"symbol": "diamond"}},
    "square": {"mode": "markers", "marker": {"symbol": "square"}},
    "ring": {"mode": "markers", "marker": {"symbol": "circle-open"}},
    "line": {"mode": "lines", "line": {"dash": "solid"}},
    "dashed": {"mode": "lines", "line": {"dash": "dash"}},
    "dotted": {"mode": "lines", "line": {"dash": "dot"}},
}


class Figures(dict[str, go.Figure]):
    """Figures by name, in the order of the report. A name that is missing is answered with those that there are."""

    def __missing__(self, name: str) -> go.Figure:
        raise KeyError(f"there is no figure {name!r} of this study so far; there are: {', '.join(self) or 'none'}")


def figures(findings: Findings) -> Figures:
    """Every figure that the report of these findings shows. Both measures of importance are one figure."""
    drawings = [drawing for drawing in _drawings(findings) if drawing]
    shown = Figures({drawing.name: stand_alone(drawing) for drawing in drawings})
    for exhibit in findings.exhibits:
        if exhibit.figure is not None:
            shown[f"chart {exhibit.title}"] = _task_chart(exhibit, exhibit.figure)
    return shown


def _drawings(findings: Findings) -> Iterator[Drawing | None]:
    if findings.promotion:
        yield from _of_promotion(findings.promotion, findings.study.task.goal)
    if findings.gate and findings.gate.gate:
        yield gate_drawing(findings.gate.gate, findings.study.task.goal)
    if findings.sweep and findings.sweep.trials:
        yield from _of_sweep(findings.sweep, findings.study)
    if findings.preflight and findings.preflight.overfit:
        yield draw_overfit.overfit(findings.preflight.overfit)


def _of_promotion(promotion: Promotion, goal: str) -> Iterator[Drawing | None]:
    if promotion.verdict is None:
        return
    yield from draw_front.tested(promotion.verdict)
    yield draw_promotion.leads(promotion.verdict)
    yield draw_promotion.scores(promotion, promotion.verdict)
    if promotion.agreement:
        yield draw_agreement.fidelity_agreement(promotion.agreement, promotion, goal)
    yield draw_promotion.training(promotion, promotion.verdict)


def _of_sweep(sweep: Sweep, study: StudySpec) -> Iterator[Drawing | None]:
    goal, searched = study.task.goal, scales(distributions(study.space))
    if any(trial.value is not None for trial in sweep.trials):
        yield from draw_front.trade_offs(sweep, goal, study.limits)
        yield draw_sweep.history(sweep, goal)
        yield reports(sweep, goal) if sweep.origin else draw_sweep.curves(sweep, goal)
        yield separation_bars(sweep.separation)
        yield importance(sweep.importances, sweep.separation)
        keys = (*keys_for(sweep.trials, *([DEFAULT_KEY] if sweep.default else [])), BEST_KEY)
        yield from (replace(drawing, keys=keys) for drawing in draw_slices.slices(sweep, searched, goal))
        yield parallel(sweep, searched, goal)
    yield timeline(sweep)


def stand_alone(drawing: Drawing) -> go.Figure:
    """A copy of the drawing's figure with its title, its point and its legend above it, in the colours of the page."""
    return _framed(go.Figure(drawing.figure), drawing.title, drawing.point, drawing.keys, drawing.least_px)


def _task_chart(exhibit: Exhibit, figure: Mapping[str, Any]) -> go.Figure:
    """The task's own figure, under the title that the page gives it."""
    chart = go.Figure({"data": figure.get("data", []), "layout": figure.get("layout", {})})
    return _framed(chart, exhibit.title, exhibit.caption, (), 0)


def _framed(figure: go.Figure, title: str, text: str, keys: tuple[Key, ...], least_px: int) -> go.Figure:
    lines = textwrap.wrap(text, LINE_LETTERS)
    top = TITLE_PX + LINE_PX * len(lines)
    margin = figure.layout.margin.to_plotly_json()
    height = (figure.layout.height or Plot.height_px) + top + (LEGEND_PX if keys else 0)
    if keys:
        figure.update_traces(showlegend=False)
        figure.add_traces([_legend_entry(key) for key in keys])
        top += LEGEND_PX
    figure.update_layout(
        template=TEMPLATE,
        paper_bgcolor=SURFACE,
        plot_bgcolor=SURFACE,
        height=height,
        width=least_px if least_px > WIDE_PX else None,
        margin={"l": 24, "r": 24, "b": 24, **margin, "t": margin.get("t", 12) + top},
        title={
            "text": f"<b>{safe(title)}</b>",
            "subtitle": {"text": "<br>".join(map(safe, lines)), "font": {"size": 13, "color": SOFT}},
            "font": {"size": 16, "color": INK},
            "x": 0,
            "xref": "container",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"l": 12, "t": 12},
        },
    )
    if keys:
        figure.update_layout(
            showlegend=True,
            legend={"y": 1 - (top - LEGEND_PX + 6) / height, "yref": "container", "yanchor": "top", "itemclick": False},
        )
    return figure


def _legend_entry(key: Key) -> go.Scatter:
    """A trace without points: the legend shows its mark and its name."""
    colour = COLOURS[key.role].light
    entry = go.Scatter(x=[None], y=[None], name=key.text, showlegend=True, hoverinfo="skip", **MARKS[key.mark])
    return entry.update(marker={"color": colour, "line": {"color": colour}, "size": 9}, line={"color": colour})
