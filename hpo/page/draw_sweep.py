"""Figures of the sweep."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from hpo.direction import Direction
from hpo.formatting import amount, count, label, listed, number, score, setting
from hpo.page import axes
from hpo.page.axes import Axis, Scale, axis_of
from hpo.page.drawing import (
    STATE_COLOUR,
    STATE_SYMBOL,
    Curve,
    Drawing,
    blank,
    brief,
    dots,
    hover,
    keys_for,
    line,
    note,
    safe,
    shortened,
)
from hpo.page.findings import Sweep, Trial
from hpo.page.importance import Importance, Importances
from hpo.page.palette import COMPLETE, DEFAULT, INK
from hpo.page.views import Key
from hpo.task import StateName

DEFAULT_KEY = Key("default", "diamond", "the default")
BEST_KEY = Key("ink", "ring", "the best")
DRAWN_STATES: tuple[StateName, ...] = (
    "pruned",
    "failed",
    "running",
    "paused",
    "complete",
)  # in the order in which they are drawn


def history(sweep: Sweep, goal: str) -> Drawing:
    """Every trial's score in the order of their numbers, and the best so far."""
    shown = [trial for trial in sweep.trials if trial.value is not None]
    unscored = _failed_without_score(sweep)
    axis = axis_of((trial.value for trial in shown), direction=sweep.direction)
    figure = blank(
        340,
        x={"title": {"text": "trial"}, "range": [-0.8, max(4, len(sweep.trials)) - 0.2]},
        y=axis.plotly(title={"text": safe(label(goal))}),
    )
    if sweep.improvements:
        figure.add_trace(line([_best_so_far(sweep)], COMPLETE, 2, line={"shape": "hv"}))
    worst = sweep.direction.ranked((axis.low, axis.high))[-1]
    _add_states(
        figure,
        [*shown, *unscored],
        lambda trial: trial.number,
        lambda trial: worst if trial.value is None else trial.value,
    )
    if sweep.best:
        _name_best(figure, sweep.best, axis, len(sweep.trials), sweep.direction)
    more = [Key("complete", "line", "best so far")] if sweep.improvements else []
    if sweep.default:
        more.append(DEFAULT_KEY)
    keys = keys_for([*shown, *unscored], *more)
    return Drawing("history", "Every trial, and the best so far", _history_point(sweep, goal, axis), figure, keys)


def _failed_without_score(sweep: Sweep) -> list[Trial]:
    return [trial for trial in sweep.trials if trial.state == "failed" and trial.value is None]


def _best_so_far(sweep: Sweep) -> Curve:
    """The improvements, and the last of them up to the last trial."""
    numbers = [step.number for step in sweep.improvements]
    values = [step.value for step in sweep.improvements]
    last = max(trial.number for trial in sweep.trials)
    return Curve([*numbers, last], [*values, values[-1]], "best so far")


def _add_states(
    figure: go.Figure,
    trials: list[Trial],
    x: Callable[[Trial], float],
    y: Callable[[Trial], float | None],
    parameter: str = "",
) -> None:
    """One trace a state, the completed ones on top; the default as a diamond. `parameter` is named first."""

    def add(group: list[Trial], colour: str, symbol: str, size: float) -> None:
        if group:
            xs, ys, texts = map(x, group), map(y, group), (hover(trial, parameter) for trial in group)
            figure.add_trace(dots(list(xs), list(ys), list(texts), colour, symbol, size))

    for state in DRAWN_STATES:
        symbol = STATE_SYMBOL[state]
        size = 6 if symbol.endswith("thin") else 8
        group = [trial for trial in trials if trial.state == state and not trial.is_default]
        add(group, STATE_COLOUR[state], symbol, size)
    add([trial for trial in trials if trial.is_default], DEFAULT, "diamond", 11)


def _name_best(figure: go.Figure, best: Trial, axis: Axis, trials: int, direction: Direction) -> None:
    right = best.number > trials / 2
    note(
        figure,
        f"trial {best.number}: {score(best.value)}",
        x=best.number,
        y=axis.coordinate(best.score),
        xanchor="right" if right else "left",
        yshift=15 * direction.sign,
    )


