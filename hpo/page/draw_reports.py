"""What the trials of a study reported that was not run by hpo: by its own steps, as it was reported."""

from __future__ import annotations

from hpo.direction import Direction
from hpo.formatting import count, label
from hpo.page.axes import axis_of
from hpo.page.drawing import Curve, Drawing, blank, dots, line, safe
from hpo.page.findings import Sweep, Trial
from hpo.page.palette import COMPLETE
from hpo.page.trial_marks import DRAWN_STATES, STATE_COLOUR, STATE_SYMBOL, brief, hover, keys_for
from hpo.page.views import Key


def reports(sweep: Sweep, goal: str) -> Drawing:
    """Every trial's reports at every step, and the best trial's on top."""
    shown = [trial for trial in sweep.trials if trial.curve]
    steps = [step for trial in shown for step in trial.curve] or [0]
    axis = axis_of((value for trial in shown for value in trial.curve.values()), direction=sweep.direction)
    edge = 0.02 * (max(steps) - min(steps)) + 0.1
    figure = blank(
        360,
        x={"title": {"text": "step"}, "range": [min(steps) - edge, max(steps) + edge]},
        y=axis.plotly(title={"text": f"{safe(label(goal))}, as reported"}),
    )
    for state in DRAWN_STATES:
        group = [trial for trial in shown if trial.state == state]
        if group:
            style = {"dash": "dot"} if state in ("pruned", "failed") else {}
            figure.add_trace(line(map(_curve, group), STATE_COLOUR[state], 1.2, line=style, opacity=0.6))
        if group and state != "complete":
            ends, texts = [_end(trial) for trial in group], [hover(trial) for trial in group]
            xs, ys = [step for step, _ in ends], [value for _, value in ends]
            figure.add_trace(dots(xs, ys, texts, STATE_COLOUR[state], STATE_SYMBOL[state], 7))
    best = sweep.best if sweep.best and sweep.best.curve else None
    if best:
        figure.add_trace(line([_curve(best)], COMPLETE, 3))
    more = [Key("complete", "line", f"the best, trial {best.number}")] if best else []
    return Drawing("curves", "Learning curves", _point(sweep, shown), figure, keys_for(shown, *more))


def _curve(trial: Trial) -> Curve:
    return Curve(list(trial.curve), list(trial.curve.values()), brief(trial))


def _end(trial: Trial) -> tuple[int, float]:
    """The last step that was reported, and its value."""
    return list(trial.curve.items())[-1]


def _point(sweep: Sweep, shown: list[Trial]) -> str:
    if not shown:
        return "No trial reported a value on its way."
    verb = "minimized" if sweep.direction is Direction.MINIMIZE else "maximized"
    return f"{count(len(shown), 'trial')} of {len(sweep.trials)} reported values on their way; the goal is {verb}."
