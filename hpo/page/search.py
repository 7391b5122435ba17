"""How it was searched: the sweep's figures, and the table of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo import study as studies
from hpo.formatting import NOTHING, better, count, duration, label, setting
from hpo.page import draw_sweep
from hpo.page.axes import scales
from hpo.page.draw_timeline import timeline
from hpo.page.drawing import keys_for
from hpo.page.findings import Findings, Sweep, Trial
from hpo.page.markup import (
    Cell,
    Section,
    block,
    caveats,
    chart,
    charts,
    legend,
    numeric,
    scored,
    section,
    table,
    text_of,
    words,
)
from hpo.page.results import state


def sweep(found: Findings) -> Section | None:
    one, study = found.sweep, found.study
    if one is None or not one.trials:
        return None
    goal = study.task.goal
    lead = (
        f"{count(len(study.space), 'parameter')} searched at the cheap fidelity, {one.epochs_each} epochs a trial, "
        f"scored by {text_of(label(goal))} on validation; {better(study.task.direction)}."
    )
    if all(trial.value is None for trial in one.trials):
        return section("sweep", "Sweep", f"{lead} No trial has a score yet.", chart(timeline(one)))
    searched = scales(studies.distributions(study.space))
    marks = legend((*keys_for(one.trials, *([draw_sweep.DEFAULT_KEY] if one.default else [])), draw_sweep.BEST_KEY))
    return section(
        "sweep",
        "Sweep",
        lead,
        chart(draw_sweep.history(one, goal)),
        chart(draw_sweep.curves(one, goal)),
        block("What mattered", _importances(one)),
        block("One parameter at a time", marks + charts(draw_sweep.slices(one, searched, goal), "small")),
        chart(draw_sweep.parallel(one, searched, goal)),
        chart(timeline(one)),
    )


def _importances(one: Sweep) -> str:
    found = one.importances
    said = (
        f"From {count(found.complete, 'completed trial')}; pruned ones do not count. {draw_sweep.agreement_of(found)}"
    )
    none = [
        f"{measure.measure} could not be computed: {measure.why_not}." for measure in found.measures if measure.why_not
    ]
    return (
        f'<p class="lead">{text_of(said)}</p>{caveats([*none, *found.caveats])}'
        f"{charts(draw_sweep.importance_bars(found))}"
    )


def trials(found: Findings) -> Section | None:
    one, names = found.sweep, list(found.study.space)
    if one is None or not one.trials:
        return None
    goal, defaults = label(found.study.task.goal), found.study.defaults()
    plain = {name for name in names if isinstance(defaults.get(name), str | bool)}
    heads = ["Trial", goal, "State", *names, "Epochs", "Best epoch", "Time", "Reason"]
    numbers = [head for head in heads if head not in {"State", "Reason"} | plain]
    return section(
        "trials",
        "Trials",
        "Sort by any column. A trial that did not end shows its best score before it stopped.",
        table(heads, (_row(trial, names, one) for trial in one.trials), name="Trials", numbers=numbers, sortable=True),
    )


def _row(trial: Trial, names: list[str], one: Sweep) -> list[Cell | str]:
    tags = [tag for tag, holds in (("best", one.best is trial), ("default", trial.default)) if holds]
    best_epoch = trial.best_epoch + 1 if trial.epochs and trial.best_epoch is not None else None
    return [
        Cell(" ".join([str(trial.number), *(f"<b>{tag}</b>" for tag in tags)]), "num", trial.number),
        scored(trial.value),
        state(trial),
        *(_parameter(trial.params, name) for name in names),
        numeric(trial.epochs),
        numeric(best_epoch),
        numeric(trial.seconds, duration(trial.seconds)),
        words(trial.reason, "reason"),
    ]


def _parameter(params: Mapping[str, Any], name: str) -> Cell:
    if name not in params:
        return Cell(NOTHING, "num", "")
    value = params[name]
    return Cell(text_of(setting(value)), "" if isinstance(value, str | bool) else "num", value)
