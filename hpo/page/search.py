"""How it was searched: the sweep's figures, and the table of its trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

from hpo.formatting import NOTHING, amount, better, count, duration, label, setting
from hpo.page import draw_front, draw_importance, draw_slices, draw_sweep, separation_words
from hpo.page.axes import Scale, scales
from hpo.page.draw_parallel import parallel
from hpo.page.draw_reports import reports
from hpo.page.draw_separation import separation_bars
from hpo.page.draw_timeline import timeline
from hpo.page.drawing import Drawing, plot
from hpo.page.findings import Findings, Sweep, Trial
from hpo.page.results import state_cell
from hpo.page.trial_marks import BEST_KEY, DEFAULT_KEY, keys_for
from hpo.page.views import Cell, Key, Plot, Section, Table, Tagged, number_cell, score_cell, table
from hpo.promotion.repeats import configurations, repeats_sd
from hpo.space import distributions

NO_LIMITS: Mapping[str, float] = MappingProxyType({})


# -- sweep -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class ImportancesView:
    """Which parameters mattered: what separates from chance, and below it Optuna's measures."""

    lead: str
    separation: tuple[Plot, ...]
    measures: str
    caveats: tuple[str, ...]
    bars: tuple[Plot, ...]


@dataclass(frozen=True, kw_only=True)
class SweepSection(Section):
    """The figures of the sweep."""

    name: ClassVar[str] = "sweep"
    title: ClassVar[str] = "Sweep"
    template: ClassVar[str] = "report/sweep.html.j2"
    overview: tuple[Plot, ...] = ()
    audit: str = ""  # of the pruner, in a sentence
    importances: ImportancesView | None = None
    slice_keys: tuple[Key, ...] = ()
    slices: tuple[Plot, ...] = ()
    details: tuple[Plot, ...] = ()


def sweep_section(findings: Findings) -> SweepSection | None:
    """None where no trial has begun."""
    sweep, study = findings.sweep, findings.study
    if sweep is None or not sweep.trials:
        return None
    goal = study.task.goal
    lead = (
        f"{count(len(study.space), 'parameter')} searched at the cheap fidelity, {sweep.epochs_each} epochs a trial, "
        f"scored by {label(goal)} on validation; {better(study.direction)}."
    )
    if sweep.origin:
        lead = f"{sweep.origin} {label(goal)}: {better(study.direction)}."
    return drawn_sweep(
        sweep,
        scales(distributions(study.space)),
        goal,
        lead=lead,
        curves=partial(reports if sweep.origin else draw_sweep.curves, sweep, goal),
        limits=study.limits,
    )


def drawn_sweep(
    sweep: Sweep,
    searched: list[Scale],
    goal: str,
    *,
    lead: str,
    curves: Callable[[], Drawing],
    limits: Mapping[str, float] = NO_LIMITS,
) -> SweepSection:
    """The section of a sweep that has begun; `curves` draws what its trials reported."""
    timelines = [plot(drawing) for drawing in [timeline(sweep)] if drawing]
    if all(trial.value is None for trial in sweep.trials):
        return SweepSection(lead=f"{lead} No trial has a score yet.", overview=tuple(timelines))
    repeats = _repeats(sweep, goal)
    parallel_lines = parallel(sweep, searched, goal)
    default_keys = [DEFAULT_KEY] if sweep.default else []
    return SweepSection(
        lead=f"{lead} {repeats}".rstrip(),
        overview=(
            *map(plot, draw_front.trade_offs(sweep, goal, limits)),
            plot(draw_sweep.history(sweep, goal)),
            plot(curves()),
        ),
        audit=sweep.audit.sentence if sweep.audit else "",
        importances=_importances(sweep),
        slice_keys=(*keys_for(sweep.trials, *default_keys), BEST_KEY),
        slices=tuple(plot(drawing) for drawing in draw_slices.slices(sweep, searched, goal)),
        details=(*([plot(parallel_lines)] if parallel_lines else []), *timelines),
    )


def _repeats(sweep: Sweep, goal: str) -> str:
    """How far the scores of one configuration differ; empty where none was tried more than once."""
    repeated = [tried for tried in configurations(sweep.ranked) if len(tried.values) > 1]
    sd = repeats_sd(repeated)
    if sd is None:
        return ""
    verb = "was" if len(repeated) == 1 else "were"
    return (
        f"{count(len(repeated), 'configuration')} {verb} tried more than once; the scores of equal trials differ by a "
        f"standard deviation of {amount(sd, goal)}."
    )


