"""Every number that a reader of the report is shown, as records: nouns only. gather.py fills them, report/ draws them.

What has not been run yet, or was interrupted, is None or empty: a report can be asked for at any stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from hpo.page.importance import Importances
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.intervals import Interval
from hpo.promotion.selection import Selection
from hpo.promotion.test_split import Baseline
from hpo.promotion.verdict import Result, Verdict
from hpo.study import StudySpec
from hpo.task import Check

State = Literal["complete", "pruned", "failed", "running", "waiting"]


@dataclass(frozen=True)
class Missing:
    """A stage that has not been run, and the command that runs it."""

    what: str
    command: str


@dataclass(frozen=True)
class Trial:
    """One trial of the sweep or one run of the promotion."""

    number: int
    state: State
    value: float | None  # the final score of a completed one; else the best before it ended
    params: Mapping[str, Any]
    curve: Mapping[int, float]  # epoch -> best score so far, as the pruner saw it
    epochs: int  # trained
    best_epoch: int | None
    seconds: float | None  # spent in the epochs
    began: datetime | None
    ended: datetime | None
    reason: str
    default: bool = False

    @property
    def score(self) -> float:
        """The value of a trial that is known to have one."""
        assert self.value is not None
        return self.value


@dataclass(frozen=True)
class Sweep:
    """What the search tried, and what came of it."""

    trials: tuple[Trial, ...]
    direction: str
    planned: int
    epochs_each: int  # of a trial that runs to its end
    counts: Mapping[State, int]
    best: Trial | None
    default: Trial | None
    ahead: tuple[tuple[int, float], ...]  # (trial number, value) of each trial that was the best so far
    seconds: float  # in the epochs of all trials
    wall_seconds: float | None  # from the first start to the last end
    importances: Importances

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """The completed trials, best first."""
        sign = 1 if self.direction == "minimize" else -1
        return tuple(
            sorted(
                (trial for trial in self.trials if trial.state == "complete" and trial.value is not None),
                key=lambda trial: (sign * trial.score, trial.number),
            )
        )

    @property
    def ended(self) -> int:
        return sum(self.counts.get(state, 0) for state in ("complete", "pruned", "failed"))

    @property
    def saved(self) -> float | None:
        """Share of the epochs that stopping early has saved, among the trials that have ended."""
        ended = [trial for trial in self.trials if trial.state in ("complete", "pruned")]
        return 1 - sum(trial.epochs for trial in ended) / (self.epochs_each * len(ended)) if ended else None


@dataclass(frozen=True)
class Agreement:
    """Whether the cheap fidelity ranks the promoted configurations like the full one."""

    points: tuple[tuple[str, float, float], ...]  # name, cheap value, mean validation value at full fidelity
    spearman: float | None  # None below 3 points, or where one side does not vary


@dataclass(frozen=True)
class Promotion:
    """What full fidelity said. Without a verdict it is still under way, or was interrupted."""

    selection: Selection
    runs: tuple[tuple[str, Trial], ...]  # candidate name, run
    planned: int
    seeds: int
    verdict: Verdict | None
    agreement: Agreement | None
    baselines: Mapping[str, Interval] = field(default_factory=dict)
    best_baseline: Baseline | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def winner(self) -> Result | None:
        return self.verdict.results[0] if self.verdict else None

    @property
    def default(self) -> Result | None:
        found = self.verdict.results if self.verdict else ()
        return next((result for result in found if result.candidate.name == DEFAULT), None)


@dataclass(frozen=True)
class Overfit:
    """Learning a small fixed set by heart: honestly, with labels shuffled, with inputs zeroed."""

    measure: str
    go: float
    caution: float
    curves: Mapping[str, tuple[float | None, ...]]  # from the untrained model on


@dataclass(frozen=True)
class Preflight:
    """What was proved before the sweep."""

    status: str
    checks: tuple[Check, ...]
    forced: bool
    seconds: float | None
    overfit: Overfit | None
    cost: Mapping[str, float]
    stale: tuple[str, ...]  # parts of the identity that were others when the sweep ran


@dataclass(frozen=True)
class Panel:
    label: str
    png: bytes


@dataclass(frozen=True)
class Exhibit:
    """A row of images, or a chart, that the task drew of the winner."""

    title: str
    caption: str
    panels: tuple[Panel, ...] = ()
    figure: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Provenance:
    """What the result rests on, and how to have it again."""

    identity: Mapping[str, str]
    versions: Mapping[str, str]
    versions_of: str
    commands: tuple[Mapping[str, Any], ...]  # at, command, versions
    card: Mapping[str, Any]  # of the exported winner
    winner: Path
    pruning: str
    conditions: Mapping[str, str]  # parameter -> when it is searched


@dataclass(frozen=True)
class Headline:
    """The verdict in one sentence. `status` is "go", "caution", "no-go" or "open"."""

    status: str
    badge: str
    sentence: str


@dataclass(frozen=True)
class Findings:
    """All that the report of a study says."""

    study: StudySpec
    written: datetime
    headline: Headline
    sweep: Sweep | None
    promotion: Promotion | None
    preflight: Preflight | None
    exhibits: tuple[Exhibit, ...]
    provenance: Provenance
    missing: tuple[Missing, ...]
