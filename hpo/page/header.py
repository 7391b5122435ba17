"""The top of the report: the verdict in a sentence, what is missing, and the key figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpo.formatting import better, duration, is_bounded, label, mean_of, numerals, score, sentence, unit
from hpo.page.basis import Ground, grounds
from hpo.page.findings import Findings, GateFindings, Missing, Promotion, Sweep
from hpo.page.gate import refusal
from hpo.page.views import Badge, Tile
from hpo.promotion.intervals import Interval


@dataclass(frozen=True)
class Top:
    """What stands above the sections."""

    eyebrow: str
    study: str
    badge: Badge
    verdict: str
    missing: tuple[Missing, ...]
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
        missing=findings.missing,
        notes=(*refusal(findings.gate), *(findings.promotion.notes if findings.promotion else ())),
        tiles=tuple(_tiles(findings)),
        grounds=grounds(findings),
    )


def _tiles(findings: Findings) -> Iterator[Tile]:
    goal, sweep, promotion = findings.study.task.goal, findings.sweep, findings.promotion
    if promotion and promotion.verdict:
        yield from _test_tiles(promotion, goal)
    if sweep and sweep.best:
        kind, split = ("adopted", "as adopted") if sweep.origin else ("cheap", "on validation")
        note = f"trial {sweep.best.number}, {split}; {drawn_best(sweep)}"
        yield Tile(f"Best {kind} score", score(sweep.best.value), note, unit(goal))
    if sweep:
        yield _trials_tile(sweep)
        yield _time_tile(sweep, promotion, findings.gate)


def _trials_tile(sweep: Sweep) -> Tile:
    more = f"{sweep.ended} in all: " if sweep.ended > sweep.planned else ""
    end = f"; {sweep.end}" if sweep.end else ""
    note = f"{more}{counted_states(sweep)}{end}"
    return Tile("Trials", str(min(sweep.ended, sweep.planned)), note, f"of {sweep.planned}")


def _time_tile(sweep: Sweep, promotion: Promotion | None, gate: GateFindings | None) -> Tile:
    seconds = {
        "sweep": sweep.seconds,
        "gate": gate.seconds if gate else 0.0,
        "promotion": promotion.seconds if promotion else 0.0,
    }
    parts = [f"{part} {duration(spent)}" for part, spent in seconds.items() if spent or part == "sweep"]
    return Tile("Time spent training", duration(sum(seconds.values())), ", ".join(parts))


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
        for state in ("complete", "pruned", "failed", "running", "waiting")
        if sweep.counts.get(state)
    ]
    return ", ".join(counted) or "none has begun"


def drawn_best(sweep: Sweep) -> str:
    """That the best of many scores flatters: a part of it is luck. The trials that were pruned were draws too."""
    draws = sweep.counts.get("complete", 0) + sweep.counts.get("pruned", 0)
    return f"best of {draws} draws, optimistic" if draws > 1 else "the only draw"


def _range(value: Interval) -> str:
    return f"{100 * value.confidence:.4g} %: {numerals(value).range}" if is_bounded(value) else ""