def _history_point(sweep: Sweep, goal: str, axis: Axis) -> str:
    if not sweep.best:
        return "No trial has been completed, so there is no best one."
    later = sum(trial.number > sweep.best.number for trial in sweep.trials)
    sentences = [
        f"Trial {sweep.best.number} is the best, at {amount(sweep.best.value, goal)}.",
        f"{count(later, 'later trial')} did not improve on it." if later else "It is the last so far.",
    ]
    if sweep.default and sweep.default.value is not None and sweep.default is not sweep.best:
        sentences.append(f"The default scored {amount(sweep.default.value, goal)}.")
    if axis.outside:
        sentences.append(_outside(axis.outside, "trial"))
    if sweep.counts.get("pruned"):
        sentences.append("A pruned trial stands at its best score before it was stopped.")
    if _failed_without_score(sweep):
        sentences.append("A failed one without a score stands at the edge.")
    return " ".join(sentences)


def _outside(amount_outside: int, noun: str) -> str:
    return f"{count(amount_outside, f'far worse {noun}')} lie{'s' if amount_outside == 1 else ''} outside."


def curves(sweep: Sweep, goal: str) -> Drawing:
    """The best score so far of every trial at every epoch: what the pruner saw."""
    shown = [trial for trial in sweep.trials if trial.curve]
    axis = axis_of((value for trial in shown for value in trial.curve.values()), direction=sweep.direction)
    edge = 0.02 * sweep.epochs_each + 0.1
    figure = blank(
        360,
        x={"title": {"text": "epoch"}, "range": [1 - edge, sweep.epochs_each + edge], "tickformat": "d"},
        y=axis.plotly(title={"text": f"best {safe(label(goal))} so far"}),
    )
    for state in DRAWN_STATES:
        group = [trial for trial in shown if trial.state == state and not trial.is_default]
        if group:
            _add_curves(figure, group, state)
    for trial, colour in ((sweep.best, COMPLETE), (sweep.default, DEFAULT)):
        if trial and trial.curve:
            figure.add_trace(line([_curve(trial)], colour, 3))
            symbol = "circle" if trial.state == "complete" else "x"
            figure.add_trace(dots([max(trial.curve) + 1], [trial.value], [hover(trial)], colour, symbol, 8))
    more = [Key("complete", "line", f"the best, trial {sweep.best.number}")] if sweep.best else []
    if sweep.default and sweep.default.curve:
        more.append(Key("default", "line", "the default"))
    point = _curves_point(sweep)
    if axis.outside:
        point += f" {_outside(axis.outside, 'value')}"
    return Drawing("curves", "Learning curves", point, figure, keys_for(shown, *more))


def _add_curves(figure: go.Figure, group: list[Trial], state: StateName) -> None:
    """The curves of the trials of one state, each with a mark at its end unless it is complete."""
    colour, ended_early = STATE_COLOUR[state], state in ("pruned", "failed")
    figure.add_trace(
        line(
            [_curve(trial) for trial in group],
            colour,
            1 if ended_early else 1.4,
            line={"dash": "dot"} if ended_early else {},
            opacity=0.6 if ended_early else 0.55,
        )
    )
    if state == "complete":
        return
    last_epochs = [max(trial.curve) + 1 for trial in group]
    values = [trial.value for trial in group]
    figure.add_trace(dots(last_epochs, values, [hover(trial) for trial in group], colour, STATE_SYMBOL[state], 7))


def _curve(trial: Trial) -> Curve:
    return Curve([epoch + 1 for epoch in trial.curve], list(trial.curve.values()), brief(trial))


def _curves_point(sweep: Sweep) -> str:
    ends: dict[StateName, str] = {"complete": "ran to the end", "pruned": "stopped early", "failed": "failed"}
    counted = [
        f"{count(sweep.counts[state], 'trial')} {ending}" for state, ending in ends.items() if sweep.counts.get(state)
    ]
    text = (listed(counted) or "No trial has ended") + "."
    if sweep.counts.get("pruned") and sweep.saved:
        text += f" Stopping early saved {sweep.saved:.0%} of the epochs."
    return text


def importance_bars(importances: Importances) -> list[Drawing]:
    """One figure for each measure that could be computed, with the same rows and the same axis."""
    measures = [measure for measure in importances.measures if measure.shares]
    names = list(dict.fromkeys(name for measure in measures for name in measure.shares))
    most = max((share for measure in measures for share in measure.shares.values()), default=1.0)
    return [_bars(measure, names[::-1], importances.complete, most) for measure in measures]


