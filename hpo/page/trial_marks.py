"""How a trial is drawn: the colour, the symbol and the legend of its state, and what it says when it is pointed at."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import plotly.graph_objects as go

from hpo.contract.costs import UNITS
from hpo.formatting import number, setting
from hpo.page.drawing import dots, safe
from hpo.page.findings import Trial
from hpo.page.palette import COMPLETE, DEFAULT, FAILED, INK, PRUNED
from hpo.page.views import Key
from hpo.task import StateName

MOST_PARAMETERS = 15  # that are listed where a trial is pointed at: more do not fit on a screen
STATE_COLOUR = {
    "complete": COMPLETE,
    "pruned": PRUNED,
    "failed": FAILED,
    "running": INK,
    "paused": INK,
    "waiting": PRUNED,
}
STATE_SYMBOL = {
    "complete": "circle",
    "pruned": "x-thin",
    "failed": "x",
    "running": "circle-open",
    "paused": "circle-open-dot",
    "waiting": "circle-open",
}
STATE_KEYS: dict[StateName, Key] = {
    "complete": Key("complete", "dot", "complete"),
    "pruned": Key("pruned", "thin-cross", "pruned"),
    "failed": Key("failed", "cross", "failed"),
    "running": Key("ink", "ring", "running or interrupted"),
    "paused": Key("ink", "ring", "paused"),
}
DEFAULT_KEY = Key("default", "diamond", "the default")
BEST_KEY = Key("ink", "ring", "the best")
DRAWN_STATES: tuple[StateName, ...] = ("pruned", "failed", "running", "paused", "complete")  # the last one on top


def keys_for(trials: Iterable[Trial], *more: Key) -> tuple[Key, ...]:
    """The legend of the states that occur, and more."""
    states = {trial.state for trial in trials}
    return (*(key for state, key in STATE_KEYS.items() if state in states), *more)


def add_states(
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


def hover(trial: Trial, parameter: str = "") -> str:
    """What a trial says when it is pointed at: at most MOST_PARAMETERS values, that of `parameter` among them."""
    default = ", the default" if trial.is_default else ""
    names = list(trial.params)
    if parameter in names[MOST_PARAMETERS:]:
        names = [parameter, *(name for name in names if name != parameter)]
    lines = [
        f"<b>trial {trial.number}</b>, {trial.state}{default}",
        f"score {number(trial.value)}",
        *(f"{number(cost)} {UNITS.get(name, name)}" for name, cost in trial.costs.items()),
        *(f"{safe(name)} = {safe(setting(trial.params[name]))}" for name in names[:MOST_PARAMETERS]),
    ]
    if len(names) > MOST_PARAMETERS:
        lines.append(f"and {len(names) - MOST_PARAMETERS} more: see the table of trials")
    if trial.reason:
        lines.append(safe(trial.reason[:90]))
    return "<br>".join(lines)


def brief(trial: Trial) -> str:
    """The same on lines, where it is repeated at every point."""
    return f"trial {trial.number}, {trial.state}: {number(trial.value)}"
