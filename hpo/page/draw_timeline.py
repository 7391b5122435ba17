"""When the trials of a sweep ran, and beside which others."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from hpo.formatting import count, duration
from hpo.page.drawing import Drawing, blank
from hpo.page.findings import Sweep, Trial
from hpo.page.palette import SURFACE
from hpo.page.trial_marks import DRAWN_STATES, STATE_COLOUR, hover, keys_for
from hpo.page.views import Key
from hpo.task import StateName

UNITS = (("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True)
class Span:
    """A trial's time, in seconds since the first one began. One that has not ended lasts to the last sign of life."""

    trial: Trial
    began: float
    ended: float
    lane: int  # the first that was free when it began


def timeline(sweep: Sweep) -> Drawing | None:
    """None where nothing has begun."""
    spans = _spans(sweep)
    if not spans:
        return None
    whole, lanes = max(span.ended for span in spans), max(span.lane for span in spans) + 1
    unit, size = next((name, size) for name, size in UNITS if whole >= 3 * size or size == 1)
    figure = blank(
        90 + 30 * lanes,
        x={"title": {"text": f"{unit} since the start"}, "range": [0, 1.01 * max(whole, 1e-3) / size]},
        y={
            "tickvals": list(range(lanes)),
            "ticktext": [str(lane + 1) for lane in range(lanes)],
            "title": {"text": "at once"},
            "range": [lanes - 0.4, -0.6],
            "showgrid": False,
        },
        barmode="overlay",
        bargap=0.25,
    )
    for state in DRAWN_STATES:
        group = [span for span in spans if span.trial.state == state]
        if group:
            figure.add_trace(_bars(group, state, size))
    keys = tuple(Key(key.role, "square", key.text) for key in keys_for(span.trial for span in spans))
    return Drawing("timeline", "When the trials ran", _point(spans, whole, lanes), figure, keys)


def _spans(sweep: Sweep) -> list[Span]:
    """By their beginnings, each in the first lane that is free: there are as many lanes as trials ran at once."""
    times = [(trial.began, trial.ended, trial) for trial in sweep.trials if trial.began]
    if not times:
        return []
    first = min(began for began, _, _ in times)
    last = max(ended or began for began, ended, _ in times)
    free: list[float] = []
    spans = []
    for began, ended, trial in sorted(times, key=lambda time: (time[0], time[2].number)):
        start, end = (began - first).total_seconds(), ((ended or last) - first).total_seconds()
        lane = next((index for index, until in enumerate(free) if until <= start), len(free))
        free[lane : lane + 1] = [end]
        spans.append(Span(trial, start, end, lane))
    return spans


def _bars(group: list[Span], state: StateName, size: int) -> go.Bar:
    pattern = {"shape": "/" if state == "failed" else "", "fgcolor": SURFACE, "bgcolor": STATE_COLOUR[state], "size": 5}
    return go.Bar(
        base=[span.began / size for span in group],
        x=[(span.ended - span.began) / size for span in group],
        y=[span.lane for span in group],
        orientation="h",
        hoverinfo="text",
        textposition="none",
        text=[f"{hover(span.trial)}<br>{duration(span.ended - span.began)}" for span in group],
        marker={"color": STATE_COLOUR[state], "line": {"color": SURFACE, "width": 1}, "pattern": pattern},
    )


def _point(spans: list[Span], whole: float, lanes: int) -> str:
    text = f"{count(len(spans), 'trial')} in {duration(whole)} from first to last, up to {lanes} at once."
    timed = [(span.trial.seconds, span.trial.number) for span in spans if span.trial.seconds is not None]
    if timed:
        seconds, number = max(timed)
        text += f" The longest trained for {duration(seconds)} (trial {number})."
    unended = sum(span.trial.state in ("running", "paused") for span in spans)
    return f"{text} {count(unended, 'trial')} not ended: running, paused or interrupted." if unended else text
