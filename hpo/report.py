"""The findings of a study as one HTML file that opens offline, at any stage of the study."""

from __future__ import annotations

import base64
import html
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

import hpo
from hpo import checkpoint, findings, wording
from hpo import study as studies
from hpo.figures import promotion as promotion_figures
from hpo.figures import sweep as sweep_figures
from hpo.figures.axes import scales
from hpo.figures.drawing import Drawing, Key
from hpo.figures.palette import COLOURS, TEMPLATE, css
from hpo.findings import Exhibit, Findings, Promotion, Sweep, Trial
from hpo.selection import DEFAULT
from hpo.space import describe, distribution_of
from hpo.storage import RunFolder
from hpo.study import StudySpec
from hpo.task import Check, Fidelity
from hpo.verdict import Result, Verdict
from hpo.wording import NOTHING, count, duration, interval, label, number, setting

PAGE = Path(__file__).with_name("page.html")
COARSE_PX = 160  # narrower pictures are enlarged without smoothing


def write_report(study: StudySpec, folder: RunFolder) -> Path:
    """Write the study's page and return where it is. Raises Refused where the study has no folder."""
    page = render(findings.collect(study, folder))
    checkpoint.write_whole(folder.report, page.encode())
    return folder.report


def render(found: Findings) -> str:
    """The page of these findings: one file, no other one needed."""
    parts = [section for section in (
        _promotion(found), _pictures(found.exhibits), _sweep(found), _trials(found), _preflight(found),
        _task_checks(found), _provenance(found)) if section]  # fmt: skip
    links = "".join(f'<li><a href="#{part.name}">{_text(part.title)}</a></li>' for part in parts)
    body = f"""{_header(found)}
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main">{"".join(part.html for part in parts)}</main>
<footer><p>Written {found.written:%Y-%m-%d %H:%M} UTC by hpo {hpo.__version__}. This file holds all that it shows.</p>
</footer>"""
    return Template(PAGE.read_text()).substitute(
        title=_text(f"{found.study.name}: {found.headline.badge}"), palette=css(), body=body, plotly=get_plotlyjs(),
        template=_json(TEMPLATE), dark=_json({colour.light: colour.dark for colour in COLOURS.values()}),
    )  # fmt: skip


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    html: str


def _section(name: str, title: str, lead: str, *content: str) -> Section:
    inside = "".join(content)
    return Section(name, title, f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">'
                   f'{_text(title)}</h2><p class="lead">{lead}</p>{inside}</section>')  # fmt: skip


# -- small parts -----------------------------------------------------------------------------------------------------
def _text(value: Any) -> str:
    return html.escape(str(value))


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


_BADGES = {"go": "✓", "caution": "!", "no-go": "✕", "open": "○", "skip": "–"}


