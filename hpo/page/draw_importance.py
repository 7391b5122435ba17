"""Which parameters mattered, by both measures in one figure. The report draws a figure a measure (draw_sweep.py)."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.formatting import count
from hpo.page.draw_sweep import compare_measures
from hpo.page.drawing import Drawing, blank, safe
from hpo.page.importance import Importance, Importances
from hpo.page.palette import BASELINE, COMPLETE, INK
from hpo.page.separation_words import flat_sentence
from hpo.page.views import Key
from hpo.separation.stepwise import Separation

ROLES = {"fANOVA": ("complete", COMPLETE), "PED-ANOVA": ("baseline", BASELINE)}


def importance(importances: Importances, separation: Separation) -> Drawing | None:
    """A bar a parameter and measure. None where neither measure could be computed."""
    measures = [measure for measure in importances.measures if measure.shares]
    if not measures:
        return None
    names = list(dict.fromkeys(name for measure in measures for name in measure.shares))[::-1]
    most = max(share for measure in measures for share in measure.shares.values())
    figure = blank(
        70 + (20 + 24 * len(measures)) * len(names),
        x={"range": [0, 1.15 * most], "tickformat": ".0%"},
        y={
            "tickvals": list(range(len(names))),
            "ticktext": [safe(name) for name in names],
            "ticklabelstandoff": 6,
            "range": [-0.6, len(names) - 0.4],
            "showgrid": False,
        },
        barmode="group",
        bargap=0.3,
    )
    for measure in reversed(measures):  # plotly draws the first group lowest
        figure.add_trace(_bars(measure, names))
    keys = tuple(
        Key(ROLES[measure.measure][0], "square", f"{measure.measure}: {measure.question}") for measure in measures
    )
    comparison = flat_sentence(separation) or compare_measures(importances)
    point = f"{comparison} Over {count(importances.complete, 'completed trial')}.".strip()
    return Drawing("importance", "What mattered", point, figure, keys)


def _bars(measure: Importance, names: list[str]) -> go.Bar:
    shares = measure.shares
    texts = [f"{shares[name]:.0%}" if name in shares else "skipped" for name in names]
    return go.Bar(
        x=[shares.get(name, 0.0) for name in names],
        y=list(range(len(names))),
        orientation="h",
        marker={"color": ROLES[measure.measure][1], "cornerradius": 4},
        text=texts,
        textposition="outside",
        textfont={"color": INK, "size": 12},
        cliponaxis=False,
        hoverinfo="text",
        hovertext=[f"{safe(name)}, {measure.measure}: {text}" for name, text in zip(names, texts, strict=True)],
    )
