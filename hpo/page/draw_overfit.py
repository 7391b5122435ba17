"""The overfit check in a figure: how a small fixed set was learned, beside the controls."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from hpo.direction import Direction
from hpo.formatting import label, listed, number
from hpo.page.axes import Axis, axis_of
from hpo.page.drawing import Curve, Drawing, blank, line, note, safe
from hpo.page.findings import OverfitCurves
from hpo.page.palette import BASELINE, COLOURS, COMPLETE, DEFAULT, SOFT
from hpo.page.views import Key


@dataclass(frozen=True)
class CurveStyle:
    """How a curve of the overfit check is drawn, and what it is called."""

    colour: str
    dash: str
    width: float
    key: Key
    name: str


_OVERFIT = {
    "honest": CurveStyle(COMPLETE, "solid", 2.6, Key("complete", "line", "as it is"), "as it is"),
    "shuffled": CurveStyle(DEFAULT, "dash", 2, Key("default", "dashed", "labels shuffled"), "shuffled labels"),
    "zeroed": CurveStyle(BASELINE, "dot", 2, Key("baseline", "dotted", "inputs zeroed"), "zeroed inputs"),
}


def overfit(check: OverfitCurves) -> Drawing | None:
    """The curves of the overfit check, with the bands that decide. None without curves."""
    curves = {name: curve for name, curve in check.curves.items() if any(value is not None for value in curve)}
    if "honest" not in curves:
        return None
    axis = axis_of([value for curve in curves.values() for value in curve] + [check.go, check.caution])
    longest = max(len(curve) for curve in curves.values())
    figure = blank(
        320,
        x={"title": {"text": "epoch"}, "range": [0, longest - 1 or 1], "tickformat": "d"},
        y=axis.plotly(title={"text": safe(label(check.measure))}),
    )
    _add_bands(figure, check, axis)
    for name, curve in curves.items():
        style = _OVERFIT[name]
        drawn = Curve(list(range(len(curve))), list(curve), name)
        figure.add_trace(line([drawn], style.colour, style.width, line={"dash": style.dash}))
    keys = tuple(_OVERFIT[name].key for name in curves)
    return Drawing("overfit", "Overfitting a small set", _overfit_point(check, curves), figure, keys)


def _add_bands(figure: go.Figure, check: OverfitCurves, axis: Axis) -> None:
    """What is go, caution and no-go, as bands of colour with the bounds of the first two."""
    best, worst = check.direction.ranked((axis.low, axis.high))
    for first, second, role in (
        (best, check.go, "good-wash"),
        (check.go, check.caution, "warn-wash"),
        (check.caution, worst, "bad-wash"),
    ):
        figure.add_hrect(y0=first, y1=second, fillcolor=COLOURS[role].light, line_width=0, layer="below")
    lower_is_better = check.direction is Direction.MINIMIZE
    for name, value in (("go", check.go), ("caution", check.caution)):
        note(
            figure,
            f"{name} {'≤' if lower_is_better else '≥'} {number(value, 3)}",
            x=1,
            xref="paper",
            xanchor="right",
            y=axis.coordinate(value),
            yanchor="top" if lower_is_better else "bottom",
            bgcolor="rgba(0,0,0,0)",
            font={"size": 11, "color": SOFT},
        )


def _overfit_point(check: OverfitCurves, curves: dict[str, tuple[float | None, ...]]) -> str:
    honest = [value for value in curves["honest"] if value is not None]
    text = f"{label(check.measure)} went from {number(honest[0])} to {number(honest[-1])} in {len(honest) - 1} epochs."
    controls = [_OVERFIT[name].name for name in curves if name != "honest"]
    return f"{text} With {listed(controls)} it should not come as far." if controls else text
