"""What a figure of the report is, and the parts that the figures share."""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from hpo.page.palette import INK, SURFACE
from hpo.page.views import Key, Plot

DIGITS = 8  # of a number in a figure: scores may differ in the sixth


@dataclass(frozen=True)
class Drawing:
    """A figure, its title, its point in a sentence, and its legend."""

    name: str  # unique in the page
    title: str
    point: str
    figure: go.Figure
    keys: tuple[Key, ...] = ()
    least_px: int = 0  # narrower than this it scrolls sideways in its own box


def plot(drawing: Drawing) -> Plot:
    """The drawing as the page's templates take it."""
    data = _rounded(json.loads(drawing.figure.to_json()))
    return Plot(
        title=drawing.title,
        point=drawing.point,
        data=data,
        keys=drawing.keys,
        least_px=drawing.least_px,
        height_px=data.get("layout", {}).get("height") or Plot.height_px,
    )


def _rounded(value: Any) -> Any:
    """The same with as many digits as can be seen in a figure, which a long page is mostly made of."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


def blank(
    height: int, *, x: Mapping[str, Any] | None = None, y: Mapping[str, Any] | None = None, **layout: Any
) -> go.Figure:
    """A figure without traces; the page gives it the common template."""
    figure = go.Figure(layout={"template": {}, "height": height, "xaxis": x or {}, "yaxis": y or {}, **layout})
    figure.layout.template = go.layout.Template()
    return figure


def safe(text: Any) -> str:
    """Text for plotly, which reads tags."""
    return html.escape(str(text), quote=False)


def wrapped(text: str, width: int = 18) -> str:
    """A long label on several lines."""
    return "<br>".join(safe(part) for part in textwrap.wrap(text, width)) or " "


def shortened(text: str, most: int) -> str:
    """The text, cut to `most` letters."""
    return text if len(text) <= most else text[: most - 1] + "…"


@dataclass(frozen=True)
class Curve:
    """A line through points, and what it says when it is pointed at."""

    x: Sequence[float]
    y: Sequence[float | None]
    text: str


def line(curves: Iterable[Curve], colour: str, width: float = 1.5, **more: Any) -> go.Scatter:
    """The curves as one trace, with a gap between two of them."""
    style = {"color": colour, "width": width, **more.pop("line", {})}
    x: list[Any] = []
    y: list[Any] = []
    text: list[str | None] = []
    for curve in curves:
        x += [*curve.x, None]
        y += [*curve.y, None]
        text += [*[curve.text] * len(curve.x), None]
    return go.Scatter(x=x, y=y, text=text, mode="lines", line=style, hoverinfo="text", connectgaps=False, **more)


def dots(
    x: Sequence[Any],
    y: Sequence[Any],
    text: Sequence[str],
    colour: str,
    symbol: str = "circle",
    size: float = 8,
    **marker: Any,
) -> go.Scatter:
    """Markers; filled ones with a thin rim in the colour of the surface, so that neighbours stay apart."""
    rim = {"color": colour, "width": 1.6} if symbol.endswith(("thin", "open")) else {"color": SURFACE, "width": 1}
    return go.Scatter(
        x=list(x),
        y=list(y),
        text=list(text),
        mode="markers",
        hoverinfo="text",
        cliponaxis=False,
        marker={"color": colour, "symbol": symbol, "size": size, "line": rim, **marker},
    )


def note(figure: go.Figure, text: str, *, x: Any, y: Any, **more: Any) -> None:
    """A label beside a mark, legible over lines. On a logarithmic axis x and y are logarithms, as plotly wants."""
    style = {"showarrow": False, "font": {"size": 12, "color": INK}, "bgcolor": SURFACE, "borderpad": 2, "opacity": 0.9}
    figure.add_annotation(text=safe(text), x=x, y=y, **{**style, **more})
