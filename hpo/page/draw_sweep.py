"""Figures of the sweep: every trial by its number, and its learning curve."""

from __future__ import annotations

import plotly.graph_objects as go

from hpo.direction import Direction
from hpo.formatting import amount, count, label, listed, score
from hpo.page.axes import Axis, axis_of
from hpo.page.drawing import Curve, Drawing, blank, dots, line, note, safe
from hpo.page.findings import Sweep, Trial
from hpo.page.palette import COMPLETE, DEFAULT
from hpo.page.trial_marks import (
    DEFAULT_KEY,
    DRAWN_STATES,
    STATE_COLOUR,
    STATE_SYMBOL,
    add_states,
    brief,
    hover,
    keys_for,
)
from hpo.page.views import Key
from hpo.task import StateName


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
    add_states(
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
