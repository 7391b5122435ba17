"""What came of it: the promotion, and the task's pictures of the winner."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

from hpo.formatting import NOTHING, count, duration, interval, label, score, setting
from hpo.page import draw_promotion
from hpo.page.findings import Exhibit, Findings, Promotion, Trial
from hpo.page.markup import Cell, Rows, Section, charts, folded, numeric, plot, scored, section, table, text_of, words
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.verdict import Result, Verdict

COARSE_PX = 160  # narrower pictures are enlarged without smoothing
STATE_MARKS = {"complete": "●", "pruned": "×", "failed": "✕", "running": "○", "waiting": "○"}


def promotion(found: Findings) -> Section | None:
    one, goal = found.promotion, found.study.task.goal
    if one is None:
        return None
    if one.verdict is None:
        lead = f"{len(one.runs)} of {one.planned} runs at full fidelity have ended; the last one brings the intervals."
        return section("promotion", "Promotion", lead, _runs_so_far(one, goal))
    verdict = one.verdict
    lead = (
        f"{count(len(verdict.results), 'configuration')} at full fidelity, {count(one.seeds, 'fresh seed')} each, "
        f"the best validation score first. The test split was read here alone. Intervals are 95 %, over seeds and "
        f"test examples."
    )
    rank = draw_promotion.agreement(one.agreement, one, goal) if one.agreement else None
    return section(
        "promotion",
        "Promotion",
        lead,
        charts([draw_promotion.scores(one, verdict), draw_promotion.leads(verdict)]),
        _table(one, verdict),
        folded("Promoted configurations", _configurations(verdict)),
        folded("All scores on the test split", _scores(verdict)),
        charts([rank, draw_promotion.training(one, verdict)]),
    )


def _table(one: Promotion, verdict: Verdict) -> str:
    best = one.best_baseline
    against = [f"Lead over {best.name}"] if best else []
    heads = [
        "Configuration",
        f"Test {label(verdict.goal)}",
        "Lead over default",
        *against,
        "Full, on validation",
        "Cheap, on validation",
        "Runs",
    ]
    rows = [_result_row(result, best.name if best else "") for result in verdict.results]
    for baseline in verdict.baselines:
        known = one.baselines.get(baseline.name)
        shown = interval(known) if known else score(baseline.scores[verdict.goal])
        kind = ' <span class="muted">baseline</span>' if baseline.is_rival else ""
        rows.append(
            [Cell(f"{text_of(baseline.name)}{kind}"), numeric(None, shown), *[numeric(None)] * (len(heads) - 2)]
        )
    return table(heads, rows, name="Promotion", numbers=heads[1:], first=True)


def _result_row(result: Result, best: str) -> list[Cell | str]:
    lead = None if result.candidate.name == DEFAULT else result.ahead_of_default
    against = [numeric(None, interval(result.ahead_of_baselines.get(best), signed=True))] if best else []
    return [
        result.candidate.name,
        numeric(None, interval(result.test)),
        numeric(None, interval(lead, signed=True)),
        *against,
        scored(result.full),
        scored(result.candidate.cheap),
        _runs(result),
    ]


def _runs(result: Result) -> Cell:
    done = [run.seconds for run in result.runs if run.state == "complete"]
    reasons = "; ".join(sorted({run.reason for run in result.runs if run.reason}))
    if len(done) < len(result.runs):
        return words(f"{len(done)} of {len(result.runs)}: {reasons}")
    return numeric(None, f"{len(done)} × {duration(sum(done) / len(done))}")


def _configurations(verdict: Verdict) -> str:
    """A row a parameter, a column a candidate; what differs from the default stands out."""
    defaults = next((one.candidate.params for one in verdict.results if one.candidate.name == DEFAULT), {})
    names = list(dict.fromkeys(name for one in verdict.results for name in one.candidate.params))
    heads = [one.candidate.name for one in verdict.results]
    rows: Rows = [[name, *(_value(one.candidate.params, name, defaults) for one in verdict.results)] for name in names]
    return table(["Parameter", *heads], rows, name="Promoted configurations", numbers=heads)


def _value(params: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> Cell:
    if name not in params:
        return Cell('<span class="muted">not searched</span>', "num")
    same = name in defaults and params[name] == defaults[name]
    return Cell(text_of(setting(params[name])), "num" if same else "num differs")


def _scores(verdict: Verdict) -> str:
    """A row a score, means over the seeds; a column a candidate or baseline."""
    named = [(one.candidate.name, one.scores) for one in verdict.results]
    named += [(one.name, one.scores) for one in verdict.baselines]
    names = dict.fromkeys(name for _, scores in named for name in scores)
    rows: Rows = [
        [
            f"{label(name)}{', the goal' if name == verdict.goal else ''}",
            *(scored(values.get(name)) for _, values in named),
        ]
        for name in names
    ]
    heads = [name for name, _ in named]
    return table(["Score", *heads], rows, name="All scores on the test split", numbers=heads)


def _runs_so_far(one: Promotion, goal: str) -> str:
    rows: Rows = [
        [name, state(run), scored(run.value), numeric(run.seconds, duration(run.seconds)), words(run.reason)]
        for name, run in one.runs
    ]
    heads = ["Configuration", "State", f"Full {label(goal)}, on validation", "Time", "Reason"]
    return table(heads, rows, name="Runs of the promotion", numbers=heads[2:4]) if rows else ""


def state(trial: Trial) -> Cell:
    return Cell(f'<span aria-hidden="true">{STATE_MARKS[trial.state]}</span> {trial.state}', "name", trial.state)


def pictures(found: Findings) -> Section | None:
    if not found.exhibits:
        return None
    return section("pictures", "Pictures", "The winner on the test split.", *map(_exhibit, found.exhibits))


def _exhibit(one: Exhibit) -> str:
    if one.figure is not None:
        layout = {key: value for key, value in one.figure.get("layout", {}).items() if key not in ("title", "template")}
        return plot(one.title, one.caption, {"data": one.figure.get("data", []), "layout": layout})
    panels = "".join(
        f'<figure><img class="{"coarse" if _width(panel.png) < COARSE_PX else "fine"}" alt="{text_of(one.title)}: '
        f'{text_of(panel.label)}" src="data:image/png;base64,{base64.b64encode(panel.png).decode()}">'
        f"<figcaption>{text_of(panel.label)}</figcaption></figure>"
        for panel in one.panels
    )
    caption = f'<p class="muted">{text_of(one.caption)}</p>' if one.caption else ""
    gone = f'<p class="muted">{NOTHING} its images are missing.</p>' if not one.panels else ""
    return (
        f'<div class="box exhibit"><h3>{text_of(one.title)}</h3>{caption}{gone}<div class="panels">{panels}</div></div>'
    )


def _width(png: bytes) -> int:
    """Pixels, from the header of the PNG."""
    return struct.unpack(">I", png[16:20])[0] if len(png) >= 24 else 0
