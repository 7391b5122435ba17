"""Figures of the promotion and of the preflight."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from hpo.formatting import better, count, interval, label, listed, mean_of, number
from hpo.page.axes import axis_of
from hpo.page.drawing import Drawing, Key, blank, dots, line, note, safe, wrapped
from hpo.page.findings import Agreement, Overfit, Promotion
from hpo.page.palette import AXIS, BASELINE, COLOURS, COMPLETE, DEFAULT, SOFT
from hpo.promotion.candidate import DEFAULT as DEFAULT_NAME
from hpo.promotion.intervals import Interval
from hpo.promotion.verdict import Verdict

REACH = 4.0
_SYMBOL = {COMPLETE: "circle", DEFAULT: "diamond", BASELINE: "square"}


def scores(promotion: Promotion, verdict: Verdict) -> Drawing | None:
    """Every candidate and baseline on the test split, mean and interval."""
    rows = [
        (result.candidate.name, result.test, _colour(result.candidate.name))
        for result in verdict.results
        if result.test
    ]
    rows += [
        (one.name, promotion.baselines[one.name], BASELINE)
        for one in verdict.baselines
        if one.name in promotion.baselines
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


def _colour(name: str) -> str:
    return DEFAULT if name == DEFAULT_NAME else COMPLETE


def _whiskers(rows: list[tuple[str, Interval, str]], *, title: str, zero: bool = False) -> go.Figure:
    """A dot and whiskers a row, the first on top, each with its mean beside it. A baseline that is far from all that is
    compared stands at the edge, with its mean: it would squeeze the others."""
    low, high = _window(rows)
    inside = [low <= one.mean <= high for _, one, _ in rows]
    ends = [end for (_, one, _), shown in zip(rows, inside, strict=True) if shown for end in (one.low, one.high)]
    axis = axis_of([*ends, 0.0] if zero else ends)
    figure = blank(
        78 + 38 * len(rows),
        x=axis.plotly(title={"text": safe(title)}),
        y={
            "tickvals": list(range(len(rows))),
            "ticktext": [wrapped(name) for name, _, _ in rows],
            "range": [len(rows) - 0.45, -0.75],
            "showgrid": False,
        },
    )
    if zero:
        figure.add_vline(x=0, line={"color": AXIS, "width": 2}, layer="below")
    for row, (name, one, colour) in enumerate(rows):
        said = f"{safe(name)}: {interval(one)}"
        if not inside[row]:
            below = one.mean < low
            edge = axis.low if below else axis.high
            note(
                figure,
                f"{'◂ ' if below else ''}{mean_of(one)}{'' if below else ' ▸'}",
                y=row,
                hovertext=said,
                x=math.log10(edge) if axis.log else edge,
                xanchor="left" if below else "right",
                font={"size": 12, "color": colour},
            )
            continue
        figure.add_trace(line([([one.low, one.high], [row, row], said)], colour, 2))
        figure.add_trace(dots([one.low, one.high], [row, row], [said, said], colour, "line-ns-open", 9))
        figure.add_trace(dots([one.mean], [row], [said], colour, _SYMBOL[colour], 9))
        note(
            figure,
            mean_of(one, signed=zero),
            x=math.log10(one.mean) if axis.log else one.mean,
            y=row,
            yshift=17,
            bgcolor="rgba(0,0,0,0)",
        )
    return figure


def _window(rows: list[tuple[str, Interval, str]]) -> tuple[float, float]:
    """Where means are drawn to scale: around the configurations and the baseline nearest to them, and REACH times that
    range to either side."""
    ours = [one for _, one, colour in rows if colour != BASELINE]
    if not ours:
        return -math.inf, math.inf
    low, high = min(one.low for one in ours), max(one.high for one in ours)
    others = [one for _, one, colour in rows if colour == BASELINE]
    nearest = min(others, key=lambda one: max(low - one.mean, one.mean - high), default=ours[0])
    low, high = min(low, nearest.low), max(high, nearest.high)
    return low - REACH * (high - low), high + REACH * (high - low)


def _scores_point(promotion: Promotion, verdict: Verdict) -> str:
    winner = verdict.results[0]
    text = f"The first row has the best validation score. On test it scores {interval(winner.test)}."
    best = promotion.best_baseline
    if best:
        ahead = winner.ahead_of_baselines.get(best.name)
        if ahead:
            said = "ahead of" if ahead.low > 0 else "behind" if ahead.high < 0 else "not separable from"
            text += f" It is {said} the best baseline, {best.name} (lead {interval(ahead, signed=True)})."
    return text


def leads(verdict: Verdict) -> Drawing | None:
    """By how much each candidate leads the default, seed by seed and example by example."""
    rows = [
        (result.candidate.name, result.ahead_of_default, COMPLETE)
        for result in verdict.results
        if result.ahead_of_default
    ]
    if not rows:
        return None
    clear = [name for name, one, _ in rows if one.low > 0]
    worse = [name for name, one, _ in rows if one.high < 0]
    point = (
        f"Clearly ahead of the default: {listed(clear) or 'none'}; clearly behind: {listed(worse) or 'none'}. "
        f"An interval that crosses zero decides nothing."
    )
    figure = _whiskers(rows, title=f"lead in {label(verdict.goal)}: right of 0 is better", zero=True)
    return Drawing("leads", "Lead over the default, on the same examples and seeds", point, figure)


def agreement(found: Agreement, promotion: Promotion, goal: str) -> Drawing | None:
    """Cheap value against full value of each promoted configuration. None below two."""
    if len(found.points) < 2:
        return None
    runs = [(name, run.value) for name, run in promotion.runs if run.value is not None]
    cheap_of = {name: cheap for name, cheap, _ in found.points}
    x_axis = axis_of(cheap for _, cheap, _ in found.points)
    y_axis = axis_of(value for name, value in runs if name in cheap_of)
    figure = blank(
        340,
        x=x_axis.plotly(title={"text": f"cheap: {safe(label(goal))} on validation"}),
        y=y_axis.plotly(title={"text": f"full: {safe(label(goal))} on validation"}),
    )
    seeds = [
        (cheap_of[name], value, f"{safe(name)}, one seed: {number(value)}") for name, value in runs if name in cheap_of
    ]
    if seeds:
        x, y, text = zip(*seeds, strict=True)
        figure.add_trace(dots(x, y, text, SOFT, "line-ew-open", 8))
    labelled: list[float] = []
    for name, cheap, full in found.points:
        colour, height = _colour(name), y_axis.share(full)
        figure.add_trace(
            dots(
                [cheap],
                [full],
                [f"{safe(name)}: cheap {number(cheap)}, full {number(full)}"],
                colour,
                _SYMBOL[colour],
                11,
            )
        )
        if any(abs(height - other) < 0.06 for other in labelled):
            continue  # it would cover another label; pointing at the mark tells
        labelled.append(height)
        right = x_axis.share(cheap) > 0.5
        note(
            figure,
            name,
            x=math.log10(cheap) if x_axis.log else cheap,
            y=math.log10(full) if y_axis.log else full,
            xanchor="right" if right else "left",
            xshift=-8 if right else 8,
            bgcolor="rgba(0,0,0,0)",
        )
    keys = (
        Key("complete", "dot", "mean of a promoted configuration"),
        Key("default", "diamond", "of the default"),
        Key("soft", "line", "one seed"),
    )
    return Drawing("agreement", "Does the cheap fidelity rank like the full one?", agreement_point(found), figure, keys)


def agreement_point(found: Agreement) -> str:
    configurations = count(len(found.points), "configuration")
    if found.spearman is None:
        return f"{configurations} cannot be ranked against each other: too few, or all alike."
    said = f"Spearman rank correlation {found.spearman:.2f} over {configurations}"
    if len(found.points) < 6:
        return f"{said}, far too few to judge the cheap fidelity by."
    worth = (
        "the cheap fidelity ranks like the full one"
        if found.spearman >= 0.7
        else "the cheap fidelity is a rough guide"
        if found.spearman >= 0.2
        else "the cheap fidelity does not predict the full one"
    )
    return f"{said}: {worth}. They are the sweep's best and the default, not a random sample."


def overfit(found: Overfit) -> Drawing | None:
    """Learning a fixed set by heart, with the bands that decide. None without curves."""
    styles = {"honest": (COMPLETE, "solid", 2.6), "shuffled": (DEFAULT, "dash", 2), "zeroed": (BASELINE, "dot", 2)}
    curves = {name: curve for name, curve in found.curves.items() if any(value is not None for value in curve)}
    if "honest" not in curves:
        return None
    axis = axis_of([value for curve in curves.values() for value in curve] + [found.go, found.caution])
    longest = max(len(curve) for curve in curves.values())
    figure = blank(
        320,
        x={"title": {"text": "epoch"}, "range": [0, longest - 1 or 1], "tickformat": "d"},
        y=axis.plotly(title={"text": safe(label(found.measure))}),
    )
    lower = found.go <= found.caution
    best, worst = (axis.low, axis.high) if lower else (axis.high, axis.low)
    for first, second, role in (
        (best, found.go, "good-wash"),
        (found.go, found.caution, "warn-wash"),
        (found.caution, worst, "bad-wash"),
    ):
        figure.add_hrect(y0=first, y1=second, fillcolor=COLOURS[role].light, line_width=0, layer="below")
    for name, value in (("go", found.go), ("caution", found.caution)):
        note(
            figure,
            f"{name} {'≤' if lower else '≥'} {number(value, 3)}",
            x=1,
            xref="paper",
            xanchor="right",
            y=math.log10(value) if axis.log else value,
            yanchor="top" if lower else "bottom",
            bgcolor="rgba(0,0,0,0)",
            font={"size": 11, "color": SOFT},
        )
    for name, curve in curves.items():
        colour, dash, width = styles[name]
        figure.add_trace(line([(list(range(len(curve))), list(curve), name)], colour, width, line={"dash": dash}))
    keys = tuple(
        Key(
            {"honest": "complete", "shuffled": "default", "zeroed": "baseline"}[name],
            {"honest": "line", "shuffled": "dashed", "zeroed": "dotted"}[name],
            {"honest": "as it is", "shuffled": "labels shuffled", "zeroed": "inputs zeroed"}[name],
        )
        for name in curves
    )
    return Drawing("overfit", "Learning a small set by heart", _overfit_point(found, curves), figure, keys)


def _overfit_point(found: Overfit, curves: dict[str, tuple[float | None, ...]]) -> str:
    honest = [value for value in curves["honest"] if value is not None]
    text = f"{label(found.measure)} went from {number(honest[0])} to {number(honest[-1])} in {len(honest) - 1} epochs."
    others = [{"shuffled": "shuffled labels", "zeroed": "zeroed inputs"}[name] for name in curves if name != "honest"]
    return f"{text} With {listed(others)} it should not come as far." if others else text


def training(promotion: Promotion, verdict: Verdict) -> Drawing | None:
    """The winner's and the default's runs at full fidelity: best validation score by epoch, a line a seed."""
    names = list(dict.fromkeys([verdict.results[0].candidate.name, DEFAULT_NAME]))
    runs = [(name, run) for name, run in promotion.runs if name in names and run.curve]
    if not runs:
        return None
    axis = axis_of((value for _, run in runs for value in run.curve.values()), direction=verdict.direction, whole=True)
    figure = blank(
        320,
        x={"title": {"text": "epoch"}, "tickformat": "d"},
        y=axis.plotly(title={"text": f"best {safe(label(verdict.goal))} so far"}),
    )
    for name in names:
        drawn = [
            ([epoch + 1 for epoch in run.curve], list(run.curve.values()), f"{safe(name)}: {number(run.value)}")
            for other, run in runs
            if other == name
        ]
        figure.add_trace(line(drawn, _colour(name), 1.8))
    keys = [Key("complete", "line", names[0])] if names[0] != DEFAULT_NAME else []
    epochs = [run.best_epoch + 1 for name, run in runs if name == names[0] and run.best_epoch is not None]
    last = f" Its best epochs: {listed([str(epoch) for epoch in epochs])}." if epochs else ""
    return Drawing(
        "training",
        "Training at full fidelity",
        f"A line a seed, {names[0]} and the default.{last}" if len(names) > 1 else f"A line a seed, the default.{last}",
        figure,
        (*keys, Key("default", "line", "the default")),
    )
