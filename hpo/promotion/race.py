"""A promotion is a race: in which round a configuration runs, with which seeds, and which configurations go on.

Nothing here reads or writes: the same runs always lead to the same next ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from hpo.direction import Direction
from hpo.plain import fingerprint
from hpo.promotion.candidate import RunKey

if TYPE_CHECKING:
    from hpo.study import StudySpec

MIDDLE = 1  # runs of each configuration in the middle round
MIDDLE_IN_FOLDS = 2  # the same where each run is tested on another fold: one fold alone says too little

Values = Mapping[RunKey, float | None]  # runs that have ended: the goal on validation, None where the run failed


@dataclass(frozen=True)
class Round:
    """One round: the default and some others train once with each of the seeds."""

    others: int  # configurations beside the default
    seeds: tuple[int, ...]  # seed indices, the same ones for each configuration

    @property
    def runs(self) -> int:
        """How many runs the round has where none fails."""
        return (self.others + 1) * len(self.seeds)


def rounds_of(others: int, seeds: int, *, folds: int = 1, first: int = 0) -> tuple[Round, ...]:
    """Plan the race of `others` configurations and the default. `seeds` are the runs of each in the last round.

    With n others there are n, then the root of n (rounded up), then 1; a size that repeats is left out. Each round has
    new seed indices, which count from `first`.
    """
    root = math.isqrt(max(others - 1, 0)) + 1
    sizes = list(dict.fromkeys([others, min(root, others), min(1, others)]))
    middle = MIDDLE if folds == 1 else MIDDLE_IN_FOLDS
    lengths = {1: [seeds], 2: [1, seeds], 3: [1, middle, seeds]}[len(sizes)]
    rounds = []
    for size, length in zip(sizes, lengths, strict=True):
        rounds.append(Round(size, tuple(range(first, first + length))))
        first += length
    return tuple(rounds)


def rounds_of_front(others: int, seeds: int, *, first: int = 0) -> tuple[Round, ...]:
    """Plan the race of a front, none of whose configurations is the best: one round, in which all train equally often.

    It has new seed indices, which count from `first`.
    """
    return (Round(others, tuple(range(first, first + seeds))),)


class RoundsOf(Protocol):
    """Plans the race of so many configurations and the default: `rounds_of` or `rounds_of_front`."""

    def __call__(self, others: int, seeds: int, *, first: int = 0) -> tuple[Round, ...]: ...


def planner(study: StudySpec) -> RoundsOf:
    """What plans the rounds of the study's promotions."""
    return rounds_of_front if study.goals else partial(rounds_of, folds=study.task.folds)


def runs_of(rounds: Iterable[Round]) -> int:
    """How many runs these rounds have where none fails."""
    return sum(race_round.runs for race_round in rounds)


def key_of(candidates: Sequence[str], rounds: Sequence[Round], generation: int, retries: int) -> str:
    """A fingerprint of what is judged, which the verdict keeps. `candidates` are their keys, the default's first."""
    judged = {"candidates": list(candidates), "rounds": tuple(rounds), "generation": generation}
    return fingerprint({**judged, "retries": retries} if retries else judged)


@dataclass(frozen=True)
class Stage:
    """A round that has begun, with the configurations that run in it."""

    seeds: tuple[int, ...]
    entrants: tuple[str, ...]

    @property
    def runs(self) -> tuple[RunKey, ...]:
        """Seed by seed: configurations can be compared after the first one."""
        return tuple(RunKey(key, seed) for seed in self.seeds for key in self.entrants)


