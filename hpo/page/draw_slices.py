"""Slices: the score against one parameter at a time."""

from __future__ import annotations

from hpo.formatting import label, listed, number, setting
from hpo.page import axes
from hpo.page.axes import Axis, Scale, axis_of
from hpo.page.drawing import Drawing, blank, dots, safe, shortened
from hpo.page.findings import Sweep, Trial
from hpo.page.palette import INK
from hpo.page.trial_marks import add_states, hover


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
    add_states(
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
