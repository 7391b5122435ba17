"""What it rests on: the preflight, the task's own checks, and how to have it all again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo.formatting import NOTHING, count, duration, listed, sentence, setting
from hpo.page import draw_promotion
from hpo.page.findings import Findings, Preflight
from hpo.page.markup import (
    Cell,
    Rows,
    Section,
    badge,
    block,
    caveats,
    chart,
    code,
    numeric,
    section,
    table,
    text_of,
    words,
)
from hpo.space import describe, distribution_of
from hpo.study import StudySpec
from hpo.task import Check, Fidelity

VERBS = ("preflight", "sweep", "promote", "report")


def preflight(found: Findings) -> Section | None:
    one = found.preflight
    if one is None:
        return None
    doubts = ["The sweep was forced past this preflight."] if one.forced else []
    if one.stale:
        doubts.append(f"It does not speak for this sweep: {listed(list(one.stale))} differed.")
    return section(
        "preflight",
        "Preflight",
        f"{badge(one.status)} {text_of(_cost(one))}",
        caveats(doubts),
        chart(draw_promotion.overfit(one.overfit)) if one.overfit else "",
        checks(one.checks, "Preflight checks"),
    )


def _cost(one: Preflight) -> str:
    said, cost = [f"Took {duration(one.seconds)}."], one.cost
    if "trial_seconds" in cost:
        workers = count(int(cost.get("workers", 1)), "worker")
        said.append(
            f"It expected {duration(cost['trial_seconds'])} a trial, and at most "
            f"{duration(cost.get('sweep_seconds'))} for the sweep on {workers}."
        )
    if "peak_mb" in cost:
        said.append(f"Peak memory: {cost['peak_mb']:,.0f} MB.")
    return " ".join(said)


def checks(found: Sequence[Check], name: str) -> str:
    """Conditions as a table; where to look stands only beside those that did not pass."""
    wrong = any(check.look_at for check in found if check.status in ("no-go", "caution"))
    rows: Rows = [
        [
            check.name,
            Cell(badge(check.status)),
            words(check.seen),
            words(check.allowed),
            *([words(check.look_at if check.status in ("no-go", "caution") else "")] if wrong else []),
        ]
        for check in found
    ]
    return table(["Check", "Status", "Seen", "Allowed", *(["Look at"] if wrong else [])], rows, name=name)


def task_checks(found: Findings) -> Section | None:
    verdict = found.promotion.verdict if found.promotion else None
    if verdict is None or not verdict.checks:
        return None
    return section(
        "checks", "Task checks", "What the task itself demands of the winner.", checks(verdict.checks, "Task checks")
    )


def provenance(found: Findings) -> Section:
    one, study = found.provenance, found.study
    hashes = table(
        ["Part", "Identity"],
        [[name, Cell(f"<code>{text_of(value)}</code>")] for name, value in one.identity.items()],
        name="Hashes",
    )
    versions = table(
        ["Package", "Version"], [[name, str(value)] for name, value in one.versions.items()], name="Versions"
    )
    search = (
        f"TPE, {count(study.startup_trials, 'random trial')} first; trial 0 is the default. Pruning: "
        f"{one.pruning}. Study seed {study.seed}: the seeds of every trial derive from it and from the trial's "
        f"number, those of the promotion from it and the run's."
    )
    return section(
        "provenance",
        "Provenance",
        "What the result rests on, and how to have it again.",
        _winner(found),
        block("Commands", _commands(found)),
        block("Searched space", _space(found)),
        block("Fidelities", _fidelities(study)),
        block("Search", f"<p>{text_of(search)}</p>"),
        f'<div class="pair">{block("Hashes", hashes) if one.identity else ""}'
        f"{block(f'Versions {one.versions_of}', versions)}</div>",
    )


def _winner(found: Findings) -> str:
    card, where = found.provenance.card, found.provenance.winner
    if not card:
        return ""
    load = (
        "from pathlib import Path\nfrom hpo.trial.artifact import load_winner\n\n"
        f"task, model = load_winner(Path({str(where)!r}))"
    )
    exact = "\n".join(f"{name} = {value!r}" for name, value in card.get("params", {}).items())
    return block(
        f"The winner: {card.get('winner', '')}",
        f"<p>Weights and card of its best run lie in "
        f"<code>{text_of(where)}</code>, sha256 <code>{text_of(card.get('sha256', ''))[:16]}</code>.</p>"
        f"{code(load)}<p>Its values in full:</p>{code(exact)}",
    )


def _commands(found: Findings) -> str:
    logged = found.provenance.commands
    if not logged:
        again = "\n".join(f"hpo {verb} {found.study.name}" for verb in VERBS)
        return f"<p>None was logged. These make it again:</p>{code(again)}"
    rows: Rows = [
        [str(line.get("at", ""))[:19].replace("T", " "), Cell(f"<code>{text_of(line['command'])}</code>", "words")]
        for line in logged
    ]
    return table(["At (UTC)", "Command"], rows, name="Commands")


def _space(found: Findings) -> str:
    defaults, conditions = found.study.defaults(), found.provenance.conditions
    winner = found.promotion.winner if found.promotion else None
    best = winner.candidate if winner else found.sweep.best if found.sweep else None
    chosen = best.params if best else {}

    def value(params: Mapping[str, Any], name: str) -> Cell:
        return words(setting(params[name]) if name in params else NOTHING, "num")

    rows: Rows = [
        [
            name,
            Cell(
                f"<code>{text_of(describe(distribution_of(entry)))}</code> {text_of(conditions.get(name, ''))}", "words"
            ),
            value(defaults, name),
            value(chosen, name),
        ]
        for name, entry in found.study.space.items()
    ]
    heads = ["Default", "Winner" if winner else "Best cheap"]
    return table(["Parameter", "Searched", *heads], rows, name="Searched space", numbers=heads)


def _fidelities(study: StudySpec) -> str:
    heads = ["Fidelity", sentence(study.task.size_unit), "Train", "Validation", "Test", "Epochs", "Pinned"]
    rows = [_fidelity(name, getattr(study, name)) for name in ("smoke", "cheap", "full")]
    return table(heads, rows, name="Fidelities", numbers=heads[1:6])


def _fidelity(name: str, one: Fidelity) -> list[Cell | str]:
    fixed = ", ".join(f"{key} = {setting(value)}" for key, value in one.fixed.items())
    return [
        name,
        *(numeric(count) for count in (one.size, one.train, one.val, one.examples("test"), one.epochs)),
        words(fixed or NOTHING),
    ]