def _bars(measure: Importance, names: list[str], complete: int, most: float) -> Drawing:
    """A bar a parameter, the last name on top, on an axis up to the largest share of all measures."""
    shares = measure.shares
    figure = blank(
        70 + 34 * len(names),
        x={"range": [0, 1.15 * most], "tickformat": ".0%"},
        y={
            "tickvals": list(range(len(names))),
            "ticktext": [safe(name) for name in names],
            "ticklabelstandoff": 6,
            "range": [-0.6, len(names) - 0.4],
            "showgrid": False,
        },
        bargap=0.45,
    )
    figure.add_trace(
        go.Bar(
            x=[shares.get(name, 0.0) for name in names],
            y=list(range(len(names))),
            orientation="h",
            marker={"color": COMPLETE, "cornerradius": 4},
            hoverinfo="text",
            cliponaxis=False,
            textposition="outside",
            text=[f"{shares[name]:.0%}" if name in shares else "skipped" for name in names],
            textfont={"color": INK, "size": 12},
            hovertext=[
                f"{safe(name)}: {shares[name]:.1%}" if name in shares else f"{safe(name)}: skipped" for name in names
            ],
        )
    )
    first = max(shares, key=lambda name: shares[name])
    point = f"{first} takes {shares[first]:.0%}, over {count(complete, 'completed trial')}."
    title = f"{measure.measure}: {measure.question}"
    return Drawing(f"importance-{measure.measure.lower()}", title, point, figure)


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


def slices(sweep: Sweep, scales: list[Scale], goal: str) -> list[Drawing]:
    """The score against one parameter at a time."""
    shown = [trial for trial in sweep.trials if trial.value is not None]
    axis = axis_of((trial.value for trial in shown), direction=sweep.direction)
    drawings = []
    for scale in scales:
        trials = [trial for trial in shown if scale.name in trial.params]
        drawings.append(_slice(sweep, trials, scale, axis, goal))
    return drawings


def _slice(sweep: Sweep, trials: list[Trial], scale: Scale, axis: Axis, goal: str) -> Drawing:
    ticks = scale.ticks(4)
    margin = 0.06 if scale.choices is None else 0.2
    figure = blank(
        240,
        x={
            "range": [-margin, 1 + margin],
            "tickvals": list(ticks),
            "ticktext": [safe(shortened(text, 12)) for text in ticks.values()],
            "tickangle": 0,
        },
        y=axis.plotly(title={"text": safe(label(goal))}),
    )
    _add_states(
        figure,
        trials,
        lambda trial: scale.position(trial.params[scale.name]) + _jitter(trial, scale),
        lambda trial: trial.value,
        scale.name,
    )
    if sweep.best and scale.name in sweep.best.params:
        figure.add_trace(
            dots(
                [scale.position(sweep.best.params[scale.name]) + _jitter(sweep.best, scale)],
                [sweep.best.value],
                [hover(sweep.best, scale.name)],
                INK,
                "circle-open",
                14,
            )
        )
    return Drawing(
        f"slice {scale.name}",
        f"{scale.name}{' (log)' if scale.log else ''}",
        _slice_point(sweep, scale),
        figure,
    )


def _jitter(trial: Trial, scale: Scale) -> float:
    """Trials of one choice stand side by side, each always in the same place."""
    if scale.choices is None:
        return 0.0
    return (trial.number * 0.618 % 1 - 0.5) * 0.35 / max(1, len(scale.choices) - 1)


def _slice_point(sweep: Sweep, scale: Scale) -> str:
    top = [trial for trial in sweep.ranked if scale.name in trial.params][:3]
    if not top:
        return "No completed trial searched it."
    best = f"Best at {setting(top[0].params[scale.name])}"
    if len(top) < 3:
        return best + "."
    values = [trial.params[scale.name] for trial in top]
    if len(set(values)) == 1:
        return f"{best}, like the whole best three."
    edge = axes.near_edge(scale, values)
    if edge:
        return f"{best}; the best three crowd at the {edge} edge: a wider range may hold better ones."
    if scale.choices is not None:
        return f"{best}; the best three: {listed([setting(value) for value in values])}."
    return f"{best}; the best three lie in {number(min(values))} to {number(max(values))}."
