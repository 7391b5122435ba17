"""With what trials failed: the kinds of their errors, how many failed so, and the whole traceback of the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hpo.formatting import count
from hpo.page.findings import Findings
from hpo.page.views import Section
from hpo.trial.failures import LARGEST_SHARE, FailureGroup, faulty, too_many


@dataclass(frozen=True)
class FailureView:
    """One kind of error."""

    title: str
    reason: str
    where: str  # in the user's code
    traceback: str


@dataclass(frozen=True, kw_only=True)
class FailuresSection(Section):
    """The trials of the sweep that failed, by the kind of their error."""

    name: ClassVar[str] = "failures"
    title: ClassVar[str] = "Failures"
    template: ClassVar[str] = "report/failures.html.j2"
    groups: tuple[FailureView, ...]


def failures_section(findings: Findings) -> FailuresSection | None:
    """None where no trial of the sweep has failed."""
    sweep = findings.sweep
    if sweep is None or not sweep.failures:
        return None
    return FailuresSection(
        lead=_lead(sweep.failures, sweep.ended), groups=tuple(_view(group) for group in sweep.failures)
    )


def _lead(groups: tuple[FailureGroup, ...], ended: int) -> str:
    failed, broken = sum(len(group.numbers) for group in groups), faulty(groups)
    lead = f"{failed} of {ended} trials failed, in {count(len(groups), 'way')}."
    if not broken:
        return f"{lead} Each is an answer about its configuration: the search keeps away from the like."
    if too_many(groups, ended):
        lead += f" More than {LARGEST_SHARE:.0%} of all trials failed with an error, so the sweep is no success."
    if broken < failed:
        lead += f" {failed - broken} of them are answers about their configurations."
    return lead


def _view(group: FailureGroup) -> FailureView:
    numbers = ", ".join(map(str, group.numbers))
    noun = "Trial" if len(group.numbers) == 1 else "Trials"
    return FailureView(f"{noun} {numbers}", group.reason or "The reason was not kept.", group.where, group.traceback)
