"""What it rests on: the preflight, the task's own checks, and how to have it all again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hpo.formatting import NOTHING, count, duration, listed, sentence, setting
from hpo.page import draw_overfit
from hpo.page.drawing import plot
from hpo.page.findings import Findings, LoggedCommand, PreflightFindings, Provenance
from hpo.page.views import Badge, Cell, Code, Plot, Section, Table, number_cell, table
from hpo.space import describe, distribution_of
from hpo.study import StudySpec
from hpo.task import Check, Fidelity, Split

VERBS = ("preflight", "sweep", "promote", "report")
NOT_PASSED = ("no-go", "caution")


# -- checks ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class PreflightSection(Section):
    """What was proved before the sweep."""

    name: ClassVar[str] = "preflight"
    title: ClassVar[str] = "Preflight"
    template: ClassVar[str] = "report/preflight.html.j2"
    caveats: tuple[str, ...]
    overfit: Plot | None
    checks: Table


@dataclass(frozen=True, kw_only=True)
class ChecksSection(Section):
    """What the task's own checks found."""

    name: ClassVar[str] = "checks"
    title: ClassVar[str] = "Task checks"
    template: ClassVar[str] = "report/checks.html.j2"
    checks: Table


def preflight_section(findings: Findings) -> PreflightSection | None:
    """None where no preflight has been run."""
    preflight = findings.preflight
    if preflight is None:
        return None
    caveats = ["The sweep was forced past this preflight."] if preflight.forced else []
    if preflight.stale:
        caveats.append(f"It does not speak for this sweep: {listed(preflight.stale)} differed.")
    overfit = draw_overfit.overfit(preflight.overfit) if preflight.overfit else None
    return PreflightSection(
        lead=_cost(preflight),
        badge=Badge(preflight.status),
        caveats=tuple(caveats),
        overfit=plot(overfit) if overfit else None,
        checks=_checks(preflight.checks, "Preflight checks"),
    )


def _cost(preflight: PreflightFindings) -> str:
    sentences, cost = [f"Took {duration(preflight.seconds)}."], preflight.cost
    if cost and cost.trial_seconds is not None:
        least = "at most" if cost.sweep_least_seconds is None else f"{duration(cost.sweep_least_seconds)} to"
        sentences.append(
            f"It expected {duration(cost.trial_seconds)} a trial, and {least} {duration(cost.sweep_seconds)} for the "
            f"sweep on {count(cost.workers, 'worker')}."
        )
    if cost and cost.peak_mb is not None:
        sentences.append(f"Peak memory: {cost.peak_mb:,.0f} MB.")
    return " ".join(sentences)


def checks_section(findings: Findings) -> ChecksSection | None:
    """None where the task has no checks of its own, or there is no winner yet."""
    verdict = findings.promotion.verdict if findings.promotion else None
    if verdict is None or not verdict.checks:
        return None
    return ChecksSection(
        lead="What the task itself demands of what was exported.", checks=_checks(verdict.checks, "Task checks")
    )


def _checks(checks: Sequence[Check], name: str) -> Table:
    """Conditions as a table; where to look stands only beside those that did not pass."""
    shows_look_at = any(check.look_at for check in checks if check.status in NOT_PASSED)
    heads = ["Check", "Status", "Seen", "Allowed", "Look at"]
    rows = [_check_row(check) for check in checks]
    columns = len(heads) if shows_look_at else len(heads) - 1
    return table(heads[:columns], [row[:columns] for row in rows], name=name)


def _check_row(check: Check) -> list[Cell]:
    return [
        Cell(check.name),
        Cell(Badge(check.status)),
        Cell(check.seen, "words"),
        Cell(check.allowed, "words"),
        Cell(check.look_at if check.status in NOT_PASSED else "", "words"),
    ]


# -- provenance ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class WinnerView:
    """Where the exported winner lies, and how to load it."""

    title: str
    folder: str
    sha256: str  # its beginning
    loading: str  # Python
    values: str  # of the hyperparameters, in full


@dataclass(frozen=True, kw_only=True)
class ProvenanceSection(Section):
    """What the result rests on, and how to have it again."""

    name: ClassVar[str] = "provenance"
    title: ClassVar[str] = "Provenance"
    template: ClassVar[str] = "report/provenance.html.j2"
    winner: WinnerView | None
    commands: Table | None  # None where none was logged
    commands_again: str  # those that make it all again
    space: Table
    fidelities: Table
    search: str
    changes: tuple[str, ...]
    hashes: Table | None
    versions_title: str
    versions: Table