def _importances(sweep: Sweep) -> ImportancesView:
    importances, bars = sweep.importances, separation_bars(sweep.separation)
    failed = [
        f"{measure.measure} could not be computed: {measure.why_not}."
        for measure in importances.measures
        if measure.why_not
    ]
    return ImportancesView(
        lead=f"{separation_words.lead(sweep.separation)} {separation_words.limit_sentence(sweep.separation)}".rstrip(),
        separation=(plot(bars),) if bars else (),
        measures=_measures(sweep),
        caveats=(*failed, *importances.caveats),
        bars=tuple(plot(drawing) for drawing in draw_importance.importance_bars(importances)),
    )


def _measures(sweep: Sweep) -> str:
    """What Optuna's measures are, and how they compare where there is something to compare."""
    sentences = [
        "Optuna's two measures share out 100 % whatever the trials say: a share alone is no evidence.",
        f"They see the {count(sweep.importances.complete, 'completed trial')}, and none that was pruned.",
    ]
    if sweep.separation.named:
        sentences.append(draw_importance.compare_measures(sweep.importances))
    return " ".join(sentences).rstrip()


# -- trials ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class TrialsSection(Section):
    """Every trial of the sweep."""

    name: ClassVar[str] = "trials"
    title: ClassVar[str] = "Trials"
    template: ClassVar[str] = "report/trials.html.j2"
    trials: Table


def trials_section(findings: Findings) -> TrialsSection | None:
    """None where no trial has begun."""
    sweep, names = findings.sweep, list(findings.study.space)
    if sweep is None or not sweep.trials:
        return None
    goal, defaults = label(findings.study.task.goal), findings.study.defaults()
    reasons = ["Reason"] if any(trial.reason for trial in sweep.trials) else []
    costs = list(dict.fromkeys(name for trial in sweep.trials for name in trial.costs))
    heads = ["Trial", goal, *costs, "State", "Epochs", "Time", *reasons, "Best epoch", *names]
    words = {"State", "Reason", *(name for name in names if isinstance(defaults.get(name), str | bool))}
    return TrialsSection(
        lead=_trials_lead(sweep),
        trials=table(
            heads,
            [_trial_row(trial, names, costs, sweep, has_reason=bool(reasons)) for trial in sweep.trials],
            name="Trials",
            numbers=set(heads) - words,
            is_sortable=True,
        ),
    )


def _trials_lead(sweep: Sweep) -> str:
    lead = "Sort by any column. A trial that did not end shows its best score before it stopped."
    if any(trial.spared_at is not None for trial in sweep.trials):
        lead += " The pruner would have ended a spared trial; it was let run, to see what pruning costs."
    return lead


def _trial_row(trial: Trial, names: list[str], costs: list[str], sweep: Sweep, *, has_reason: bool) -> list[Cell]:
    """What decides comes before the parameters: on a phone it is seen without scrolling sideways."""
    tags = []
    if trial is sweep.best and not sweep.front:
        tags.append("best")
    if trial.number in sweep.front:
        tags.append("front")
    if trial.is_default:
        tags.append("default")
    if trial.spared_at is not None:
        tags.append("spared")
    best_epoch = trial.best_epoch + 1 if trial.epochs and trial.best_epoch is not None else None
    return [
        Cell(Tagged(str(trial.number), tuple(tags)), "num", trial.number),
        score_cell(trial.value),
        *(number_cell(trial.costs.get(name)) for name in costs),
        state_cell(trial),
        number_cell(trial.epochs),
        number_cell(trial.seconds, duration(trial.seconds)),
        *([Cell(trial.reason, "reason")] if has_reason else []),
        number_cell(best_epoch),
        *(parameter_cell(trial.params, name) for name in names),
    ]


def parameter_cell(params: Mapping[str, Any], name: str) -> Cell:
    """A hyperparameter's value in a trial."""
    if name not in params:
        return Cell(NOTHING, "num", "")
    value = params[name]
    return Cell(setting(value), "" if isinstance(value, str | bool) else "num", value)
