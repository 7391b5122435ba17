"""The summary of a study, which the coordinator keeps in its folder while it works."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial

from hpo.contract.pruning import Median
from hpo.storage.folder import Kind, RunFolder
from hpo.storage.held import inode_of_lock
from hpo.storage.summary import Row, Summary, write_summary
from hpo.storage.time_left import Pace, Plan, Pruning, ladder_seconds_left, pace_of, seconds_left
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial.handed_out import NO_ATTEMPTS, AttemptsLog
from hpo.trial.rows import is_wanted, optuna_name, row_source, stored_rows

EVERY_S = 2.0  # a summary is written at most so often while no trial ends
LEAST_S = 0.5  # and so often while trials do


@contextmanager
def keep_summary(study: StudySpec, folder: RunFolder, kind: Kind) -> Iterator[SummaryFile]:
    """The summary of a sweep, or of a promotion, that this process works at. Hold the study's lock.

    When this ends, however it ends, the folder has the last one.
    """
    folder.summary.unlink(missing_ok=True)  # the one before says less than the storage, until there is another
    file = SummaryFile(study, folder, kind)
    try:
        yield file
    finally:
        file.write_last()


class SummaryFile:
    """The summary of a study whose sweep, or promotion, is at work in this process."""

    def __init__(self, study: StudySpec, folder: RunFolder, kind: Kind) -> None:
        self.study, self.folder, self.kind = study, folder, kind
        sweep, promotion = (
            row_source(folder, "sweep", study.cheap.epochs),
            row_source(folder, "promotion", study.full.epochs),
        )
        self.source, rest = (sweep, promotion) if kind == "sweep" else (promotion, sweep)
        self.rest = retry_storage(lambda: stored_rows(folder, rest))  # does not change while this process works
        self.generation = folder.generation
        self.log = AttemptsLog(folder.events, folder.name_of(optuna_name(folder, kind)))
        self.before = _pace_before(study, self.rest) if kind == "promotion" else None
        self.ended: dict[int, Row] = {}
        self.watched: dict[int, Watched] = {}  # the trials that run
        self.last: Summary | None = None
        self.written = Written()

    def update(
        self, trials: Iterable[FrozenTrial], plan: Plan, *, workers: int, ended: str = "", note: str = ""
    ) -> Summary:
        """The summary by now. It is kept in the folder where the last one is old, or a trial has ended since."""
        now = time.time()
        rows = self._rows(trials, now)
        summary = Summary(
            study=self.study.name,
            goal=self.study.task.goal,
            goals=self.study.goals,
            direction=self.study.direction.value,
            stage=self.kind,
            trials=self.study.trials,
            runs=plan.trials if self.kind == "promotion" else None,
            done=plan.done,
            ended=ended,
            workers=workers,
            host=platform.node(),
            pid=os.getpid(),
            lock=inode_of_lock(self.folder),
            generation=self.generation,
            written=now,
            note=note,
            seconds_left=self.written.left_at(now),
            ladder=self.study.cheap.epochs if self.study.is_ladder else None,
            rows=(*rows, *self.rest) if self.kind == "sweep" else (*self.rest, *rows),
        )
        if plan.done >= plan.trials or self.written.is_old(summary):
            summary = replace(summary, seconds_left=self._seconds_left(rows, plan, workers))
            self._write(summary)
        self.last = summary
        return summary

    def _seconds_left(self, rows: Sequence[Row], plan: Plan, workers: int) -> float | None:
        if self.kind == "sweep" and self.study.is_ladder:
            epochs = self.study.cheap.epochs
            return ladder_seconds_left(rows, self.study.trials * epochs, workers=workers, is_over=plan.is_over)
        return seconds_left(
            [row for row in rows if row.number in plan.numbers],
            plan.rounds,
            workers=workers,
            epochs=(self.study.cheap if self.kind == "sweep" else self.study.full).epochs,
            pruning=_pruning(self.study) if self.kind == "sweep" else None,
            before=self.before,
        )

    def write_last(self) -> None:
        """Keep the last summary in the folder."""
        if self.last is not None:
            self._write(self.last)

    def _write(self, summary: Summary) -> None:
        write_summary(self.folder, summary)
        self.written = Written(summary.written, summary.done, summary.note, summary.seconds_left)

    def _rows(self, trials: Iterable[FrozenTrial], now: float) -> list[Row]:
        """A row that has ended stays as it is, so it is made once."""
        attempts = self.log.update()
        rows = []
        for trial in filter(is_wanted, trials):
            row = self.ended.get(trial.number) or self.source.row(trial, attempts.get(trial.number, NO_ATTEMPTS))
            if row.has_ended:
                self.ended[row.number] = row
            elif row.state == "paused":
                self.watched.pop(row.number, None)
            elif row.state == "running":
                watched = self.watched.setdefault(row.number, Watched(now, row.epoch))
                watched.reached(row.epoch, now)
                row = replace(row, seconds=now - watched.began, pace=watched.pace)
            rows.append(row)
        return rows


@dataclass
class Watched:
    """When this process has seen a running trial first, and end an epoch."""

    began: float
    begun_at: int  # epochs that it had then
    first: tuple[int, float] | None = None  # epochs and time, when one more had ended: a trial loads before that
    last: tuple[int, float] | None = None

    def reached(self, epoch: int, now: float) -> None:
        """Take down that so many epochs have ended."""
        if self.first is None and epoch > self.begun_at:
            self.first = self.last = (epoch, now)
        elif self.last is not None and epoch > self.last[0]:
            self.last = (epoch, now)

    @property
    def pace(self) -> float | None:
        """Seconds of an epoch; None before two have ended."""
        if self.first is None or self.last is None or self.first == self.last:
            return None
        return (self.last[1] - self.first[1]) / (self.last[0] - self.first[0])


@dataclass(frozen=True)
class Written:
    """What the summary in the folder says."""

    at: float = -math.inf
    done: int = 0
    note: str = ""
    seconds_left: float | None = None

    def left_at(self, now: float) -> float | None:
        """The time left since then."""
        return None if self.seconds_left is None else max(0.0, self.seconds_left - (now - self.at))

    def is_old(self, summary: Summary) -> bool:
        """Whether a new summary is worth writing."""
        has_news = summary.done != self.done or summary.note != self.note
        return summary.written - self.at >= (LEAST_S if has_news else EVERY_S)


def _pruning(study: StudySpec) -> Pruning | None:
    if study.pruning is None or study.is_ladder:
        return None
    if not isinstance(study.pruning, Median):
        return Pruning(first=1, warmup=0)  # when a pruner that was given ends a trial is not known
    return Pruning(study.pruning.startup_trials, study.pruning.warmup(study.cheap.epochs))


def _pace_before(study: StudySpec, sweep: Sequence[Row]) -> Pace | None:
    """The pace that is expected of the first run at full fidelity: that of the sweep, times how many more examples an
    epoch has. None where that is not known."""
    pace = pace_of(sweep)
    if pace is None or study.full.train is None or study.cheap.train is None:
        return None
    return pace.times(study.full.train / study.cheap.train / study.cross_validate)
