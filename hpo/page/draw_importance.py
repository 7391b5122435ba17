"""Which parameters mattered: both measures in one figure, and for the report a figure a measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from hpo.formatting import count, listed
from hpo.page.drawing import Drawing, blank, safe
from hpo.page.importance import Importance, Importances
from hpo.page.palette import BASELINE, COMPLETE, INK
from hpo.page.separation_words import flat_sentence
from hpo.page.views import Key
from hpo.separation.stepwise import Separation

ROLES = {"fANOVA": ("complete", COMPLETE), "PED-ANOVA": ("baseline", BASELINE)}
SKIPPED = "skipped"  # said of a parameter that a measure could not judge


def importance(importances: Importances, separation: Separation) -> Drawing | None:
    """A bar a parameter and measure. None where neither measure could be computed."""
    measures = _computed(importances)
    if not measures:
        return None
    names = _names(measures)
    figure = _without_bars(names, measures, row_px=20 + 24 * len(measures), barmode="group", bargap=0.3)
    for measure in reversed(measures):  # plotly draws the first group lowest
        shares = _percentages(measure, names)
        hovers = [f"{safe(name)}, {measure.measure}: {share}" for name, share in zip(names, shares, strict=True)]
        figure.add_trace(_bars(measure, names, hovers, ROLES[measure.measure][1]))
    keys = tuple(
        Key(ROLES[measure.measure][0], "square", f"{measure.measure}: {measure.question}") for measure in measures
    )
    comparison = flat_sentence(separation) or compare_measures(importances)
    point = f"{comparison} Over {count(importances.complete, 'completed trial')}.".strip()
    return Drawing("importance", "What mattered", point, figure, keys)


def importance_bars(importances: Importances) -> list[Drawing]:
    """One figure for each measure that could be computed, with the same rows and the same axis."""
    measures = _computed(importances)
    names = _names(measures)
    drawings = []
    for measure in measures:
        figure = _without_bars(names, measures, row_px=34, bargap=0.45)
        shares = _percentages(measure, names, digits=1)
        hovers = [f"{safe(name)}: {share}" for name, share in zip(names, shares, strict=True)]
        figure.add_trace(_bars(measure, names, hovers, COMPLETE))
        drawings.append(_drawing(measure, figure, importances.complete))
    return drawings


def _drawing(measure: Importance, figure: go.Figure, complete: int) -> Drawing:
    first = max(measure.shares, key=lambda name: measure.shares[name])
    point = f"{first} takes {measure.shares[first]:.0%}, over {count(complete, 'completed trial')}."
    title = f"{measure.measure}: {measure.question}"
    return Drawing(f"importance-{measure.measure.lower()}", title, point, figure)


def _computed(importances: Importances) -> list[Importance]:
    return [measure for measure in importances.measures if measure.shares]


def _names(measures: Sequence[Importance]) -> list[str]:
    """The parameters from the bottom to the top: the first one of the first measure is on top."""
    return list(dict.fromkeys(name for measure in measures for name in measure.shares))[::-1]


def _without_bars(names: Sequence[str], measures: Sequence[Importance], *, row_px: int, **layout: Any) -> go.Figure:
    """A row a parameter, on an axis up to the largest share of all measures."""
    most = max((share for measure in measures for share in measure.shares.values()), default=1.0)
    return blank(
        70 + row_px * len(names),
        x={"range": [0, 1.15 * most], "tickformat": ".0%"},
        y={
            "tickvals": list(range(len(names))),
            "ticktext": [safe(name) for name in names],
            "ticklabelstandoff": 6,
            "range": [-0.6, len(names) - 0.4],
            "showgrid": False,
        },
        **layout,
    )


def _bars(measure: Importance, names: Sequence[str], hovers: Sequence[str], colour: str) -> go.Bar:
    return go.Bar(
        x=[measure.shares.get(name, 0.0) for name in names],
        y=list(range(len(names))),
        orientation="h",
        marker={"color": colour, "cornerradius": 4},
        text=_percentages(measure, names),
        textposition="outside",
        textfont={"color": INK, "size": 12},
        cliponaxis=False,
        hoverinfo="text",
        hovertext=list(hovers),
    )


def _percentages(measure: Importance, names: Sequence[str], digits: int = 0) -> list[str]:
    return [f"{measure.shares[name]:.{digits}%}" if name in measure.shares else SKIPPED for name in names]


def compare_measures(importances: Importances) -> str:
    """What the two measures say together."""
    firsts = [next(iter(measure.shares)) for measure in importances.measures if measure.shares]
    if len(firsts) < 2:
        return ""
    if len(set(firsts)) == 1:
        return f"Both put {firsts[0]} first."
    return (
        f"They put different ones first ({listed(firsts)}), which is no error: PED-ANOVA asks what makes the "
        f"best trials different, fANOVA what spreads all of them."
    )
