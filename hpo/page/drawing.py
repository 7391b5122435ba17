"""What a figure of the report is, and the parts that the figures share."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from hpo.formatting import number, setting
from hpo.page.findings import Trial
from hpo.page.palette import COMPLETE, FAILED, INK, PRUNED, SURFACE

STATE_COLOUR = {"complete": COMPLETE, "pruned": PRUNED, "failed": FAILED, "running": INK, "waiting": PRUNED}
STATE_SYMBOL = {
    "complete": "circle",
    "pruned": "x-thin",
    "failed": "x",
    "running": "circle-open",
    "waiting": "circle-open",
}


@dataclass(frozen=True)
class Key:
    """One entry of a figure's legend: a role of the palette, the mark it is drawn with, and its name."""

    role: str
    mark: str  # dot | cross | thin-cross | diamond | square | ring | star | line | dashed | dotted
    text: str


@dataclass(frozen=True)
class Drawing:
    """A figure, its title, its point in a sentence, and its legend."""

    name: str  # unique in the page
    title: str
    point: str
    figure: go.Figure
    keys: tuple[Key, ...] = ()
    least_px: int = 0  # narrower than this it scrolls sideways in its own box


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


def hover(trial: Trial, name: str = "") -> str:
    """What a trial says when it is pointed at."""
    lines = [
        f"<b>{safe(name) or f'trial {trial.number}'}</b>, {trial.state}{', the default' if trial.default else ''}",
        f"score {number(trial.value)}",
        *(f"{safe(key)} = {safe(setting(value))}" for key, value in trial.params.items()),
    ]
    if trial.reason:
        lines.append(safe(trial.reason[:90]))
    return "<br>".join(lines)


def brief(trial: Trial) -> str:
    """The same on lines, where it is repeated at every point."""
    return f"trial {trial.number}, {trial.state}: {number(trial.value)}"


def broken(lines: Iterable[tuple[Sequence[Any], Sequence[Any], str]]) -> dict[str, list[Any]]:
    """Many lines as one trace: a gap stands between two of them."""
    x: list[Any] = []
    y: list[Any] = []
    text: list[str | None] = []
    for xs, ys, said in lines:
        x += [*xs, None]
        y += [*ys, None]
        text += [*[said] * len(xs), None]
    return {"x": x, "y": y, "text": text}


def line(
    lines: Iterable[tuple[Sequence[Any], Sequence[Any], str]], colour: str, width: float = 1.5, **more: Any
) -> go.Scatter:
    style = {"color": colour, "width": width, **more.pop("line", {})}
    return go.Scatter(**broken(lines), mode="lines", line=style, hoverinfo="text", connectgaps=False, **more)


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


SWEEP_KEYS = (
    Key("complete", "dot", "complete"),
    Key("pruned", "thin-cross", "pruned"),
    Key("failed", "cross", "failed"),
    Key("ink", "ring", "running or interrupted"),
)


def keys_for(trials: Iterable[Trial], *more: Key) -> tuple[Key, ...]:
    """The legend of the states that occur, and more."""
    states = {trial.state for trial in trials}
    shown = {"complete": "complete", "pruned": "pruned", "failed": "failed", "running": "running or interrupted"}
    return (*(key for key in SWEEP_KEYS if any(shown[state] == key.text for state in states if state in shown)), *more)
