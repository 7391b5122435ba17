"""All parameters of a sweep at once: a column each, and a line a trial through its values to its score.

A hundred parameters are drawn as readily as ten: each kind of mark is one trace, because plotly checks all that a
figure has whenever an annotation or a shape is added.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hpo.direction import Direction
from hpo.formatting import label, listed, number, setting
from hpo.page import axes
from hpo.page.axes import Axis, Scale, axis_of
from hpo.page.drawing import Curve, Drawing, blank, line, safe, shortened
from hpo.page.findings import Sweep, Trial
from hpo.page.palette import AXIS, COMPLETE, DEFAULT, INK, PALE, PRUNED, SOFT
from hpo.page.trial_marks import brief
from hpo.page.views import Key

TITLE_HEIGHT = 1.03  # of a column's title; the columns reach from 0 to 1
TITLE_LETTERS = 12  # of a line of it: as many as fit above a column
LINE_PX = 16
NARROW = 1 / 3  # of a range, within which numbers agree


@dataclass(frozen=True)
class Column:
    """A vertical axis: its title and its ticks."""

    title: str  # HTML, as plotly reads it
    ticks: Mapping[float, str]  # height, from 0 to 1 -> label


def parallel(sweep: Sweep, scales: list[Scale], goal: str) -> Drawing | None:
    """Every trial as a line through its parameters to its score. None below two completed trials."""
    if len(sweep.ranked) < 2 or not scales:
        return None
    shown = [trial for trial in sweep.trials if trial.value is not None]
    axis = axis_of((trial.value for trial in shown), direction=sweep.direction)
    top = sweep.ranked[: max(2, math.ceil(0.1 * len(sweep.ranked)))]
    conditional = {scale.name for scale in scales if any(scale.name not in trial.params for trial in shown)}
    lines = max(2, *(len(_title_lines(scale.name)) for scale in scales))
    figure = blank(
        358 + 14 + LINE_PX * lines,
        x={"range": [-0.5, len(scales) + 0.5], "visible": False},
        y={"range": [(axes.OFF if conditional else 0.0) - 0.05, 1.03], "visible": False},
        margin={"l": 4, "r": 4, "t": 14 + LINE_PX * lines, "b": 4},
    )
    pruned = [trial for trial in shown if trial.state != "complete" and not trial.is_default]
    columns = [_column(scale, is_conditional=scale.name in conditional) for scale in scales]
    columns.append(Column(f"<b>{safe(label(goal))}<br>(best at top)</b>", _score_ticks(axis, sweep.direction)))
    figure.add_trace(_axis_lines(len(columns)))
    _add_paths(figure, sweep, scales, axis, top)
    figure.add_trace(_tick_labels(columns))
    figure.add_trace(_titles(columns))
    keys = (
        Key("complete", "line", f"the best {len(top)}"),
        Key("pale", "line", "other completed"),
        *([Key("pruned", "line", "pruned or failed")] if pruned else []),
        *([Key("default", "dashed", "the default")] if sweep.default else []),
    )
    return Drawing("parallel", "All parameters at once", _parallel_point(top, scales), figure, keys, 92 * len(columns))


def _add_paths(figure: go.Figure, sweep: Sweep, scales: list[Scale], axis: Axis, top: tuple[Trial, ...]) -> None:
    """The lines of all trials that have a score, the best ones and the default on top."""
    pruned: list[Trial] = []
    rest: list[Trial] = []
    drawn_on_top = {trial.number for trial in top}
    for trial in sweep.trials:
        if trial.value is None or trial.is_default or trial.number in drawn_on_top:
            continue
        (rest if trial.state == "complete" else pruned).append(trial)

    def paths(trials: Iterable[Trial]) -> list[Curve]:
        return [_path(trial, scales, axis, sweep.direction) for trial in trials]

    if pruned:
        figure.add_trace(line(paths(pruned), PRUNED, 1, opacity=0.35))
    if rest:
        figure.add_trace(line(paths(rest), PALE, 1.2, opacity=0.8))
    figure.add_trace(line(paths(top), COMPLETE, 2.6, opacity=1))
    if sweep.default and sweep.default.value is not None:
        figure.add_trace(line(paths([sweep.default]), DEFAULT, 2.6, line={"dash": "dash"}))


def _height(value: float, axis: Axis, direction: Direction) -> float:
    """Where a score lies on the last column, from 0 to 1, the better the higher."""
    share = axis.share(value)
    return share if direction.better(axis.high, axis.low) else 1 - share


def _path(trial: Trial, scales: list[Scale], axis: Axis, direction: Direction) -> Curve:
    heights = [scale.position(trial.params[scale.name]) if scale.name in trial.params else axes.OFF for scale in scales]
    return Curve(list(range(len(scales) + 1)), [*heights, _height(trial.score, axis, direction)], brief(trial))


def _score_ticks(axis: Axis, direction: Direction) -> dict[float, str]:
    ticks = axes.log_ticks(axis.low, axis.high) if axis.log else axes.round_ticks(float(axis.low), float(axis.high))
    return {_height(tick, axis, direction): number(tick, 3) for tick in ticks}


def _column(scale: Scale, *, is_conditional: bool) -> Column:
    """A conditional parameter has one more place, below its range, for the trials that did not search it."""
    absent = {axes.OFF: "not searched"} if is_conditional else {}
    return Column(f"<b>{'<br>'.join(map(safe, _title_lines(scale.name)))}</b>", scale.ticks() | absent)


def _axis_lines(columns: int) -> go.Scatter:
    places = range(columns)
    return go.Scatter(
        x=[x for place in places for x in (place, place, None)],
        y=[0, 1, None] * columns,
        mode="lines",
        line={"color": AXIS, "width": 1},
        hoverinfo="skip",
    )


def _tick_labels(columns: Sequence[Column]) -> go.Scatter:
    """At the left of each axis, over the lines; page.css gives them a rim in the colour of the surface."""
    labels = [(place, height, text) for place, column in enumerate(columns) for height, text in column.ticks.items()]
    return _texts(
        [place - 0.04 for place, _, _ in labels],
        [height for _, height, _ in labels],
        [safe(shortened(text, 14)) for _, _, text in labels],
        textposition="middle left",
        textfont={"size": 11, "color": SOFT},
    )


def _titles(columns: Sequence[Column]) -> go.Scatter:
    return _texts(
        list(range(len(columns))),
        [TITLE_HEIGHT] * len(columns),
        [column.title for column in columns],
        textposition="top center",
        textfont={"size": 12, "color": INK},
    )


def _texts(x: Sequence[float], y: Sequence[float], text: Sequence[str], **style: Any) -> go.Scatter:
    return go.Scatter(x=x, y=y, text=text, mode="text", hoverinfo="skip", cliponaxis=False, **style)


def _title_lines(name: str) -> list[str]:
    """A parameter's name in lines short enough for a column: "task.", "perceptual_", "weight"."""
    owner, dot, field = name.rpartition(".")
    lines = [""]
    for part in re.findall("[^_]*_|[^_]+", field):
        if lines[-1] and len(lines[-1] + part) > TITLE_LETTERS:
            lines.append("")
        lines[-1] += shortened(part, TITLE_LETTERS)
    return [f"{owner}{dot}", *lines]


def _span(scale: Scale, values: Sequence[Any]) -> str:
    """The values of a parameter that agree: one, or a range of numbers."""
    if scale.choices or min(values) == max(values):
        return setting(values[0])
    return f"{number(min(values), 3)} to {number(max(values), 3)}"


def _parallel_point(top: tuple[Trial, ...], scales: list[Scale]) -> str:
    narrow = []
    for scale in scales:
        values = [trial.params[scale.name] for trial in top if scale.name in trial.params]
        places = [scale.position(value) for value in values]
        widest = 0.0 if scale.choices else NARROW  # choices have no order: neighbours do not agree
        if len(values) == len(top) and np.ptp(places) <= widest:
            narrow.append(f"{scale.name} ({_span(scale, values)})")
    return f"The best {len(top)} completed trials agree on {listed(narrow) or 'no parameter'}."
