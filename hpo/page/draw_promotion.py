"""Figures of the promotion: scores and leads on the test split, and the training at full fidelity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from hpo.formatting import better, interval, label, listed, mean_of, number
from hpo.page.axes import Axis, axis_of
from hpo.page.drawing import Curve, Drawing, blank, dots, line, note, safe, wrapped
from hpo.page.findings import Promotion, PromotionRun
from hpo.page.palette import AXIS, BASELINE, COMPLETE, DEFAULT
from hpo.page.views import Key
from hpo.promotion.candidate import DEFAULT as DEFAULT_NAME
from hpo.promotion.intervals import Interval
from hpo.promotion.results import Verdict

REACH = 4.0
SYMBOL = {COMPLETE: "circle", DEFAULT: "diamond", BASELINE: "square"}  # of a mark, by its colour


@dataclass(frozen=True)
class Row:
    """A named interval in a colour of the palette."""

    name: str
    interval: Interval
    colour: str


# -- intervals -------------------------------------------------------------------------------------------------------
def scores(promotion: Promotion, verdict: Verdict) -> Drawing | None:
    """Every candidate and baseline on the test split, mean and interval. None where there is no interval."""
    rows = [
        Row(verdict.title(result.candidate.name), result.test, colour_of(result.candidate.name))
        for result in verdict.results
        if result.test
    ]
    rows += [
        Row(baseline.name, promotion.baselines[baseline.name], BASELINE)
        for baseline in verdict.baselines
        if baseline.name in promotion.baselines
    ]
    if not rows:
        return None
    figure = _whiskers(rows, title=f"{label(verdict.goal)} on test: {better(verdict.direction)}")
    keys = (
        Key("complete", "dot", "promoted"),
        Key("default", "diamond", "the default"),
        *([Key("baseline", "square", "classical baseline")] if promotion.baselines else []),
    )
    return Drawing("scores", "Scores on the test split", _scores_point(promotion, verdict), figure, keys)


def colour_of(name: str) -> str:
    """The colour of a candidate: the default has one of its own."""
    return DEFAULT if name == DEFAULT_NAME else COMPLETE


def _whiskers(rows: list[Row], *, title: str, zero: bool = False) -> go.Figure:
    """A dot and whiskers a row, the first on top, each with its mean beside it.

    A baseline that is far from all that is compared stands at the edge, with its mean: it would squeeze the others.
    """
    low, high = _window(rows)
    inside = [low <= row.interval.mean <= high for row in rows]
    ends = [0.0] if zero else []
    for row, is_inside in zip(rows, inside, strict=True):
        if is_inside:
            ends += [row.interval.low, row.interval.high]
    axis = axis_of(ends)
    figure = blank(
        78 + 38 * len(rows),
        x=axis.plotly(title={"text": safe(title)}),
        y={
            "tickvals": list(range(len(rows))),
            "ticktext": [wrapped(row.name) for row in rows],
            "range": [len(rows) - 0.45, -0.75],
            "showgrid": False,
        },
    )
    if zero:
        figure.add_vline(x=0, line={"color": AXIS, "width": 2}, layer="below")
    for height, (row, is_inside) in enumerate(zip(rows, inside, strict=True)):
        if is_inside:
            _add_whisker(figure, row, height, axis, signed=zero)
        else:
            _add_at_edge(figure, row, height, axis, below=row.interval.mean < low)
    return figure


def _add_whisker(figure: go.Figure, row: Row, height: int, axis: Axis, *, signed: bool) -> None:
    low, mean, high = row.interval.low, row.interval.mean, row.interval.high
    text = _row_text(row)
    figure.add_trace(line([Curve([low, high], [height, height], text)], row.colour, 2))
    figure.add_trace(dots([low, high], [height, height], [text, text], row.colour, "line-ns-open", 9))
    figure.add_trace(dots([mean], [height], [text], row.colour, SYMBOL[row.colour], 9))
    note(
        figure,
        mean_of(row.interval, signed=signed),
        x=axis.coordinate(mean),
        y=height,
        yshift=17,
        bgcolor="rgba(0,0,0,0)",
    )


def _add_at_edge(figure: go.Figure, row: Row, height: int, axis: Axis, *, below: bool) -> None:
    mean = mean_of(row.interval)
    note(
        figure,
        f"◂ {mean}" if below else f"{mean} ▸",
        x=axis.coordinate(axis.low if below else axis.high),
        y=height,
        hovertext=_row_text(row),
        xanchor="left" if below else "right",
        font={"size": 12, "color": row.colour},
    )


def _row_text(row: Row) -> str:
    return f"{safe(row.name)}: {interval(row.interval)}"


def _window(rows: list[Row]) -> tuple[float, float]:
    """Where means are drawn to scale: around the configurations and the baseline nearest to them, and REACH times that
    range to either side."""
    candidates = [row.interval for row in rows if row.colour != BASELINE]
    if not candidates:
        return -math.inf, math.inf
    low = min(candidate.low for candidate in candidates)
    high = max(candidate.high for candidate in candidates)
    baselines = [row.interval for row in rows if row.colour == BASELINE]
    nearest = min(
        baselines,
        key=lambda baseline: max(low - baseline.mean, baseline.mean - high),
        default=candidates[0],
    )
    low, high = min(low, nearest.low), max(high, nearest.high)
    return low - REACH * (high - low), high + REACH * (high - low)


def _scores_point(promotion: Promotion, verdict: Verdict) -> str:
    exported, best = verdict.winning, promotion.best_baseline
    text = f"The first row was exported. On test it scores {interval(exported.test)}."
    lead = exported.ahead_of_baselines.get(best.name) if best else None
    if best is None or lead is None or verdict.sample.is_too_small:
        return text
    relation = "not separable from"
    if lead.low > 0:
        relation = "ahead of"
    elif lead.high < 0:
        relation = "behind"
    return f"{text} It is {relation} the best baseline, {best.name} (lead {interval(lead, signed=True)})."


def leads(verdict: Verdict) -> Drawing | None:
    """By how much each candidate leads the default, seed by seed and example by example. None without an interval."""
    rows = [
        Row(verdict.title(result.candidate.name), result.ahead_of_default, COMPLETE)
        for result in verdict.results
        if result.ahead_of_default
    ]
    if not rows:
        return None
    intervals = {result.candidate.name: result.ahead_of_default for result in verdict.results}
    ahead = [name for name, lead in intervals.items() if lead and lead.low > 0]
    behind = [name for name, lead in intervals.items() if lead and lead.high < 0]
    point = (
        f"Clearly ahead of the default: {listed(ahead) or 'none'}; clearly behind: {listed(behind) or 'none'}. "
        f"An interval that crosses zero decides nothing."
    )
    figure = _whiskers(rows, title=f"lead in {label(verdict.goal)}: right of 0 is better", zero=True)
    return Drawing("leads", "Lead over the default, on the same examples and seeds", point, figure)


# -- training --------------------------------------------------------------------------------------------------------
def training(promotion: Promotion, verdict: Verdict) -> Drawing | None:
    """The leader's and the default's runs at full fidelity: best validation score by epoch, a line a seed."""
    leader = verdict.leader or verdict.winner
    names = list(dict.fromkeys([leader, DEFAULT_NAME]))
    runs = [entry for entry in promotion.runs if entry.candidate in names and entry.run.curve]
    if not runs:
        return None
    values = [value for entry in runs for value in entry.run.curve.values()]
    axis = axis_of(values, direction=verdict.direction, whole=True)
    figure = blank(
        320,
        x={"title": {"text": "epoch"}, "tickformat": "d"},
        y=axis.plotly(title={"text": f"best {safe(label(verdict.goal))} so far"}),
    )
    for name in names:
        curves = [_training_curve(entry) for entry in runs if entry.candidate == name]
        figure.add_trace(line(curves, colour_of(name), 1.8))
    keys = [Key("default", "line", "the default")]
    if leader != DEFAULT_NAME:
        keys.insert(0, Key("complete", "line", verdict.title(leader)))
    point = _training_point(leader, runs)
    return Drawing("training", "Training at full fidelity", point, figure, tuple(keys))


def _training_curve(entry: PromotionRun) -> Curve:
    curve = entry.run.curve
    return Curve(
        [epoch + 1 for epoch in curve], list(curve.values()), f"{safe(entry.candidate)}: {number(entry.run.value)}"
    )


def _training_point(leader: str, runs: list[PromotionRun]) -> str:
    who = "the default" if leader == DEFAULT_NAME else f"{leader} and the default"
    epochs = [
        str(entry.run.best_epoch + 1)
        for entry in runs
        if entry.candidate == leader and entry.run.best_epoch is not None
    ]
    best_epochs = f" The best epochs of {leader}: {listed(epochs)}." if epochs else ""
    return f"A line a seed, {who}.{best_epochs}"
