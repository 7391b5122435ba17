"""Every number that a reader of the report is shown, as records: nouns only. collect.py fills them; the other modules
of this room draw and write them.

What has not been run yet, or was interrupted, is None or empty: a report can be asked for at any stage.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from hpo.direction import Direction
from hpo.page.audit import Audit
from hpo.page.importance import Importances
from hpo.promotion.gate import Gate
from hpo.promotion.intervals import Interval
from hpo.promotion.results import Result, Verdict
from hpo.promotion.selection import Selection
from hpo.promotion.test_split import Baseline
from hpo.separation.stepwise import Separation
from hpo.study import StudySpec
from hpo.task import Check, StateName, Status
from hpo.trial.failures import FailureGroup


@dataclass(frozen=True)
class Missing:
    """A stage that has not been run, and the command that runs it."""

    sentence: str
    command: str


@dataclass(frozen=True)
class Trial:
    """One trial of the sweep or one run of the promotion."""

    number: int
    state: StateName
    value: float | None  # the final score of a completed one; else the best before it ended
    params: Mapping[str, Any]
    curve: Mapping[int, float]  # epoch -> best score so far, as the pruner saw it
    epochs: int  # trained
    best_epoch: int | None
    seconds: float | None  # spent in the epochs
    began: datetime | None
    ended: datetime | None
    reason: str
    is_default: bool = False
    spared_at: int | None = None  # epoch at which the pruner would have ended it; it was let run
    costs: Mapping[str, float] = field(default_factory=dict)  # of its configuration, as far as the study asks

    @property
    def score(self) -> float:
        """The value of a trial that is known to have one."""
        assert self.value is not None
        return self.value


@dataclass(frozen=True)
class Improvement:
    """A trial that was the best so far when it was completed."""

    number: int
    value: float


@dataclass(frozen=True)
class Sweep:
    """What the search tried, and what came of it."""

    trials: tuple[Trial, ...]
    direction: Direction
    planned: int
    epochs_each: int  # of a trial that runs to its end
    counts: Mapping[StateName, int]
    best: Trial | None
    default: Trial | None
    improvements: tuple[Improvement, ...]  # in the order of the trials' numbers
    seconds: float  # in the epochs of all trials
    wall_seconds: float | None  # from the first start to the last end
    separation: Separation
    importances: Importances
    origin: str = ""  # of trials that were adopted: where they come from
    audit: Audit | None = None  # of the pruner; None where it ended no trial and would have ended none
    failures: tuple[FailureGroup, ...] = ()  # the failed trials by the kind of their error
    end: str = ""  # why it has ended before its trials were done; "" where it has not
    front: tuple[int, ...] = ()  # with several goals: the numbers of the trials that no other one dominates
    full_length: int | None = None  # how many full-length trials those stand for whose trials pause; None: none pauses

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """The completed trials, best first."""
        complete = [trial for trial in self.trials if trial.state == "complete" and trial.value is not None]
        return tuple(self.direction.ranked(complete, key=lambda trial: trial.score))

    @property
    def ended(self) -> int:
        """How many trials have ended; where trials pause, how many full-length ones their epochs stand for."""
        if self.full_length is not None:
            return self.full_length
        return sum(self.counts.get(state, 0) for state in ("complete", "pruned", "failed"))

    @property
    def saved(self) -> float | None:
        """Share of the epochs that stopping early has saved, among the trials that have ended."""
        ended = [trial for trial in self.trials if trial.state in ("complete", "pruned")]
        return 1 - sum(trial.epochs for trial in ended) / (self.epochs_each * len(ended)) if ended else None


@dataclass(frozen=True)
class FidelityPair:
    """A promoted configuration's value at both fidelities."""

    name: str
    cheap: float
    full: float  # mean validation value


@dataclass(frozen=True)
class Agreement:
    """Whether the cheap fidelity ranks the promoted configurations like the full one."""

    pairs: tuple[FidelityPair, ...]
    spearman: float | None  # None below 3 pairs, or where one side does not vary


@dataclass(frozen=True)
class GateFindings:
    """Whether the cheap fidelity ranks like the full one, as random configurations show."""

    gate: Gate | None  # None: it was not tested
    command: str  # that tests it
    seconds: float = 0.0  # in its runs at full fidelity, without those that the promotion counts
    run_seconds: float | None = None  # of a run at full fidelity, in the mean; None where there is none yet
    spread: Interval | None = None  # variance of its full values, as a multiple of that of a configuration's runs


