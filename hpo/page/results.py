"""What came of it: the promotion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hpo.formatting import count, duration, label, ordinal, setting
from hpo.page import draw_agreement, draw_front, draw_promotion
from hpo.page.drawing import Drawing, plot
from hpo.page.findings import Findings, Promotion, Trial
from hpo.page.views import (
    Cell,
    Content,
    Marked,
    Plot,
    Remark,
    Section,
    Table,
    interval_cell,
    number_cell,
    score_cell,
    table,
)
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.results import Result, Verdict
from hpo.promotion.test_split import Baseline

STATE_SIGNS = {
    "complete": "●",
    "pruned": "×",
    "failed": "✕",
    "running": "○",
    "paused": "⊙",
    "waiting": "○",
}


@dataclass(frozen=True, kw_only=True)
class PromotionSection(Section):
    """The promotion with its verdict, or the runs that have ended so far."""

    name: ClassVar[str] = "promotion"
    title: ClassVar[str] = "Promotion"
    template: ClassVar[str] = "report/promotion.html.j2"
    runs: Table | None
    leads: Plot | None = None
    test_scores: Plot | None = None
    trade_offs: tuple[Plot, ...] = ()
    tuned: Table | None = None
    configurations: Table | None = None
    scores: Table | None = None
    training: tuple[Plot, ...] = ()


def _race(verdict: Verdict) -> str:
    """How many configurations ran in each round, and how often; "" for a verdict of an older version."""
    rounds = [
        f"{count(race_round.others + 1, 'configuration')} with {count(len(race_round.seeds), 'seed')}"
        for race_round in verdict.rounds
    ]
    if not rounds:
        return ""
    if len(rounds) == 1:
        return f"It was one round: {rounds[0]} each, {count(verdict.runs, 'run')}."
    return (
        f"It was a race of {len(rounds)} rounds, {count(verdict.runs, 'run')} in all: {', then '.join(rounds)} each. "
        f"The validation score chose who went on; the finalists' own test scores are of runs that chose nothing."
    )


def _independence(verdict: Verdict) -> str:
    """Why the test scores are of data that the study has not been fitted to."""
    chosen = "The test split chose nothing"
    if verdict.sample.folds > 1:
        chosen = "What was tested on chose nothing: each run has a fold of its own, and all validate on the same"
    if verdict.look == 1:
        return f"{chosen}, and this is the first verdict that reads it."
    return f"{chosen}, but this is the {ordinal(verdict.look)} verdict that reads it: its intervals are wider for that."


def promotion_section(findings: Findings) -> PromotionSection | None:
    """None where nothing has been promoted."""
    promotion, goal = findings.promotion, findings.study.task.goal
    if promotion is None:
        return None
    if promotion.verdict is None:
        progress = f"{len(promotion.runs)} of {promotion.planned} runs at full fidelity have ended"
        return PromotionSection(
            lead=f"{progress}; the last one brings the intervals.", runs=_runs_so_far(promotion, goal)
        )
    verdict = promotion.verdict
    agreement = None
    if promotion.agreement:
        agreement = draw_agreement.fidelity_agreement(promotion.agreement, promotion, goal)
    return PromotionSection(
        lead=(
            f"{count(len(verdict.results), 'configuration')} at full fidelity, the exported one first. "
            f"{_race(verdict)} {_independence(verdict)} "
            f"Intervals are {100 * verdict.confidence:.4g} %, over seeds and test examples."
        ),
        leads=_plot(draw_promotion.leads(verdict)),
        test_scores=_plot(draw_promotion.scores(promotion, verdict)),
        trade_offs=_plots(*draw_front.tested(verdict)),
        runs=_results(promotion, verdict),
        tuned=_tuned(verdict),
        configurations=_configurations(verdict),
        scores=_scores(verdict),
        training=_plots(agreement, draw_promotion.training(promotion, verdict)),
    )


def _plot(drawing: Drawing | None) -> Plot | None:
    return plot(drawing) if drawing else None


def _plots(*drawings: Drawing | None) -> tuple[Plot, ...]:
    return tuple(plot(drawing) for drawing in drawings if drawing)


def _results(promotion: Promotion, verdict: Verdict) -> Table:
    """A row a candidate, the exported one first, and a row a baseline."""
    best = promotion.best_baseline
    heads = [
        "Configuration",
        f"Test {label(verdict.goal)}",
        *verdict.costs,
        "Lead over default",
        *([f"Lead over {best.name}"] if best else []),
        "Full, on validation",
        "Cheap, on validation",
        "Runs",
    ]
    rows = [_result_row(result, best, verdict) for result in verdict.results]
    for baseline in verdict.baselines:
        empty = [number_cell(None)] * (len(heads) - 2)
        rows.append([*_baseline_cells(baseline, promotion, verdict), *empty])
    return table(heads, rows, name="Promotion", numbers=heads[1:], marks_first=True)


def _baseline_cells(baseline: Baseline, promotion: Promotion, verdict: Verdict) -> list[Cell]:
    known = promotion.baselines.get(baseline.name)
    name: Content = Remark(baseline.name, "baseline") if baseline.is_rival else baseline.name
    return [Cell(name), interval_cell(known) if known else score_cell(baseline.scores[verdict.goal])]


def _tuned(verdict: Verdict) -> Table | None:
    """What was chosen for each tuned baseline, a row a fold; None where there is none."""
    folds = verdict.sample.folds
    rows = [
        [
            Cell(Remark(baseline.name, f"fold {fold + 1}") if folds > 1 else baseline.name),
            Cell(tuning.choice, "words"),
            score_cell(tuning.value),
            score_cell(tuning.default),
            Cell(tuning.budget, "words"),
        ]
        for baseline in verdict.baselines
        for fold, tuning in enumerate(baseline.tuned)
    ]
    goal = label(verdict.goal)
    heads = ["Baseline", "Settings", f"{goal}, on training", "With its defaults", "Chosen by"]
    return table(heads, rows, name="Settings of the baselines", numbers=heads[2:4]) if rows else None


def _result_row(result: Result, best: Baseline | None, verdict: Verdict) -> list[Cell]:
    lead = None if result.candidate.name == DEFAULT else result.ahead_of_default
    against = [interval_cell(result.ahead_of_baselines.get(best.name), signed=True)] if best else []
    return [
        Cell(_named(result, verdict)),
        interval_cell(result.test),
        *(_cost_cell(result, name) for name in verdict.costs),
        interval_cell(lead, signed=True),
        *against,
        score_cell(result.full),
        score_cell(result.candidate.cheap),
        _runs_cell(result),
    ]


def _cost_cell(result: Result, name: str) -> Cell:
    cost = result.costs.get(name)
    is_exact = cost is not None and cost.low == cost.high
    return number_cell(cost.mean) if cost is not None and is_exact else interval_cell(cost)


def _named(result: Result, verdict: Verdict) -> Content:
    """The candidate's name, with what became of it."""
    name, roles = result.candidate.name, verdict.roles(result.candidate.name)
    return Remark(name, ", ".join(roles)) if roles else name