def _badge(status: str, text: str = "") -> str:
    name = "skipped" if status == "skip" else status if status in _BADGES else "open"
    return f'<span class="badge {name}">{_BADGES.get(status, "○")} {_text(text or status)}</span>'


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and what it is sorted by."""

    html: str
    kind: str = ""  # class: num, words, name, differs
    value: Any = None

    def td(self) -> str:
        value = "" if self.value is None else f' data-value="{_text(self.value)}"'
        kind = f' class="{self.kind}"' if self.kind else ""
        return f"<td{kind}{value}>{self.html}</td>"


def _num(value: Any, text: str = "") -> Cell:
    """A number, right-aligned; what is missing sorts last."""
    return Cell(_text(text or number(value)), "num", "" if wording.finite(value) is None else value)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Cell | str]], *, name: str, numbers: Sequence[str] = (),
           sortable: bool = False, first: bool = False) -> str:  # fmt: skip
    """A table in its own scroll box. The first cell of a row is its header; `first` marks the first row."""
    def head(text: str) -> str:
        inner = f'<button type="button">{_text(text)}</button>' if sortable else _text(text)
        return f'<th scope="col"{" class=num" if text in numbers else ""}>{inner}</th>'

    def cell(index: int, one: Cell | str) -> str:
        if index == 0 and not sortable:
            return f'<th scope="row">{one.html if isinstance(one, Cell) else _text(one)}</th>'
        return one.td() if isinstance(one, Cell) else f"<td>{_text(one)}</td>"

    body = "".join(f"<tr{' class=first' if first and not row_index else ''}>"
                   f"{''.join(cell(index, one) for index, one in enumerate(row))}</tr>"
                   for row_index, row in enumerate(rows))  # fmt: skip
    return (f'<div class="scroll{" tall" if sortable else ""}" role="region" tabindex="0" aria-label="{_text(name)}">'
            f"<table><thead><tr>{''.join(head(text) for text in heads)}</tr></thead><tbody>{body}</tbody></table></div>"
            )  # fmt: skip


_MARKS = {
    "dot": '<circle cx="8" cy="7" r="4.5" fill="C"/>',
    "ring": '<circle cx="8" cy="7" r="4" fill="none" stroke="C" stroke-width="1.6"/>',
    "diamond": '<path d="M8 1.5 13 7 8 12.5 3 7Z" fill="C"/>',
    "square": '<rect x="3.5" y="2.5" width="9" height="9" fill="C"/>',
    "cross": '<path d="M4 3l8 8M12 3l-8 8" stroke="C" stroke-width="3"/>',
    "thin-cross": '<path d="M4.5 3.5l7 7M11.5 3.5l-7 7" stroke="C" stroke-width="1.5"/>',
    "line": '<path d="M0 7h16" stroke="C" stroke-width="2.5"/>',
    "dashed": '<path d="M0 7h16" stroke="C" stroke-width="2.5" stroke-dasharray="5 3"/>',
    "dotted": '<path d="M0 7h16" stroke="C" stroke-width="2.5" stroke-dasharray="2 2.5"/>',
}


def _keys(keys: Sequence[Key]) -> str:
    if not keys:
        return ""
    marks = "".join(
        f'<li><svg width="16" height="14" aria-hidden="true">{_MARKS[key.mark].replace("C", f"var(--{key.role})")}'
        f"</svg>{_text(key.text)}</li>" for key in keys
    )  # fmt: skip
    return f'<ul class="keys" aria-label="Legend">{marks}</ul>'


def _chart(drawing: Drawing | None) -> str:
    if drawing is None:
        return ""
    return _plot(drawing.title, drawing.point, json.loads(drawing.figure.to_json()), _keys(drawing.keys),
                 drawing.least_px)  # fmt: skip


def _plot(title: str, point: str, figure: Mapping[str, Any], keys: str = "", least_px: int = 0) -> str:
    height = figure.get("layout", {}).get("height") or 380
    least = f"min-width:{least_px}px;" if least_px else ""
    box = f'<div class="plotbox" role="region" tabindex="0" aria-label="{_text(title)}">' if least_px else \
        '<div class="plotbox">'  # fmt: skip
    return (f'<figure class="chart"><figcaption><h3>{_text(title)}</h3><p>{_text(point)}</p></figcaption>{keys}{box}'
            f'<div class="plot" role="img" aria-label="{_text(title)}. {_text(point)}" style="{least}height:{height}px">'
            f'</div><script type="application/json">{_json(figure)}</script></div></figure>')  # fmt: skip


def _charts(drawings: Iterable[Drawing | None], size: str = "") -> str:
    drawn = "".join(_chart(drawing) for drawing in drawings)
    return f'<div class="charts {size}">{drawn}</div>' if drawn else ""


def _unit(goal: str) -> str:
    return f" <small>{wording.unit(goal)}</small>" if wording.unit(goal) else ""


# -- header ----------------------------------------------------------------------------------------------------------
def _header(found: Findings) -> str:
    goal, direction = found.study.task.goal, found.study.task.direction
    missing = "".join(f"<p>{_text(one.what)} <code>{_text(one.command)}</code></p>" for one in found.missing)
    notes = "".join(f'<p class="caveat">{_text(note)}</p>' for note in found.promotion.notes) if found.promotion else ""
    baseline = _against_baseline(found.promotion) if found.promotion else ""
    return f"""<header><div>
