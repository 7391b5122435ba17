"""Colours of the report: one role, one colour, in light and in dark.

Figures are drawn in the light ones; the page swaps each for its dark twin. Roles never lean on hue alone: states also
differ in shape and in line, and text is always in ink.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Colour(NamedTuple):
    """One role's colour in both schemes."""

    light: str
    dark: str


COLOURS = {
    "page": Colour("#f5f4f0", "#0d0d0d"),
    "surface": Colour("#fcfcfb", "#1a1a19"),
    "ink": Colour("#0b0b0b", "#ffffff"),
    "soft": Colour("#52514e", "#c3c2b7"),
    "faint": Colour("#6f6d68", "#9a988f"),
    "grid": Colour("#e1e0d9", "#2c2c2a"),
    "axis": Colour("#c3c2b7", "#4a4a46"),
    "complete": Colour("#2a78d6", "#3987e5"),
    "pale": Colour("#9ec5f4", "#1c5cab"),  # completed trials that are not the point
    "pruned": Colour("#8a8882", "#8b8983"),
    "failed": Colour("#d03b3b", "#e66767"),
    "default": Colour("#d9591f", "#ec7440"),
    "baseline": Colour("#4a3aa7", "#9085e9"),
    "good": Colour("#0b7a0b", "#3fc43f"),
    "warn": Colour("#8f5f00", "#fab219"),
    "bad": Colour("#b32626", "#f08080"),
    "good-wash": Colour("rgba(12,163,12,0.10)", "rgba(12,163,12,0.18)"),
    "warn-wash": Colour("rgba(250,178,25,0.14)", "rgba(250,178,25,0.15)"),
    "bad-wash": Colour("rgba(208,59,59,0.10)", "rgba(208,59,59,0.20)"),
    "open-wash": Colour("rgba(42,120,214,0.10)", "rgba(57,135,229,0.20)"),
}
INK = COLOURS["ink"].light
SOFT = COLOURS["soft"].light
GRID = COLOURS["grid"].light
AXIS = COLOURS["axis"].light
SURFACE = COLOURS["surface"].light
COMPLETE = COLOURS["complete"].light
PALE = COLOURS["pale"].light
PRUNED = COLOURS["pruned"].light
FAILED = COLOURS["failed"].light
DEFAULT = COLOURS["default"].light
BASELINE = COLOURS["baseline"].light

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'

_AXIS = {
    "gridcolor": GRID,
    "linecolor": AXIS,
    "tickcolor": AXIS,
    "zerolinecolor": AXIS,
    "zeroline": False,
    "automargin": True,
    "showline": False,
    "nticks": 6,
    "title": {"standoff": 8, "font": {"size": 12}},
    "tickfont": {"size": 12},
}

# What every figure of the page has in common, a task's own charts included.
TEMPLATE: dict[str, Any] = {
    "layout": {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": SOFT},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": SURFACE,
            "bordercolor": AXIS,
            "align": "left",
            "font": {"family": FONT, "size": 12, "color": INK},
        },
        "colorway": [COMPLETE, DEFAULT, BASELINE, COLOURS["good"].light, FAILED, PRUNED],
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "bgcolor": "rgba(0,0,0,0)"},
        "annotationdefaults": {"font": {"size": 12, "color": INK}, "showarrow": False},
    },
}