def _runs_cell(result: Result) -> Cell:
    seconds = [run.seconds for run in result.runs if run.state == "complete"]
    if len(seconds) < len(result.runs):
        reasons = "; ".join(sorted({run.reason for run in result.runs if run.reason}))
        return Cell(f"{len(seconds)} of {len(result.runs)}: {reasons}", "words")
    return number_cell(None, f"{len(seconds)} × {duration(sum(seconds) / len(seconds))}")


def _configurations(verdict: Verdict) -> Table:
    """A row a parameter, a column a candidate; what differs from the default stands out."""
    candidates = [result.candidate for result in verdict.results]
    defaults = next((candidate.params for candidate in candidates if candidate.name == DEFAULT), {})
    names = dict.fromkeys(name for candidate in candidates for name in candidate.params)
    heads = [candidate.name for candidate in candidates]
    rows = [[Cell(name), *(_parameter(candidate.params, name, defaults) for candidate in candidates)] for name in names]
    return table(["Parameter", *heads], rows, name="Promoted configurations", numbers=heads)


def _parameter(params: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> Cell:
    if name not in params:
        return Cell(Remark("", "not searched"), "num")
    is_default = name in defaults and params[name] == defaults[name]
    return Cell(setting(params[name]), "num" if is_default else "num differs")


def _scores(verdict: Verdict) -> Table:
    """A row a score, means over the seeds; a column a candidate or baseline."""
    columns = [(result.candidate.name, result.scores) for result in verdict.results]
    columns += [(baseline.name, baseline.scores) for baseline in verdict.baselines]
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(name for _, scores in columns for name in scores):
        title = f"{label(name)}{', the goal' if name == verdict.goal else ''}"
        rows.append([Cell(title), *(score_cell(scores.get(name)) for _, scores in columns)])
    heads = [name for name, _ in columns]
    return table(["Score", *heads], rows, name="All scores on the test split", numbers=heads)


def _runs_so_far(promotion: Promotion, goal: str) -> Table | None:
    if not promotion.runs:
        return None
    heads = ["Configuration", "State", f"Full {label(goal)}, on validation", "Time", "Reason"]
    rows = [
        [
            Cell(entry.candidate),
            state_cell(entry.run),
            score_cell(entry.run.value),
            number_cell(entry.run.seconds, duration(entry.run.seconds)),
            Cell(entry.run.reason, "words"),
        ]
        for entry in promotion.runs
    ]
    return table(heads, rows, name="Runs of the promotion", numbers=heads[2:4])


def state_cell(trial: Trial) -> Cell:
    """The state of a trial as a sign and a word."""
    return Cell(Marked(STATE_SIGNS[trial.state], trial.state), "name", trial.state)