<p class="eyebrow">Hyperparameter study of {_text(type(found.study.task).__name__)}: {_text(label(goal))},
{wording.better(direction)}</p>
<h1>{_text(found.study.name)} {_badge(found.headline.status, found.headline.badge)}</h1>
<p class="verdict">{_text(found.headline.sentence)}{baseline}</p>
{f'<div class="missing" role="note">{missing}</div>' if missing else ""}{notes}
<dl class="tiles">{"".join(_tiles(found))}</dl></div></header>"""


def _against_baseline(promotion: Promotion) -> str:
    winner, best = promotion.winner, promotion.best_baseline
    ahead = winner.ahead_of_baselines.get(best.name) if winner and best else None
    if ahead is None or best is None:
        return ""
    said = "It beats" if ahead.low > 0 else "It does not reach" if ahead.high < 0 else "It cannot be told apart from"
    return f" {said} the best classical baseline, {_text(best.name)}, by {_text(interval(ahead, signed=True))}." \
        if ahead.low > 0 else f" {said} the best classical baseline, {_text(best.name)} " \
        f"(lead {_text(interval(ahead, signed=True))})."  # fmt: skip


def _tiles(found: Findings) -> Iterable[str]:
    goal, sweep, promotion = found.study.task.goal, found.sweep, found.promotion
    if promotion and promotion.winner and promotion.winner.test:
        winner, default, best = promotion.winner, promotion.default, promotion.best_baseline
        yield _tile(f"Winner on test: {winner.candidate.name}", wording.mean_of(winner.test) + _unit(goal),
                    _range(winner.test))  # fmt: skip
        if default and default.test and default is not winner:
            yield _tile("Default on test", wording.mean_of(default.test) + _unit(goal), _range(default.test))
        if best:
            one = promotion.baselines.get(best.name)
            yield _tile(f"Best baseline on test: {best.name}", number(best.scores[goal]) + _unit(goal),
                        _range(one) if one else "")  # fmt: skip
    if sweep and sweep.best:
        yield _tile("Best cheap score", number(sweep.best.value) + _unit(goal),
                    f"trial {sweep.best.number}, on validation")  # fmt: skip
    if sweep:
        ended = sum(sweep.counts.get(state, 0) for state in ("complete", "pruned", "failed"))
        states = ", ".join(f"{sweep.counts[state]} {state}" for state in ("complete", "pruned", "failed", "running")
                           if sweep.counts.get(state))  # fmt: skip
        yield _tile("Trials", f"{ended} <small>of {sweep.planned}</small>", states or "none has begun")
        promoted = promotion.seconds if promotion else 0.0
        yield _tile("Time spent training", duration(sweep.seconds + promoted),
                    f"sweep {duration(sweep.seconds)}" + (f", promotion {duration(promoted)}" if promoted else ""))  # fmt: skip


def _range(one: wording.Interval) -> str:
    return "95 %: " + interval(one).split(" [")[-1].rstrip("]").replace(", ", " to ")


def _tile(name: str, value: str, note: str) -> str:
    more = f"<dd>{_text(note)}</dd>" if note else ""
    return f'<div class="tile"><dt>{_text(name)}</dt><dd>{value}</dd>{more}</div>'


# -- promotion -------------------------------------------------------------------------------------------------------
def _promotion(found: Findings) -> Section | None:
    promotion, goal = found.promotion, found.study.task.goal
    if promotion is None:
        return None
    if promotion.verdict is None:
        return _section("promotion", "Promotion", f"{len(promotion.runs)} of {promotion.planned} runs at full fidelity "
                        "have ended. There are no intervals before the last one.", _runs_so_far(promotion, goal))  # fmt: skip
    verdict = promotion.verdict
    lead = (f"{count(len(verdict.results), 'configuration')} at full fidelity, {count(promotion.seeds, 'fresh seed')} "
            f"each, the best validation score first. The test split was read here alone; intervals are 95 %, over seeds "
            f"and test examples.")  # fmt: skip
    charts = _charts([promotion_figures.scores(promotion, verdict), promotion_figures.leads(verdict)])
    more = [promotion_figures.agreement(promotion.agreement, promotion, goal, verdict.direction)
            if promotion.agreement else None, promotion_figures.training(promotion, verdict)]  # fmt: skip
    return _section(
        "promotion", "Promotion", lead, charts, _promotion_table(promotion, verdict),
        f"<details><summary>Promoted configurations</summary>{_configurations(verdict)}</details>",
        f"<details><summary>All scores on the test split</summary>{_scores(verdict)}</details>", _charts(more),
    )  # fmt: skip


def _promotion_table(promotion: Promotion, verdict: Verdict) -> str:
    best = promotion.best_baseline
    goal = label(verdict.goal)
    heads = ["Configuration", f"Test, {goal}", "Lead over default", *([f"Lead over {best.name}"] if best else []),
             "Full, validation", "Cheap, validation", "A run", "Runs"]  # fmt: skip
    rows = [_promotion_row(result, promotion, best.name if best else "") for result in verdict.results]
    for one in verdict.baselines:
        known = promotion.baselines.get(one.name)
        shown = interval(known) if known else number(one.scores[verdict.goal])
        rows.append([Cell(f'{_text(one.name)} <span class="muted">baseline</span>'), _num(None, shown),
                     *[_num(None)] * (len(heads) - 2)])  # fmt: skip
    return _table(heads, rows, name="Promotion", numbers=heads[1:], first=True)


def _promotion_row(result: Result, promotion: Promotion, best: str) -> list[Cell | str]:
    done = [run for run in result.runs if run["state"] == "complete"]
    mean_seconds = sum(run["seconds"] for run in done) / len(done) if done else None
    reasons = "; ".join(sorted({run["reason"] for run in result.runs if run["reason"]}))
    runs = f"{len(done)} of {len(result.runs)}" + (f": {reasons}" if reasons else "")
    against = [_num(None, interval(result.ahead_of_baselines.get(best), signed=True))] if best else []
    default = "–" if result.candidate.name == DEFAULT else interval(result.ahead_of_default, signed=True)
    return [
        result.candidate.name, _num(None, interval(result.test)), _num(None, default), *against, _num(result.full),
        _num(result.candidate.cheap), _num(mean_seconds, duration(mean_seconds)), Cell(_text(runs), "words" if reasons
                                                                                       else "num"),
    ]  # fmt: skip


def _configurations(verdict: Verdict) -> str:
    """A row a parameter, a column a candidate; what differs from the default stands out."""
    defaults = next((one.candidate.params for one in verdict.results if one.candidate.name == DEFAULT), {})
    names = list(dict.fromkeys(name for one in verdict.results for name in one.candidate.params))

    def cell(one: Result, name: str) -> Cell:
        if name not in one.candidate.params:
            return Cell('<span class="muted">not searched</span>', "num")
        value = one.candidate.params[name]
        return Cell(_text(setting(value)), "num differs" if value != defaults.get(name) else "num")

    heads = [one.candidate.name for one in verdict.results]
    return _table(["Parameter", *heads], [[name, *(cell(one, name) for one in verdict.results)] for name in names],
                  name="Promoted configurations", numbers=heads)  # fmt: skip


def _scores(verdict: Verdict) -> str:
    """A row a score; means over the seeds."""
    named = [(one.candidate.name, one.scores) for one in verdict.results] + \
        [(one.name, one.scores) for one in verdict.baselines]  # fmt: skip
    rows = [[Cell(_text(label(score)) + (" (the goal)" if score == verdict.goal else "")),
             *(_num(scores.get(score)) for _, scores in named)]
            for score in dict.fromkeys(score for _, scores in named for score in scores)]  # fmt: skip
    heads = [name for name, _ in named]
    return _table(["Score", *heads], rows, name="All scores on the test split", numbers=heads)


def _runs_so_far(promotion: Promotion, goal: str) -> str:
    rows = [[name, _state(run), _num(run.value), _num(run.seconds, duration(run.seconds)), Cell(_text(run.reason),
             "words")] for name, run in promotion.runs]  # fmt: skip
    heads = ["Configuration", "State", f"Full, validation ({label(goal)})", "Time", "Reason"]
    return _table(heads, rows, name="Runs of the promotion", numbers=heads[2:4]) if rows else ""


# -- pictures --------------------------------------------------------------------------------------------------------
def _pictures(exhibits: tuple[Exhibit, ...]) -> Section | None:
    if not exhibits:
        return None
    return _section("pictures", "Pictures", "The winner on the test split.", *(_exhibit(one) for one in exhibits))


def _exhibit(one: Exhibit) -> str:
    if one.figure is not None:
        return _plot(one.title, one.caption, one.figure)
    panels = "".join(
        f'<figure><img class="{"coarse" if _width(panel.png) < COARSE_PX else ""}" alt="{_text(one.title)}: '
        f'{_text(panel.label)}" src="data:image/png;base64,{base64.b64encode(panel.png).decode()}">'
        f"<figcaption>{_text(panel.label)}</figcaption></figure>" for panel in one.panels
    )  # fmt: skip
    caption = f'<p class="muted">{_text(one.caption)}</p>' if one.caption else ""
    return f'<div class="box exhibit"><h3>{_text(one.title)}</h3>{caption}<div class="panels">{panels}</div></div>'


def _width(png: bytes) -> int:
    """Pixels, from the PNG's header."""
    return struct.unpack(">I", png[16:20])[0] if len(png) >= 24 else 0