def provenance_section(findings: Findings) -> ProvenanceSection:
    """There is always one."""
    provenance, study = findings.provenance, findings.study
    return ProvenanceSection(
        lead="What the result rests on, and how to have it again.",
        winner=_winner(provenance),
        commands=_commands(provenance.commands) if provenance.commands else None,
        commands_again="\n".join(f"hpo {verb} {study.name}" for verb in VERBS),
        space=_space(findings),
        fidelities=_fidelities(study),
        search=(
            f"{provenance.search}; trial 0 is the default. Pruning: {provenance.pruning}. Study seed {study.seed}: the "
            f"seeds of every trial derive from it and from the trial's number, those of the promotion from it and the "
            f"run's."
        ),
        changes=provenance.changes,
        hashes=_hashes(provenance.identity) if provenance.identity else None,
        versions_title=f"Versions {provenance.versions_of}",
        versions=table(
            ["Package", "Version"],
            [[name, str(version)] for name, version in provenance.versions.items()],
            name="Versions",
        ),
    )


def _winner(provenance: Provenance) -> WinnerView | None:
    card, folder = provenance.card, provenance.winner
    if not card:
        return None
    return WinnerView(
        title=f"Exported: {card.get('winner', '')}",
        folder=str(folder),
        sha256=card.get("sha256", "")[:16],
        loading=(
            "from pathlib import Path\n\nfrom hpo import load_winner\n\n"
            f"task, model = load_winner(Path({str(folder)!r}))"
        ),
        values="\n".join(f"{name} = {value!r}" for name, value in card.get("params", {}).items()),
    )


def _commands(commands: Sequence[LoggedCommand]) -> Table:
    rows = [[Cell(command.at[:19].replace("T", " ")), Cell(Code(command.text), "words")] for command in commands]
    return table(["At (UTC)", "Command"], rows, name="Commands")


def _hashes(identity: Mapping[str, str]) -> Table:
    rows = [[Cell(name), Cell(Code(str(value)))] for name, value in identity.items()]
    return table(["Part", "Identity"], rows, name="Hashes")


def _space(findings: Findings) -> Table:
    """A row a searched parameter, with its default and what came out best."""
    defaults, conditions = findings.study.defaults(), findings.provenance.conditions
    winner = findings.promotion.winner if findings.promotion else None
    best_trial = findings.sweep.best if findings.sweep else None
    if winner:
        best: Mapping[str, Any] = winner.candidate.params
    else:
        best = best_trial.params if best_trial else {}
    rows = []
    for name, entry in findings.study.space.items():
        searched = Code(describe(distribution_of(entry)), conditions.get(name, ""))
        rows.append([Cell(name), Cell(searched, "words"), _value_cell(defaults, name), _value_cell(best, name)])
    heads = ["Default", "Exported" if winner else "Best cheap"]
    return table(["Parameter", "Searched", *heads], rows, name="Searched space", numbers=heads)


def _value_cell(params: Mapping[str, Any], name: str) -> Cell:
    return Cell(setting(params[name]) if name in params else NOTHING, "num")


def _fidelities(study: StudySpec) -> Table:
    size = [sentence(study.task.size_unit)] if study.task.size_unit else []
    numbers = [*size, "Train", "Validation", "Test", "Epochs"]
    tiers = {"smoke": study.smoke, "cheap": study.cheap, "full": study.full}
    rows = [_fidelity_row(name, fidelity, has_size=bool(size)) for name, fidelity in tiers.items()]
    return table(["Fidelity", *numbers, "Pinned"], rows, name="Fidelities", numbers=numbers)


def _fidelity_row(name: str, fidelity: Fidelity, *, has_size: bool) -> list[Cell]:
    pinned = ", ".join(f"{key} = {setting(value)}" for key, value in fidelity.fixed.items())
    size = [number_cell(fidelity.size)] if has_size else []
    splits: tuple[Split, ...] = ("train", "val", "test")
    examples = [number_cell(limit, "" if limit else "all") for limit in map(fidelity.limit, splits)]
    return [Cell(name), *size, *examples, number_cell(fidelity.epochs), Cell(pinned or NOTHING, "words")]
