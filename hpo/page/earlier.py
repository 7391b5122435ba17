"""Promotions that were kept aside when the study was changed: what each came to, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hpo.formatting import count, interval, label
from hpo.page.findings import EarlierPromotion, Findings
from hpo.page.views import Cell, Section, Table, number_cell, score_cell, table
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.results import Result, Verdict


@dataclass(frozen=True, kw_only=True)
class EarlierSection(Section):
    """The earlier promotions: one row each, and one for each of their configurations."""

    name: ClassVar[str] = "earlier"
    title: ClassVar[str] = "Earlier promotions"
    template: ClassVar[str] = "report/earlier.html.j2"
    promotions: Table
    results: Table | None


def earlier_section(findings: Findings) -> EarlierSection | None:
    """None where no promotion was kept aside."""
    if not findings.earlier:
        return None
    heads = ["Kept in", "Look", "Verdict", "What was changed then"]
    return EarlierSection(
        lead="They were kept when the study was changed. Each verdict was a look at the test split, and counts as one.",
        promotions=table(heads, [_row(each) for each in findings.earlier], name="Earlier promotions", numbers=["Look"]),
        results=_results(findings),
    )


def _row(earlier: EarlierPromotion) -> list[Cell]:
    verdict = earlier.verdict
    return [
        Cell(earlier.place),
        number_cell(verdict.look if verdict else None),
        Cell(verdict.sentence if verdict else "none was reached", "words"),
        Cell("; ".join(earlier.changes), "words"),
    ]


def _results(findings: Findings) -> Table | None:
    """A row a configuration of each verdict; None where none was reached."""
    goal = label(findings.study.task.goal)
    heads = ["Kept in", "Configuration", f"Test {goal}", "Lead over default", "Full, on validation", "Runs"]
    rows = [
        _result_row(earlier.place, result, earlier.verdict)
        for earlier in findings.earlier
        if earlier.verdict
        for result in earlier.verdict.results
    ]
    return table(heads, rows, name="Results of earlier promotions", numbers=heads[2:]) if rows else None


def _result_row(place: str, result: Result, verdict: Verdict) -> list[Cell]:
    lead = None if result.candidate.name == DEFAULT else result.ahead_of_default
    return [
        Cell(place),
        Cell(verdict.title(result.candidate.name)),
        number_cell(None, interval(result.test)),
        number_cell(None, interval(lead, signed=True)),
        score_cell(result.full),
        number_cell(None, count(len(result.runs), "run")),
    ]