# -- sweep -----------------------------------------------------------------------------------------------------------
def _sweep(found: Findings) -> Section | None:
    sweep, study = found.sweep, found.study
    if sweep is None or not sweep.trials:
        return None
    goal = study.task.goal
    searched = scales(studies.distributions(study.space))
    lead = (f"{count(len(study.space), 'parameter')} searched at the cheap fidelity, {sweep.epochs_each} epochs a trial, "
            f"scored by {_text(label(goal))} on validation ({wording.better(study.task.direction)}).")  # fmt: skip
    if not any(trial.value is not None for trial in sweep.trials):
        return _section("sweep", "Sweep", f"{lead} No trial has a score yet.",
                        _charts([sweep_figures.timeline(sweep)]))  # fmt: skip
    return _section(
        "sweep", "Sweep", lead, _chart(sweep_figures.history(sweep, goal)), _chart(sweep_figures.curves(sweep, goal)),
        _importances(sweep), '<div class="block"><h3>One parameter at a time</h3></div>',
        _charts(sweep_figures.slices(sweep, searched, goal), "small"),
        _chart(sweep_figures.parallel(sweep, searched, goal)), _chart(sweep_figures.timeline(sweep)),
    )  # fmt: skip


def _importances(sweep: Sweep) -> str:
    found = sweep.importances
    none = "".join(f"<p>{_text(one.measure)} could not be computed: {_text(one.why_not)}.</p>"
                   for one in found.measures if one.why_not)  # fmt: skip
    said = sweep_figures.agreement_of(found)
    caveats = "".join(f'<p class="caveat">{_text(caveat)}</p>' for caveat in found.caveats)
    return (f'<div class="block"><h3>What mattered</h3><p class="lead">From {count(found.complete, "completed trial")}; '
            f"pruned ones do not count. {_text(said)}</p>{none}{caveats}"
            f"{_charts(sweep_figures.importance_bars(found))}</div>")  # fmt: skip


