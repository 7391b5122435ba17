"""The task's goal against what a configuration costs: in the sweep, and of the promoted ones with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from hpo.contract.costs import UNITS
from hpo.direction import Direction, front
from hpo.formatting import better, count, is_bounded, label, listed, mean_of, number, sentence
from hpo.page.axes import Axis, axis_of
from hpo.page.drawing import Curve, Drawing, blank, dots, line, note, safe
from hpo.page.findings import Sweep, Trial
from hpo.page.palette import COMPLETE, DEFAULT, FAILED, PALE
from hpo.page.trial_marks import hover
from hpo.page.views import Key
from hpo.promotion.candidate import DEFAULT as DEFAULT_NAME
from hpo.promotion.intervals import Interval
from hpo.promotion.results import Result, Verdict

LIMIT = Key("failed", "dashed", "the limit")
HEIGHT = 380


# -- of the sweep ----------------------------------------------------------------------------------------------------
def trade_offs(sweep: Sweep, goal: str, limits: Mapping[str, float]) -> list[Drawing]:
    """A figure for each cost that was measured: every completed trial, and those that no other one dominates."""
    names = dict.fromkeys(name for trial in sweep.trials for name in trial.costs)
    drawn = [_trade_off(sweep, goal, name, limits.get(name)) for name in names]
    return [drawing for drawing in drawn if drawing is not None]


def _trade_off(sweep: Sweep, goal: str, name: str, limit: float | None) -> Drawing | None:
    shown = [trial for trial in sweep.ranked if name in trial.costs]
    if not shown:
        return None
    on_front = _front(shown, name, sweep.direction)
    x = axis_of([*(trial.costs[name] for trial in shown), limit])
    y = axis_of((trial.value for trial in shown), direction=sweep.direction)
    figure = _blank(x, y, name, f"{label(goal)} on validation: {better(sweep.direction)}")
    _add_limit(figure, limit)
    figure.add_trace(line([_staircase(on_front, name, x)], COMPLETE, 2, line={"shape": "hv"}))
    rest = [trial for trial in shown if trial not in on_front and not trial.is_default]
    _add_trials(figure, rest, name, PALE, "circle", 8)
    _add_trials(figure, [trial for trial in on_front if not trial.is_default], name, COMPLETE, "circle", 10)
    _add_trials(figure, [trial for trial in shown if trial.is_default], name, DEFAULT, "diamond", 12)
    keys = (
        Key("complete", "dot", "on the front"),
        *([Key("pale", "dot", "dominated")] if rest else []),
        *([Key("default", "diamond", "the default")] if any(trial.is_default for trial in shown) else []),
        *([LIMIT] if limit is not None else []),
    )
    title = f"{label(goal)} against {UNITS[name]}"
    return Drawing(f"front {name}", title, _point(on_front, sweep, name, limit), figure, keys)


def _blank(x: Axis, y: Axis, name: str, goal: str) -> go.Figure:
    return blank(
        HEIGHT,
        x=x.plotly(title={"text": f"{safe(UNITS[name])}: lower is better"}),
        y=y.plotly(title={"text": safe(goal)}),
    )


def _front(trials: Sequence[Trial], name: str, direction: Direction) -> list[Trial]:
    """Those that no other one dominates in the goal and this cost, the cheapest first."""
    kept = front(trials, key=lambda trial: (direction.sign * trial.score, -trial.costs[name]))
    return sorted(kept, key=lambda trial: trial.costs[name])


def _staircase(on_front: Sequence[Trial], name: str, x: Axis) -> Curve:
    """The best value that is reached at no more than a cost, up to the end of the axis."""
    costs, values = [trial.costs[name] for trial in on_front], [trial.score for trial in on_front]
    return Curve([*costs, x.high], [*values, values[-1]], "the best at no more than this cost")


def _add_limit(figure: go.Figure, limit: float | None) -> None:
    if limit is not None:
        figure.add_vline(x=limit, line={"color": FAILED, "width": 1.5, "dash": "dash"}, layer="below")


def _add_trials(figure: go.Figure, trials: Sequence[Trial], name: str, colour: str, symbol: str, size: float) -> None:
    if trials:
        texts = [hover(trial) for trial in trials]
        costs, values = [trial.costs[name] for trial in trials], [trial.value for trial in trials]
        figure.add_trace(dots(costs, values, texts, colour, symbol, size))


def _point(on_front: Sequence[Trial], sweep: Sweep, name: str, limit: float | None) -> str:
    cheapest, dearest = on_front[0], on_front[-1]
    if len(on_front) == 1:
        text = f"Trial {cheapest.number} is the best in both."
    else:
        span = (
            f"from trial {cheapest.number} with {number(cheapest.costs[name])} to trial {dearest.number} with "
            f"{number(dearest.costs[name])} {UNITS[name]}"
        )
        text = f"In these two no other dominates {len(on_front)} of {count(len(sweep.ranked), 'trial')}: {span}."
    over = sum(limit is not None and trial.costs.get(name, 0.0) > limit for trial in sweep.trials)
    return f"{text} {count(over, 'trial')} over the limit of {number(limit)}: not trained." if over else text


# -- of the promotion ------------------------------------------------------------------------------------------------
def tested(verdict: Verdict) -> list[Drawing]:
    """A figure for each cost: every promoted configuration on the test split, with its intervals in both."""
    drawn = [_tested(verdict, name) for name in verdict.costs]
    return [drawing for drawing in drawn if drawing is not None]


def _tested(verdict: Verdict, name: str) -> Drawing | None:
    shown = [result for result in verdict.results if _ends(result.test) and _ends(result.costs.get(name))]
    if not shown:
        return None
    limit = verdict.limits.get(name)
    x = axis_of([limit, *(end for result in shown for end in _ends(result.costs[name]))])
    y = axis_of([end for result in shown for end in _ends(result.test)])
    figure = _blank(x, y, name, f"{label(verdict.goal)} on test: {better(verdict.direction)}")
    _add_limit(figure, limit)
    for index, result in enumerate(sorted(shown, key=lambda result: _ends(result.costs[name]))):
        _add_result(figure, result, name, verdict, x, label_below=index % 2 == 1)
    keys = (
        Key("complete", "dot", "on the front" if verdict.goals else "promoted"),
        *([Key("pale", "dot", "dominated")] if verdict.goals and len(verdict.front) < len(shown) else []),
        Key("default", "diamond", "the default"),
        *([LIMIT] if limit is not None else []),
    )
    title = f"{label(verdict.goal)} on test against {UNITS[name]}"
    return Drawing(f"tested {name}", title, _tested_point(verdict), figure, keys)


def _ends(interval: Interval | None) -> list[float]:
    return [interval.low, interval.mean, interval.high] if is_bounded(interval) else []


def _add_result(figure: go.Figure, result: Result, name: str, verdict: Verdict, x: Axis, *, label_below: bool) -> None:
    """A mark with a whisker in each direction, and the name of the candidate beside it."""
    candidate, test, cost = result.candidate.name, result.test, result.costs[name]
    assert test is not None
    assert cost is not None
    is_apart = bool(verdict.goals) and candidate not in verdict.front
    colour = PALE if is_apart else COMPLETE
    symbol = "circle"
    if candidate == DEFAULT_NAME:
        colour, symbol = DEFAULT, "diamond"
    text = (
        f"<b>{safe(candidate)}</b><br>{safe(label(verdict.goal))} {mean_of(test)}<br>{number(cost.mean)} {UNITS[name]}"
    )
    figure.add_trace(line([Curve([cost.mean] * 2, [test.low, test.high], text)], colour, 2))
    if cost.low < cost.high:
        figure.add_trace(line([Curve([cost.low, cost.high], [test.mean] * 2, text)], colour, 2))
    figure.add_trace(dots([cost.mean], [test.mean], [text], colour, symbol, 10))
    is_right = x.share(cost.mean) > 0.8
    place = {"xanchor": "right", "xshift": -8} if is_right else {"xanchor": "left", "xshift": 8}
    height = -10 if label_below else 10  # neighbours have theirs on two sides
    note(figure, candidate, x=x.coordinate(cost.mean), y=test.mean, yshift=height, bgcolor="rgba(0,0,0,0)", **place)


def _tested_point(verdict: Verdict) -> str:
    if not verdict.goals:
        return f"{sentence(verdict.winner)} is exported. A whisker is an interval of {100 * verdict.confidence:.4g} %."
    names = sentence(listed(verdict.front))
    return f"{names}: dominated by no other on validation, which chooses. Test shows how sure each value is."
