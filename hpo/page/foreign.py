"""The page of an Optuna study that was not run by hpo: how it was searched, and where it comes from. No task is needed,
so it says nothing of what a score is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.direction import Direction
from hpo.formatting import amount, better, count, duration, label, listed, score, setting, unit
from hpo.page.axes import scales
from hpo.page.collect_sweep import foreign_trial, improvements
from hpo.page.draw_reports import reports
from hpo.page.findings import Missing, Sweep, Trial
from hpo.page.header import Top, counted_states, drawn_best
from hpo.page.importance import Importances, importances
from hpo.page.observed import observations
from hpo.page.report import render_sections
from hpo.page.results import state_cell
from hpo.page.search import TrialsSection, drawn_sweep, parameter_cell
from hpo.page.separation_words import flat_sentence
from hpo.page.steps import Step
from hpo.page.views import Badge, Cell, Code, Section, Table, Tagged, Tile, number_cell, score_cell, table
from hpo.separation.stepwise import separation
from hpo.space import Distribution, describe
from hpo.trial.foreign import (
    attribute_text,
    direction_and_goal,
    searched_space,
    their_attributes,
    tools_of,
)

LONGEST = 400  # letters of a trial's attributes that its row shows
STARTUP_TRIALS = 10  # that Optuna's samplers draw at random where nothing else was asked for


@dataclass(frozen=True)
class ForeignFindings:
    """All that the page says."""

    name: str
    goal: str
    sweep: Sweep
    space: Mapping[str, Distribution]
    attributes: Mapping[int, str]  # of each trial, by its number
    origin: Mapping[str, str]  # where the study comes from, and what is known of how it was made
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    written: datetime = field(default_factory=lambda: datetime.now(UTC))


def collect_foreign(
    study: optuna.Study,
    origin: Mapping[str, str],
    missing: Sequence[Missing] = (),
) -> ForeignFindings:
    """Read everything that an Optuna study holds. `origin` is what else is known of it."""
    direction, goal = direction_and_goal(study)
    frozen = study.get_trials(deepcopy=False)
    space = searched_space(frozen)
    sweep = _sweep(frozen, space, direction)
    tools = {"Left traces in it": listed(tools_of(frozen))} if tools_of(frozen) else {}
    kept = {"Attributes of the study": attribute_text(study.user_attrs)} if study.user_attrs else {}
    return ForeignFindings(
        name=study.study_name,
        goal=goal,
        sweep=sweep,
        space=space,
        attributes={trial.number: attribute_text(their_attributes(trial)) for trial in frozen},
        origin={**origin, **_times(sweep), **tools, **kept},
        missing=tuple(missing),
        notes=tuple(_notes(sweep)),
    )


def render_foreign(findings: ForeignFindings) -> str:
    """The page: one file that asks for no other one."""
    sweep, goal = findings.sweep, findings.goal
    sections: list[Section] = []
    if sweep.trials:
        ranges = {name: entry for name, entry in findings.space.items() if not entry.single()}
        lead = f"{count(len(findings.space), 'parameter')} searched; {label(goal)}: {better(sweep.direction)}."
        sections.append(drawn_sweep(sweep, scales(ranges), goal, lead=lead, curves=partial(reports, sweep, goal)))
        sections.append(_trials(findings))
    sections.append(_origin(findings))
    return render_sections(f"{findings.name}: {_badge(sweep).text}", _top(findings), sections, findings.written)


# -- the sweep -------------------------------------------------------------------------------------------------------
def _sweep(frozen: Sequence[FrozenTrial], space: Mapping[str, Distribution], direction: Direction) -> Sweep:
    trials = tuple(foreign_trial(trial, direction) for trial in frozen)
    steps = improvements(trials, direction)
    starts = [trial.began for trial in trials if trial.began]
    ends = [trial.ended for trial in trials if trial.ended]
    best_number = steps[-1].number if steps else None
    return Sweep(
        trials=trials,
        direction=direction,
        planned=len(trials),
        epochs_each=max((trial.epochs for trial in trials), default=0),
        counts=Counter(trial.state for trial in trials),
        best=next((trial for trial in trials if trial.number == best_number), None),
        default=None,
        improvements=steps,
        seconds=sum(trial.seconds or 0.0 for trial in trials),
        wall_seconds=(max(ends) - min(starts)).total_seconds() if starts and ends else None,
        separation=separation(observations(trials, STARTUP_TRIALS), space, direction, seed=0),
        importances=_importances(trials, space, direction),
    )


def _importances(trials: Sequence[Trial], space: Mapping[str, Distribution], direction: Direction) -> Importances:
    """Over the completed trials that have a finite value, each with the ranges of the whole study."""
    study = optuna.create_study(direction=direction.value)
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    study.add_trials(
        optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            value=trial.value,
            params=dict(trial.params),
            distributions={name: space[name] for name in trial.params},
        )
        for trial in complete
    )
    conditional = {name for name in space if any(name not in trial.params for trial in complete)}
    return importances(study, list(space), conditional)


def _notes(sweep: Sweep) -> list[str]:
    unexplained = [trial for trial in sweep.trials if trial.state == "failed" and not trial.reason]
    if not unexplained:
        return []
    return [
        f"{count(len(unexplained), 'failed trial')} without a reason: Optuna logs the exception of a trial without "
        f"keeping it. A line in the objective would keep it: trial.set_user_attr('reason', ...)."
    ]


# -- the page's parts ------------------------------------------------------------------------------------------------
def _badge(sweep: Sweep) -> Badge:
    return Badge("open", "not promoted" if sweep.best else "no result")


def _top(findings: ForeignFindings) -> Top:
    sweep, goal = findings.sweep, findings.goal
    verdict = "No trial has been completed with a finite value."
    if sweep.best:
        verdict = (
            f"Trial {sweep.best.number} scored best, {amount(sweep.best.value, goal)}; nothing has been promoted, so "
            f"whether it is better than another one is not known. {flat_sentence(sweep.separation)}"
        ).rstrip()
    tiles = [Tile("Trials", str(len(sweep.trials)), counted_states(sweep))]
    if sweep.best:
        note = f"trial {sweep.best.number}; {drawn_best(sweep)}"
        tiles.insert(0, Tile("Best score", score(sweep.best.value), note, unit(goal)))
    if sweep.seconds:
        tiles.append(Tile("Time of all trials", duration(sweep.seconds)))
    return Top(
        eyebrow=f"Optuna study: {label(goal)}, {better(sweep.direction)}",
        study=findings.name,
        badge=_badge(sweep),
        verdict=verdict,
        steps=tuple(Step(stage.sentence, stage.command) for stage in findings.missing),
        notes=findings.notes,
        tiles=tuple(tiles),
    )


def _trials(findings: ForeignFindings) -> TrialsSection:
    sweep, space = findings.sweep, findings.space
    more = ["Attributes"] if any(findings.attributes.values()) else []
    heads = ["Trial", label(findings.goal), "State", "Reports", "Time", "Reason", *space, *more]
    words = {"State", "Reason", *more, *(name for name in space if isinstance(space[name], CategoricalDistribution))}
    return TrialsSection(
        lead="Sort by any column. A trial that did not end shows the best value that it reported.",
        trials=table(
            heads,
            [_row(trial, findings) for trial in sweep.trials],
            name="Trials",
            numbers=set(heads) - words,
            is_sortable=True,
        ),
    )


def _row(trial: Trial, findings: ForeignFindings) -> list[Cell]:
    tags = ("best",) if trial is findings.sweep.best else ()
    row = [
        Cell(Tagged(str(trial.number), tags), "num", trial.number),
        score_cell(trial.value),
        state_cell(trial),
        number_cell(trial.epochs),
        number_cell(trial.seconds, duration(trial.seconds)),
        Cell(trial.reason or ("not kept" if trial.state == "failed" else ""), "reason"),
        *(parameter_cell(trial.params, name) for name in findings.space),
    ]
    if any(findings.attributes.values()):
        row.append(Cell(_shortened(findings.attributes[trial.number]), "words"))
    return row


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} letters)"


@dataclass(frozen=True, kw_only=True)
class OriginSection(Section):
    """Where a study comes from that hpo did not run."""

    name: ClassVar[str] = "origin"
    title: ClassVar[str] = "Origin"
    template: ClassVar[str] = "report/origin.html.j2"
    facts: Table
    space: Table


def _origin(findings: ForeignFindings) -> OriginSection:
    best: Mapping[str, Any] = findings.sweep.best.params if findings.sweep.best else {}
    rows = [
        [Cell(name), Cell(Code(describe(entry)), "words"), Cell(setting(best[name]) if name in best else "", "num")]
        for name, entry in findings.space.items()
    ]
    return OriginSection(
        lead="The study was read, and nothing was written to where it is kept.",
        facts=table(
            ["What", "Seen"], [[name, Cell(text, "words")] for name, text in findings.origin.items()], name="Origin"
        ),
        space=table(["Parameter", "Searched", "Best"], rows, name="Searched space", numbers=["Best"]),
    )


def _times(sweep: Sweep) -> dict[str, str]:
    starts = [trial.began for trial in sweep.trials if trial.began]
    ends = [trial.ended for trial in sweep.trials if trial.ended]
    times = {"First trial began": min(starts, default=None), "Last trial ended": max(ends, default=None)}
    return {name: f"{at:%Y-%m-%d %H:%M:%S}" for name, at in times.items() if at}