@dataclass(frozen=True)
class Race:
    """The configurations, by the keys of their candidates, and the rounds that they run in.

    A failed run takes its configuration out of the race, and the next best one takes its place. The default, too, is in
    every round unless it has failed.
    """

    default: str
    others: tuple[str, ...]  # the best cheap one first, which goes on where two are equal
    rounds: tuple[Round, ...]
    direction: Direction

    def stages(self, values: Values) -> tuple[Stage, ...]:
        """The rounds that have begun: each one begins when all runs of the one before it have ended."""
        stages: list[Stage] = []
        for number, race_round in enumerate(self.rounds):
            ranked = self._ranked(stages, values, rounds=number + 1)
            others = [key for key in ranked if key != self.default][: race_round.others]
            first = [self.default] if self.default in ranked else []
            stages.append(Stage(race_round.seeds, (*first, *others)))
            if any(run not in values for run in stages[-1].runs):
                break
        return tuple(stages)

    def runs(self, values: Values) -> tuple[RunKey, ...]:
        """The runs of all rounds that have begun. The race is over when all of them have ended."""
        return tuple(run for stage in self.stages(values) for run in stage.runs)

    def ended(self, values: Values) -> dict[str, tuple[RunKey, ...]]:
        """The runs of each configuration that have ended, in the order of their seeds."""
        ended = [run for run in self.runs(values) if run in values]
        runs = {}
        for key in (self.default, *self.others):
            if self._is_standing(key, values, rounds=len(self.rounds)):
                runs[key] = tuple(run for run in ended if run.candidate == key)
            else:
                runs[key] = self._known(key, values, rounds=len(self.rounds))
        return runs

    def planned(self, values: Values) -> int:
        """How many runs the whole race has, those of configurations that have failed included."""
        begun = {*self.runs(values), *itertools.chain.from_iterable(self.ended(values).values())}
        later = self.rounds[len(self.stages(values)) :]
        return len(begun) + runs_of(later)

    def ranked(self, values: Values) -> list[str]:
        """The configurations without a failed run: those that came furthest first, then by the mean of their runs."""
        return self._ranked(self.stages(values), values, rounds=len(self.rounds))

    def leader(self, values: Values) -> str | None:
        """The first of the ranked ones beside the default; None where there is none."""
        return next((key for key in self.ranked(values) if key != self.default), None)

    @property
    def comparisons(self) -> int:
        """Of how many configurations the leader counts as the best, for the interval of its lead.

        All that started may lead, but only the first of the leader's runs is the best of all of them. With one more
        than are in the second round, false claims stay below 2.5 % where all are equal and a run's luck is the same on
        validation and on test (race-false-beats-* of tests/benchmarks/trust).
        """
        second = self.rounds[1].others + 1 if len(self.rounds) > 1 else len(self.others)
        return max(1, min(len(self.others), second))

    def seeds_after_last_choice(self) -> tuple[int, ...]:
        """The seeds of the last round, and of rounds before it that had no more configurations: these chose nothing."""
        last = self.rounds[-1].others
        return tuple(seed for race_round in self.rounds if race_round.others == last for seed in race_round.seeds)

    def _ranked(self, stages: Sequence[Stage], values: Values, *, rounds: int) -> list[str]:
        """Those without a failed run in the first `rounds`, by what they have reached in the stages."""
        standing = [key for key in (self.default, *self.others) if self._is_standing(key, values, rounds=rounds)]
        return sorted(standing, key=lambda key: self._rank(key, stages, values))

    def _rank(self, key: str, stages: Sequence[Stage], values: Values) -> tuple[int, float]:
        """Sorts a configuration by how many runs it has had, and then by their mean."""
        runs = [run for stage in stages for run in stage.runs if run.candidate == key]
        reached = [value for value in map(values.get, runs) if value is not None]
        mean = sum(reached) / len(reached) if reached else 0.0
        return -len(reached), -self.direction.sign * mean

    def _is_standing(self, key: str, values: Values, *, rounds: int) -> bool:
        return all(values[run] is not None for run in self._known(key, values, rounds=rounds))

    def _known(self, key: str, values: Values, *, rounds: int) -> tuple[RunKey, ...]:
        """The configuration's runs with a seed of these rounds that have ended, of whichever promotion they were."""
        runs = (RunKey(key, seed) for race_round in self.rounds[:rounds] for seed in race_round.seeds)
        return tuple(run for run in runs if run in values)