# -- trials ----------------------------------------------------------------------------------------------------------
_STATE_MARKS = {"complete": "●", "pruned": "×", "failed": "✕", "running": "○", "waiting": "○"}


def _state(trial: Trial) -> Cell:
    return Cell(f'<span aria-hidden="true">{_STATE_MARKS[trial.state]}</span> {trial.state}', "name", trial.state)


def _trials(found: Findings) -> Section | None:
    if found.sweep is None or not found.sweep.trials:
        return None
    names = list(found.study.space)
    goal = label(found.study.task.goal)
    heads = ["Trial", goal, "State", *names, "Epochs", "Best epoch", "Time", "Reason"]
    rows = [_trial_row(trial, names, found.sweep) for trial in found.sweep.trials]
    numeric = {name for name in names if not isinstance(found.study.defaults().get(name), str | bool)}
    return _section(
        "trials", "Trials", "Sort by any column. An unfinished trial shows its best score before it ended.",
        _table(heads, rows, name="Trials", numbers=["Trial", goal, *numeric, "Epochs", "Best epoch", "Time"],
               sortable=True),
    )  # fmt: skip


def _trial_row(trial: Trial, names: list[str], sweep: Sweep) -> list[Cell | str]:
    tags = [tag for tag, holds in (("best", sweep.best is trial), ("default", trial.default)) if holds]
    tagged = f'{trial.number}{"".join(f" <b>{tag}</b>" for tag in tags)}'
    return [
        Cell(tagged, "num", trial.number), _num(trial.value), _state(trial),
        *(_parameter(trial.params, name) for name in names), _num(trial.epochs),
        _num(None if trial.best_epoch is None or not trial.epochs else trial.best_epoch + 1),
        _num(trial.seconds, duration(trial.seconds)), Cell(_text(trial.reason), "words", trial.reason),
    ]  # fmt: skip


