"""The top of the page: the verdict in a sentence, what is missing, and the key figures."""

from __future__ import annotations

from collections.abc import Iterator

from hpo import formatting
from hpo.formatting import duration, interval, label, score, sentence, unit
from hpo.page.findings import Findings, Promotion, Sweep
from hpo.page.markup import badge, caveats, text_of
from hpo.promotion.intervals import Interval


def header(found: Findings) -> str:
    task = found.study.task
    missing = "".join(f"<p>{text_of(one.what)} <code>{text_of(one.command)}</code></p>" for one in found.missing)
    notes = found.promotion.notes if found.promotion else ()
    verdict = " ".join([sentence(found.headline.sentence), *_against_baseline(found.promotion)])
    return f"""<header><div>
<p class="eyebrow">Hyperparameter study of {text_of(type(task).__name__)}: {text_of(label(task.goal))},
{formatting.better(task.direction)}</p>
<h1>{text_of(found.study.name)} {badge(found.headline.status, found.headline.badge)}</h1>
<p class="verdict">{text_of(verdict)}</p>
{f'<div class="missing" role="note">{missing}</div>' if missing else ""}{caveats(notes)}
<dl class="tiles">{"".join(_tiles(found))}</dl></div></header>"""


def _against_baseline(promotion: Promotion | None) -> Iterator[str]:
    best = promotion.best_baseline if promotion else None
    ahead = promotion.winner.ahead_of_baselines.get(best.name) if promotion and promotion.winner and best else None
    if best is None or ahead is None:
        return
    lead = interval(ahead, signed=True)
    if ahead.low > 0:
        yield f"It beats the best classical baseline, {best.name}, by {lead}."
    elif ahead.high < 0:
        yield f"It does not reach the best classical baseline, {best.name}: its lead is {lead}."
    else:
        yield f"It cannot be told apart from the best classical baseline, {best.name}: its lead is {lead}."


def _tiles(found: Findings) -> Iterator[str]:
    goal, sweep, promotion = found.study.task.goal, found.sweep, found.promotion
    if promotion and promotion.verdict:
        yield from _on_test(promotion, goal)
    if sweep and sweep.best:
        where = f"trial {sweep.best.number}, on validation"
        yield _tile("Best cheap score", score(sweep.best.value), where, unit(goal))
    if sweep:
        yield _tile("Trials", str(sweep.ended), _states(sweep), f"of {max(sweep.planned, sweep.ended)}")
        promoted = promotion.seconds if promotion else 0.0
        more = f", promotion {duration(promoted)}" if promoted else ""
        yield _tile("Time spent training", duration(sweep.seconds + promoted), f"sweep {duration(sweep.seconds)}{more}")


def _on_test(promotion: Promotion, goal: str) -> Iterator[str]:
    winner, default, best = promotion.winner, promotion.default, promotion.best_baseline
    if winner and winner.test:
        name = f"Winner on test: {winner.candidate.name}"
        yield _tile(name, formatting.mean_of(winner.test), _range(winner.test), unit(goal))
    if default and default.test and default is not winner:
        yield _tile("Default on test", formatting.mean_of(default.test), _range(default.test), unit(goal))
    if best:
        known = promotion.baselines.get(best.name)
        value = formatting.mean_of(known) if known else score(best.scores[goal])
        yield _tile(f"Best baseline on test: {best.name}", value, _range(known) if known else "", unit(goal))


def _states(sweep: Sweep) -> str:
    counted = [
        f"{sweep.counts[state]} {state}"
        for state in ("complete", "pruned", "failed", "running")
        if sweep.counts.get(state)
    ]
    return ", ".join(counted) or "none has begun"


def _range(one: Interval) -> str:
    return "95 %: " + interval(one).partition(" [")[2].rstrip("]").replace(", ", " to ")


def _tile(name: str, value: str, note: str, after: str = "") -> str:
    small = f" <small>{text_of(after)}</small>" if after else ""
    more = f"<dd>{text_of(note)}</dd>" if note else ""
    return f'<div class="tile"><dt>{text_of(name)}</dt><dd>{text_of(value)}{small}</dd>{more}</div>'
