"""The top of the report: the verdict in a sentence, what to do next, the key figures, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpo.formatting import (
    better,
    count,
    duration,
    interval,
    is_bounded,
    label,
    mean_of,
    numerals,
    score,
    sentence,
    unit,
)
from hpo.page.basis import Ground, grounds
from hpo.page.findings import Findings, GateFindings, Promotion, Sweep
from hpo.page.gate import gate_price, refusal
from hpo.page.steps import Step, steps
from hpo.page.views import Badge, Tile
from hpo.promotion.gate import FIRST, MOST
from hpo.promotion.intervals import Interval


@dataclass(frozen=True)
class Top:
    """What stands above the sections."""

    eyebrow: str
    study: str
    badge: Badge
    verdict: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    tiles: tuple[Tile, ...]
    grounds: tuple[Ground, ...] = ()  # what the verdict rests on


def top(findings: Findings) -> Top:
    """The top of the page of these findings."""
    task, headline = findings.study.task, findings.headline
    verdict = findings.promotion.verdict if findings.promotion else None
    return Top(
        eyebrow=f"Hyperparameter study of {type(task).__name__}: {label(task.goal)}, {better(task.direction)}",
        study=findings.study.name,
        badge=Badge(headline.status, headline.badge),
        verdict=sentence((verdict.claim if verdict else "") or headline.sentence),
        steps=steps(findings),
        notes=(*refusal(findings.gate), *(findings.promotion.notes if findings.promotion else ())),
        tiles=tuple(_tiles(findings)),
        grounds=grounds(findings),
    )


def _tiles(findings: Findings) -> Iterator[Tile]:
    goal, sweep, promotion = findings.study.task.goal, findings.sweep, findings.promotion
    if promotion and promotion.verdict:
        yield from _test_tiles(promotion, goal)
    if sweep:
        yield _cost_tile(sweep, promotion, findings.gate)
    if findings.gate:
        yield _fidelity_tile(findings.gate)
    if sweep and sweep.best:
        kind, split = ("adopted", "as adopted") if sweep.origin else ("cheap", "on validation")
        note = f"trial {sweep.best.number}, {split}; {drawn_best(sweep)}"
        yield Tile(f"Best {kind} score", score(sweep.best.value), note, unit(goal))


def _cost_tile(sweep: Sweep, promotion: Promotion | None, gate: GateFindings | None) -> Tile:
    """The time that was spent training, and on what."""
    more = f"{sweep.ended} in all: " if sweep.ended > sweep.planned else ""
    end = f"; {sweep.end}" if sweep.end else ""
    ended = f"{min(sweep.ended, sweep.planned)} of {sweep.planned} trials"
    parts = [f"{duration(sweep.seconds)} for {ended} ({more}{counted_states(sweep)}{end})"]
    if gate and gate.seconds:
        parts.append(f"{duration(gate.seconds)} for the gate")
    if promotion:
        parts.append(f"{duration(promotion.seconds)} for {count(len(promotion.runs), 'full run')}")
    total = sweep.seconds + (gate.seconds if gate else 0.0) + (promotion.seconds if promotion else 0.0)
    return Tile("What it cost", duration(total), "; ".join(parts))


def _fidelity_tile(known: GateFindings) -> Tile:
    """Whether the cheap fidelity ranks like the full one."""
    name = "Does cheap rank like full?"
    if known.gate is None:
        price = f", {gate_price(known)}" if gate_price(known) else ""
        return Tile(name, "not tested", f"{FIRST} to {MOST} full runs{price}, would tell")
    rho = known.gate.correlation
    note = f"rank correlation {interval(Interval(rho.value, rho.low, rho.high))}"
    return Tile(name, "yes" if known.gate.decision == "pass" else "no", note)


def _test_tiles(promotion: Promotion, goal: str) -> Iterator[Tile]:
    verdict, best = promotion.verdict, promotion.best_baseline
    compared = (verdict.winning, verdict.leading, verdict.default) if verdict else ()
    for name, result in {result.candidate.name: result for result in compared if result}.items():
        if verdict and result.test:
            yield _interval_tile(f"On test: {verdict.title(name)}", result.test, goal)
    if best:
        name, known = f"On test: {best.name} (best baseline)", promotion.baselines.get(best.name)
        yield _interval_tile(name, known, goal) if known else Tile(name, score(best.scores[goal]), unit=unit(goal))


def _interval_tile(name: str, value: Interval, goal: str) -> Tile:
    return Tile(name, mean_of(value), _range(value), unit(goal))


def counted_states(sweep: Sweep) -> str:
    """How many trials are in each state."""
    counted = [
        f"{sweep.counts[state]} {state}"
        for state in ("complete", "pruned", "failed", "running", "paused", "waiting")
        if sweep.counts.get(state)
    ]
    return ", ".join(counted) or "none has begun"


def drawn_best(sweep: Sweep) -> str:
    """That the best of many scores flatters: a part of it is luck. The trials that were pruned were draws too."""
    draws = sweep.counts.get("complete", 0) + sweep.counts.get("pruned", 0)
    return f"best of {draws} draws, optimistic" if draws > 1 else "the only draw"


def _range(value: Interval) -> str:
    return f"{100 * value.confidence:.4g} %: {numerals(value).range}" if is_bounded(value) else ""
