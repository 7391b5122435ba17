"""How long a sweep, or a promotion, will still take. The one estimator: for the bar, the status and the report.

A trial takes as many epochs as it lives for, each as long as epochs have taken lately, and what comes on top of them:
to be chosen, to load, to be saved. How long trials live follows from those that have ended and from those that still
run. What is left is then given out to the workers, one trial after the other.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from hpo.formatting import duration, duration_range
from hpo.storage.summary import Row, Summary

DRAWS, MOST = 24, 2000  # possible rests that are averaged, and new trials in all of them
LATELY = 32  # trials that say how long epochs take: a sweep that learns turns to cheaper configurations, or dearer ones
JUST_NOW = 8  # trials that say what else they take: it is of the machine, not of the configuration
PRUNED = 0.5  # of the trials are expected to be pruned as soon as they may be, before anything is known
TRUST = 4  # how many trials what is expected of them is worth
DIFFER = 0.4  # of the mean: the standard deviation of what trials take that is expected before any has ended
DRIFT = 0.2  # of the estimate: the same of a machine's pace between the trials that have ended and those to come
FOUR_OF_FIVE = 1.28  # standard deviations within which four of five normal values lie
LONGEST = 2  # times the median: what is longer beside the epochs of a trial is a pause, or the end of a round


@dataclass(frozen=True)
class Plan:
    """The trials of a sweep, or the runs of a promotion, that are at work now, were before, and will be."""

    done: int
    trials: int  # in all
    rounds: tuple[int, ...]  # how many of them each round has, the first one first; a sweep is one round
    numbers: frozenset[int]  # of those that have begun: a promotion's storage may hold runs of an earlier one

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.done >= self.trials


@dataclass(frozen=True)
class Pruning:
    """When trials may be pruned."""

    first: int  # number of the first trial that may be
    warmup: int  # epochs that every trial has


@dataclass(frozen=True)
class Pace:
    """How fast trials have been."""

    epochs: tuple[float, ...]  # seconds of an epoch of each trial that says something of the next ones
    beside: float  # seconds of a trial beside its epochs, until its worker has begun the next one

    def times(self, ratio: float) -> Pace:
        """The pace where an epoch costs so many times as much."""
        return Pace(tuple(ratio * epoch for epoch in self.epochs), self.beside)

    @property
    def epoch(self) -> float:
        """Seconds of an epoch, as a mean."""
        return statistics.fmean(self.epochs)


def seconds_left(
    rows: Sequence[Row],
    rounds: Sequence[int],
    *,
    workers: int,
    epochs: int,
    pruning: Pruning | None = None,
    before: Pace | None = None,
) -> float | None:
    """Seconds until all trials have ended; None while nothing is known of how long an epoch takes.

    `rows` are those of one sweep, or of one promotion. `rounds` are how many trials it has in all: each round waits for
    the one before it, and a sweep is one round. `epochs` are those of a whole trial. `before` is the pace that is
    expected, until the trials themselves say it.
    """
    pace = pace_of(rows, before)
    ended = sum(row.has_ended for row in rows)
    if ended >= sum(rounds):
        return 0.0
    if pace is None:
        return None
    running = tuple(row for row in rows if _is_running(row))
    rest = _Rest(running, ended, tuple(rounds), workers, pace, Lives(rows, epochs, pruning))
    random, draws = Random(0), max(1, min(DRAWS, MOST // (sum(rounds) - ended)))
    return statistics.fmean(rest.seconds(random) for _ in range(draws))


def left_in_words(summary: Summary, seconds: float | None) -> str:
    """The time left as it is shown: "14 to 29 min", in which the truth lies four times in five.

    It is as wide as trials have differed, and wider where few have ended, or few are left; and it allows for a machine
    that others use too. Empty where nothing is known, or nothing is left.
    """
    if not seconds:
        return ""
    if summary.ladder is not None and summary.stage == "sweep":
        return duration(seconds)  # its trials are of all lengths, and say nothing of how far epochs differ
    asked = summary.trials if summary.stage == "sweep" else summary.runs
    factor = doubt([row.seconds for row in summary.now if row.has_ended and row.seconds], (asked or 0) - summary.done)
    return duration_range(seconds / factor, seconds * factor)


def doubt(ended: Sequence[float], missing: int) -> float:
    """So many times more, or less, the rest may take than is estimated, where trials that have ended took so long."""
    known, seen = len(ended), 0.0
    if ended:
        seen = statistics.pvariance(ended) / statistics.fmean(ended) ** 2
    variance = (known * seen + TRUST * DIFFER**2) / (known + TRUST)
    return math.exp(FOUR_OF_FIVE * math.sqrt(variance * (1 / (known + 1) + 1 / max(1, missing)) + DRIFT**2))


def ladder_seconds_left(rows: Sequence[Row], budget: int, *, workers: int, is_over: bool) -> float | None:
    """Seconds until the trials of a ladder have taken `budget` epochs together; None while no epoch has ended.

    What a trial takes beside its epochs counts for each time that one is begun or sent on.
    """
    if is_over:
        return 0.0
    pace = pace_of(rows)
    spent = sum(row.epoch for row in rows)
    if pace is None or spent == 0:
        return None
    steps_an_epoch = sum(row.attempts for row in rows) / spent
    return max(0, budget - spent) * (pace.epoch + steps_an_epoch * pace.beside) / workers


@dataclass(frozen=True)
class _Rest:
    """What is still to be trained."""

    running: tuple[Row, ...]
    ended: int
    rounds: tuple[int, ...]
    workers: int
    pace: Pace
    lives: Lives

    def seconds(self, random: Random) -> float:
        """What it may take, with paces and lives drawn from those that were seen."""
        remaining = [_remaining(row, self.pace, self.lives, random) for row in self.running]
        begun, now = self.ended + len(self.running), 0.0
        for first, end in _spans(self.rounds):
            if end <= self.ended:
                continue
            new = [self._whole(number, random) for number in range(max(begun, first), end)]
            now = _given_out(remaining, new, self.workers, now)
            remaining = []  # they are of the first round that has not ended
        return now

    def _whole(self, number: int, random: Random) -> float:
        """What a new trial may take."""
        return self.pace.beside + random.choice(self.pace.epochs) * self.lives.draw(number, 0, random)


def _spans(rounds: Sequence[int]) -> list[tuple[int, int]]:
    """Of each round, how many trials come before it, and how many have begun with its last one."""
    ends = list(itertools.accumulate(rounds))
    return list(zip([0, *ends], ends, strict=False))


def _given_out(running: Iterable[float], new: Iterable[float], workers: int, now: float) -> float:
    """When the last trial ends, where each worker takes the next new one as soon as it is free."""
    free = sorted(now + remaining for remaining in running)
    free += [now] * (workers - len(free))
    heapq.heapify(free)
    last = max(free)
    for seconds in new:
        end = heapq.heappop(free) + seconds
        heapq.heappush(free, end)
        last = max(last, end)
    return last


def _remaining(row: Row, pace: Pace, lives: Lives, random: Random) -> float:
    """Seconds that a running trial will still take. It is in the midst of an epoch, or loads before its first one."""
    epochs = lives.draw(row.number, row.epoch, random) - row.epoch
    epoch = pace.epoch if row.pace is None else row.pace
    if row.epoch:
        return max(0.5, epochs - 0.5) * epoch + pace.beside / 2
    return max(pace.beside + epochs * epoch - (row.seconds or 0.0), (epochs - 1) * epoch)


# -- how long trials live --------------------------------------------------------------------------------------------
class Lives:
    """How many epochs trials have, by those that have ended at each epoch among those that have reached it."""

    def __init__(self, rows: Sequence[Row], epochs: int, pruning: Pruning | None) -> None:
        self.epochs = epochs
        self.first = pruning.first if pruning else 0
        early = [row for row in rows if row.number < self.first]
        late = [row for row in rows if row.number >= self.first]
        self.never_pruned = _deaths(early, epochs, None)
        self.perhaps_pruned = _deaths(late, epochs, pruning.warmup if pruning else None)

    def draw(self, number: int, reached: int, random: Random) -> int:
        """How many epochs a trial may have in all, where it has had so many."""
        deaths = self.never_pruned if number < self.first else self.perhaps_pruned
        for epoch in range(max(1, reached + 1), self.epochs):
            if deaths[epoch] and random.random() < deaths[epoch]:
                return epoch
        return self.epochs


def _deaths(rows: Sequence[Row], epochs: int, warmup: int | None) -> list[float]:
    """For each epoch, from 0, how many of the trials that have reached it end with it.

    With a warm-up, PRUNED of TRUST more trials are taken to end with the first epoch after it.
    """
    ended, reached = [0.0] * (epochs + 1), [0.0] * (epochs + 1)
    for row in rows:
        last = min(row.epoch, epochs)
        for epoch in range(last + 1):
            reached[epoch] += 1
        if row.has_ended:
            ended[last] += 1
    if warmup is not None and warmup + 1 < epochs:
        ended[warmup + 1] += PRUNED * TRUST
        reached[warmup + 1] += TRUST
    return [gone / had if had else 0.0 for gone, had in zip(ended, reached, strict=True)]


# -- how fast they are -----------------------------------------------------------------------------------------------
def pace_of(rows: Sequence[Row], before: Pace | None = None) -> Pace | None:
    """The pace of trials; None where nothing is known of it.

    It is that of trials that have begun, whether they have ended or not: the fast ones end first. `before` is the pace
    that was expected: it is the answer until an epoch has ended, and counts for what trials take beside their epochs
    until many have ended.
    """
    paces = [pace for pace in map(_epoch, rows) if pace is not None]
    if not paces:
        return before
    return Pace(tuple(paces[-LATELY:]), _beside(rows, 0.0 if before is None else before.beside))


def _epoch(row: Row) -> float | None:
    """Seconds of an epoch of one trial."""
    if row.has_ended or row.state == "paused":
        return row.seconds / row.epoch if row.seconds and row.epoch else None
    return row.pace


def _beside(rows: Sequence[Row], before: float) -> float:
    """What the last trials took beside their epochs, until their worker began its next one.

    The first trial of a worker loads what the next ones find loaded. A pause, or the end of a round, is no such time,
    so none counts for much more than the median. The first few say little, for a machine is busy when a sweep begins:
    what was expected `before` is worth TRUST of them.
    """
    loading = _first_of_workers(rows)
    ended = sorted((row for row in rows if row.has_ended), key=lambda row: row.ended or 0.0)
    whole = [row for row in ended if row.attempts == 1 and row not in loading]
    begins = _begins_of_workers(rows)
    spans = [span for span in (_span_beside(row, begins.get(row.worker, [])) for row in whole) if span is not None]
    if not spans:
        return before
    recent = spans[-JUST_NOW:]
    longest = LONGEST * statistics.median(recent)
    mean = statistics.fmean(min(span, longest) for span in recent)
    return (len(spans) * mean + TRUST * before) / (len(spans) + TRUST)


def _span_beside(row: Row, begins: Sequence[float]) -> float | None:
    """Seconds from a trial's begin to the next one of its worker, without its epochs; None where there is no next."""
    if row.began is None or row.ended is None:
        return None
    after = bisect.bisect_left(begins, row.ended)
    if after == len(begins):
        return None
    return max(0.0, begins[after] - row.began - (row.seconds or 0.0))


def _begins_of_workers(rows: Sequence[Row]) -> dict[str, list[float]]:
    """When each worker began its trials, the first one first."""
    begins: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda row: row.began or 0.0):
        if row.began:
            begins.setdefault(row.worker, []).append(row.began)
    return begins


def _first_of_workers(rows: Sequence[Row]) -> list[Row]:
    """The first trial of each worker."""
    first: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.began or 0.0):
        first.setdefault(row.worker, row)
    return list(first.values())


def _is_running(row: Row) -> bool:
    return not row.has_ended and row.state != "waiting"