@dataclass(frozen=True)
class PromotionRun:
    """One run of the promotion, and the name of the candidate that it trained."""

    candidate: str
    run: Trial


@dataclass(frozen=True)
class Promotion:
    """What full fidelity said. Without a verdict it is still under way, or was interrupted."""

    selection: Selection
    runs: tuple[PromotionRun, ...]
    planned: int
    seeds: int
    verdict: Verdict | None
    agreement: Agreement | None
    baselines: Mapping[str, Interval] = field(default_factory=dict)
    best_baseline: Baseline | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    command: str = ""  # that promotes the same selection
    first_new_seed: int = 0  # no earlier look used this seed index, or a later one

    @property
    def winner(self) -> Result | None:
        """The candidate that was exported."""
        return self.verdict.winning if self.verdict else None

    @property
    def default(self) -> Result | None:
        """The default configuration's result."""
        return self.verdict.default if self.verdict else None


@dataclass(frozen=True)
class EarlierPromotion:
    """A promotion that was kept aside when the study was changed."""

    place: str  # in the study's folder: "set-aside/1"
    changes: tuple[str, ...]  # of the study, a line each
    verdict: Verdict | None  # None where it was interrupted


@dataclass(frozen=True)
class OverfitCurves:
    """The overfit check: a small fixed set learned as it is, with labels shuffled, and with inputs zeroed.

    Curves start with the untrained model; None stands where the measure was not finite.
    """

    measure: str
    go: float
    caution: float
    honest: tuple[float | None, ...] = ()
    shuffled: tuple[float | None, ...] = ()
    zeroed: tuple[float | None, ...] = ()

    @property
    def direction(self) -> Direction:
        """Which way the measure improves."""
        return Direction.MINIMIZE if self.go <= self.caution else Direction.MAXIMIZE

    @property
    def curves(self) -> dict[str, tuple[float | None, ...]]:
        """The curves by the names of their fields; empty ones where a control was not run."""
        return {"honest": self.honest, "shuffled": self.shuffled, "zeroed": self.zeroed}


@dataclass(frozen=True)
class ExpectedCost:
    """What preflight measured of one trial, and expected of the sweep. None where that was not finite."""

    trial_seconds: float | None = None
    sweep_least_seconds: float | None = None  # where the pruner ends what it may
    sweep_seconds: float | None = None  # where it ends nothing, and all trials are as slow as the slowest
    workers: int = 1
    peak_mb: float | None = None


@dataclass(frozen=True)
class PreflightFindings:
    """What was proved before the sweep. The fields but the last are those of preflight.json."""

    status: Status
    checks: tuple[Check, ...]
    forced: bool = False
    seconds: float | None = None
    overfit: OverfitCurves | None = None
    cost: ExpectedCost | None = None
    identity: Mapping[str, str] | None = None
    stale: tuple[str, ...] = ()  # parts of the identity that were others when the sweep ran


@dataclass(frozen=True)
class Panel:
    """An image of an exhibit."""

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
class LoggedCommand:
    """A command that was given for the study, and the versions that it ran under."""

    argv: tuple[str, ...]
    at: str = ""  # ISO 8601, UTC
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The command as a shell reads it."""
        return shlex.join(self.argv)


@dataclass(frozen=True)
class Provenance:
    """What the result rests on, and how to have it again."""

    identity: Mapping[str, str]
    versions: Mapping[str, str]
    versions_of: str
    commands: tuple[LoggedCommand, ...]
    card: Mapping[str, Any]  # of the exported winner
    winner: Path
    search: str
    pruning: str
    conditions: Mapping[str, str]  # parameter -> when it is searched
    changes: tuple[str, ...] = ()  # of the study, that were accepted while it ran


Level = Literal["go", "caution", "no-go", "open"]


@dataclass(frozen=True)
class Headline:
    """The verdict in one sentence."""

    status: Level
    badge: str
    sentence: str


@dataclass(frozen=True, repr=False)
class Findings:
    """All that the report of a study says. A notebook shows it in one sentence."""

    study: StudySpec
    written: datetime
    headline: Headline
    sweep: Sweep | None
    promotion: Promotion | None
    preflight: PreflightFindings | None
    exhibits: tuple[Exhibit, ...]
    provenance: Provenance
    missing: tuple[Missing, ...]
    gate: GateFindings | None = None  # None where there is nothing to test, or no trial of ours yet
    earlier: tuple[EarlierPromotion, ...] = ()  # promotions, oldest first

    def __repr__(self) -> str:
        return f"<findings of {self.study.name}: {self.headline.badge}. {self.headline.sentence}>"
