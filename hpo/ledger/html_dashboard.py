"""The dashboard as a section of EXPERIMENTS.html."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hpo.ledger.dashboard import Column, Ranking, cells, interval_of
from hpo.ledger.record import Record
from hpo.page.views import Anchor, Badge, Cell, Lines, Section, Table, Whisker, table
from hpo.promotion.intervals import Interval

BADGES = {
    "planned": "skip",
    "wip": "open",
    "analysis": "caution",
    "success": "go",
    "failed": "no-go",
}
LEADS = {
    Column.LEAD_OVER_DEFAULT: "lead_over_default",
    Column.LEAD_OVER_BASELINE: "lead_over_baseline",
}


def status_badge(status: str) -> Badge:
    """The status of an experiment, in its colour."""
    return Badge(BADGES[status], status)


@dataclass(frozen=True)
class RankingView:
    """A table of experiments that may be compared."""

    title: str
    table: Table


@dataclass(frozen=True, kw_only=True)
class DashboardSection(Section):
    """All experiments, those that may be compared in one table."""

    name: ClassVar[str] = "dashboard"
    title: ClassVar[str] = "Dashboard"
    template: ClassVar[str] = "ledger/dashboard.html.j2"
    rankings: tuple[RankingView, ...]


def ranking_view(ranking: Ranking) -> RankingView:
    """A ranking with its cells and, beside each lead, its interval as whiskers."""
    leads = {
        column: [interval_of(record.part("promotion").get(key)) for record in ranking.rows]
        for column, key in LEADS.items()
    }
    rows = []
    for number, record in enumerate(ranking.rows):
        whiskers = {column: _whisker(column_leads[number], column_leads) for column, column_leads in leads.items()}
        rows.append([_dashboard_cell(record, column, text, whiskers) for column, text in cells(record).items()])
    numbers = [column for column in Column if column.holds_numbers]
    return RankingView(ranking.title, table(list(Column), rows, name=ranking.title, numbers=numbers))


def _dashboard_cell(record: Record, column: Column, text: str, whiskers: dict[Column, Whisker | None]) -> Cell:
    if column is Column.EXPERIMENT:
        return Cell(Anchor(record.id))
    if column is Column.STATUS:
        return Cell(status_badge(record.status), "name")
    lines = re.split(r" (?=\()", text)  # a baseline's name stands below its figures
    if column is Column.TRIALS:
        lines = [line for part in lines for line in re.split(r"(?<=,) ", part)]
    return Cell(Lines(tuple(lines), whiskers.get(column)), "num" if column.holds_numbers else "name")


def _whisker(lead: Interval | None, leads: Sequence[Interval | None]) -> Whisker | None:
    """A lead and its range beside zero, on a scale that all leads of its column fit in."""
    reach = max((max(-known.low, known.high) for known in leads if known), default=0.0)
    if lead is None or not 0 < reach < float("inf"):
        return None
    low, mean, high = (60 + 55 * value / reach for value in (lead.low, lead.mean, lead.high))
    colour = "soft"
    if lead.low > 0:
        colour = "good"
    elif lead.high < 0:
        colour = "bad"
    return Whisker(low, mean, high, colour)
