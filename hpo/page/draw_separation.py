"""What separates: how much each hyperparameter explains, and how much it would have to."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from hpo.formatting import count, number
from hpo.page.drawing import Drawing, blank, safe
from hpo.page.palette import COMPLETE, INK, PRUNED
from hpo.page.separation_words import name_of
from hpo.page.views import Key
from hpo.separation.stepwise import Finding, Separation

KEYS = (
    Key("complete", "square", "separates"),
    Key("pruned", "square", "cannot be told from chance"),
    Key("ink", "line", "what it would have to explain"),
)


def separation_bars(separation: Separation) -> Drawing | None:
    """A bar a hyperparameter, what separates on top. None where nothing could be tested."""
    findings = [*separation.named, *separation.rest][::-1]
    if not findings:
        return None
    most = max(max(finding.explained, finding.needed) for finding in findings)
    rows = list(range(len(findings)))
    figure = blank(
        70 + 34 * len(findings),
        x={"range": [0, 1.3 * most], "tickformat": ".0%"},
        y={
            "tickvals": rows,
            "ticktext": [safe(name_of(finding)) for finding in findings],
            "ticklabelstandoff": 6,
            "range": [-0.6, len(findings) - 0.4],
            "showgrid": False,
        },
        bargap=0.45,
    )
    figure.add_trace(_bars(findings, rows, named=len(separation.named)))
    figure.add_trace(_texts(findings, rows))
    figure.add_trace(
        go.Scatter(
            x=[finding.needed for finding in findings],
            y=rows,
            mode="markers",
            marker={"symbol": "line-ns", "size": 20, "line": {"width": 2, "color": INK}},
            hoverinfo="text",
            hovertext=[
                f"{safe(name_of(finding))} would have to explain {finding.needed:.0%} to be told from chance"
                for finding in findings
            ],
        )
    )
    point = (
        f"Adjusted R² of {count(separation.trials, 'trial')}, pruned ones too, each beside those above that separate."
    )
    return Drawing("separation", "What separates from chance", point, figure, KEYS)


def _texts(findings: Sequence[Finding], rows: list[int]) -> go.Scatter:
    """Beyond both the bar and the mark of what it would have to explain."""
    return go.Scatter(
        x=[max(finding.explained, finding.needed) for finding in findings],
        y=rows,
        mode="text",
        text=[f"  {_figures(finding)}" for finding in findings],
        textposition="middle right",
        textfont={"color": INK, "size": 12},
        cliponaxis=False,
        hoverinfo="skip",
    )


def _figures(finding: Finding) -> str:
    return f"{max(0.0, finding.explained):.0%}, p = {number(finding.p, 2)}"


def _bars(findings: Sequence[Finding], rows: list[int], named: int) -> go.Bar:
    """The last `named` findings are those that separate."""
    first_named = len(findings) - named
    return go.Bar(
        x=[max(0.0, finding.explained) for finding in findings],
        y=rows,
        orientation="h",
        marker={"color": [COMPLETE if row >= first_named else PRUNED for row in rows], "cornerradius": 4},
        hoverinfo="text",
        hovertext=[
            f"{safe(name_of(finding))}: {_figures(finding)}, line {number(finding.line, 2)}" for finding in findings
        ],
    )