def _parameter(params: Mapping[str, Any], name: str) -> Cell:
    if name not in params:
        return Cell(NOTHING, "num", "")
    value = params[name]
    return Cell(_text(setting(value)), "" if isinstance(value, str | bool) else "num", value)


# -- preflight and checks --------------------------------------------------------------------------------------------
def _preflight(found: Findings) -> Section | None:
    one = found.preflight
    if one is None:
        return None
    cost = one.cost
    said = [f"{_badge(one.status)} in {duration(one.seconds)}."]
    if "trial_seconds" in cost:
        said.append(f"It expected {duration(cost['trial_seconds'])} a trial and at most "
                    f"{duration(cost.get('sweep_seconds'))} for the sweep with {count(int(cost.get('workers', 1)), 'worker')}"
                    + (f", {cost['peak_mb']:,.0f} MB at its peak." if "peak_mb" in cost else "."))  # fmt: skip
    warnings = []
    if one.forced:
        warnings.append("The sweep was forced past this preflight.")
    if one.stale:
        warnings.append(f"It was run for another {wording.listed(list(one.stale))} than the sweep.")
    return _section(
        "preflight", "Preflight", " ".join(said), *(f'<p class="caveat">{_text(text)}</p>' for text in warnings),
        _chart(promotion_figures.overfit(one.overfit)) if one.overfit else "", _checks(one.checks, "Preflight checks"),
    )  # fmt: skip


def _checks(checks: Sequence[Check], name: str) -> str:
    rows = [[check.name, Cell(_badge(check.status)), Cell(_text(check.seen), "words"), Cell(_text(check.allowed), "words"),
             Cell(_text(check.look_at if check.status in ("no-go", "caution") else ""), "words")]
            for check in checks]  # fmt: skip
    heads = ["Check", "Status", "Seen", "Allowed", "Look at"]
    if not any(check.look_at for check in checks if check.status in ("no-go", "caution")):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    return _table(heads, rows, name=name)


def _task_checks(found: Findings) -> Section | None:
    verdict = found.promotion.verdict if found.promotion else None
    if verdict is None or not verdict.checks:
        return None
    return _section("checks", "The task's own checks", "What the task demands of the winner.",
                    _checks(verdict.checks, "The task's own checks"))  # fmt: skip


# -- provenance ------------------------------------------------------------------------------------------------------
def _provenance(found: Findings) -> Section:
    one, study = found.provenance, found.study
    hashes = [[name, Cell(f"<code>{_text(value)}</code>")] for name, value in one.identity.items()]
    versions = [[name, str(value)] for name, value in one.versions.items()]
    tables = f"""<div class="pair"><div class="block"><h3>Hashes</h3>{
        _table(["Part", "Identity"], hashes, name="Hashes") if hashes else "<p>Nothing has been run yet.</p>"}</div>
<div class="block"><h3>Versions <span class="muted">{_text(one.versions_of)}</span></h3>{
        _table(["Package", "Version"], versions, name="Versions")}</div></div>"""
    return _section(
        "provenance", "Provenance", "What the result rests on, and how to have it again.", _winner(found),
        f'<div class="block"><h3>Commands</h3>{_commands(found)}</div>',
        f'<div class="block"><h3>Searched space</h3>{_space(found)}</div>',
        f'<div class="block"><h3>Fidelities</h3>{_fidelities(study)}</div>',
        f'<div class="block"><h3>Search</h3><p>TPE, {count(study.startup_trials, "random trial")} first; trial 0 is the '
        f"default. Pruning: {_text(one.pruning)}. Study seed {study.seed}: every trial's training and sampling seeds "
        f"derive from it and the trial's number, the promotion's from it and the run's.</p></div>", tables,
    )  # fmt: skip


def _winner(found: Findings) -> str:
    card = found.provenance.card
    if not card:
        return ""
    code = (f"from pathlib import Path\nfrom hpo.export import load_winner\n\n"
            f"task, model = load_winner(Path({str(found.provenance.winner)!r}))")  # fmt: skip
    exact = ", ".join(f"{name} = {value!r}" for name, value in card.get("params", {}).items())
    return (f'<div class="block"><h3>The winner</h3><p>{_text(card.get("winner", ""))}, its best run: weights and card in '
            f"<code>{_text(found.provenance.winner)}</code>, sha256 <code>{_text(card.get('sha256', ''))[:16]}</code>.</p>"
            f"<pre><code>{_text(code)}</code></pre><p>Exact values: <code>{_text(exact)}</code></p></div>")  # fmt: skip


def _commands(found: Findings) -> str:
    logged = found.provenance.commands
    if logged:
        rows = [[str(line.get("at", ""))[:19].replace("T", " "), Cell(f"<code>{_text(line['command'])}</code>", "words")]
                for line in logged]  # fmt: skip
        return _table(["At", "Command"], rows, name="Commands")
    verbs = "\n".join(f"hpo {verb} {found.study.name}" for verb in ("preflight", "sweep", "promote", "report"))
    return f"<p>None were logged. These make it again:</p><pre><code>{_text(verbs)}</code></pre>"


def _space(found: Findings) -> str:
    defaults, conditions = found.study.defaults(), found.provenance.conditions
    best = found.promotion.winner.candidate if found.promotion and found.promotion.winner else found.sweep.best \
        if found.sweep else None  # fmt: skip
    who = "Winner" if found.promotion and found.promotion.winner else "Best cheap"
    rows = [[name, Cell(f"<code>{_text(describe(distribution_of(entry)))}</code> {_text(conditions.get(name, ''))}",
                        "words"),
             Cell(_text(setting(defaults[name]) if name in defaults else NOTHING), "num"),
             Cell(_text(setting(best.params[name]) if best and name in best.params else NOTHING), "num")]
            for name, entry in found.study.space.items()]  # fmt: skip
    return _table(["Parameter", "Searched", "Default", who], rows, name="Searched space", numbers=["Default", who])


def _fidelities(study: StudySpec) -> str:
    def row(name: str, one: Fidelity) -> list[Cell | str]:
        fixed = ", ".join(f"{key} = {setting(value)}" for key, value in one.fixed.items())
        return [name, _num(one.size), _num(one.train), _num(one.val), _num(one.examples("test")), _num(one.epochs),
                Cell(_text(fixed or NOTHING), "words")]  # fmt: skip

    heads = ["Fidelity", f"Size, {study.task.size_unit}", "Train", "Validation", "Test", "Epochs", "Pinned"]
    return _table(heads, [row(name, getattr(study, name)) for name in ("smoke", "cheap", "full")], name="Fidelities",
                  numbers=heads[1:6])  # fmt: skip
