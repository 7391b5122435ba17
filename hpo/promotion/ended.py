"""A race that is over: the runs of each candidate, what they came to on the test split, and the noise of all of them.

Shape suffixes: K candidates, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpo.contract.costs import EXACT
from hpo.promotion.candidate import Candidate, RunKey
from hpo.promotion.intervals import Interval, interval_of_costs
from hpo.promotion.looks import confidence
from hpo.promotion.noise import MeanSquare, by_fold, level_noise, run_noise
from hpo.promotion.race import Race
from hpo.promotion.results import RunResult, Sample
from hpo.promotion.runs import FinishedRun, Runs
from hpo.promotion.selection import Selection
from hpo.promotion.test_split import Baseline
from hpo.promotion.tested import TestedRuns, of_baseline
from hpo.study import StudySpec
from hpo.trial.record import Outcome


@dataclass(frozen=True)
class EndedRace:
    """A race that is over, with its runs."""

    study: StudySpec
    selection: Selection
    runs: Runs

    @cached_property
    def race(self) -> Race:
        return self.selection.race(self.study.direction)

    @cached_property
    def values(self) -> dict[RunKey, float | None]:
        return {key: run.value for key, run in self.runs.items()}

    @cached_property
    def ended(self) -> dict[str, tuple[RunKey, ...]]:
        """The runs of each candidate, by its key."""
        return self.race.ended(self.values)

    @cached_property
    def ranked(self) -> list[Candidate]:
        """The candidates without a failed run, who came furthest first."""
        by_key = {candidate.key: candidate for candidate in self.selection.candidates}
        return [by_key[key] for key in self.race.ranked(self.values)]

    @property
    def failed(self) -> list[Candidate]:
        return [candidate for candidate in self.selection.candidates if candidate not in self.ranked]

    @property
    def confidence(self) -> float:
        return confidence(self.selection.look)

    @cached_property
    def totals_KS(self) -> np.ndarray:
        """The goal on test of every run of the candidates that did not fail, a column a seed index."""
        totals_KS = np.full((len(self.ranked), self.selection.next_seed), np.nan)
        for row, candidate in enumerate(self.ranked):
            for key in self.ended[candidate.key]:
                totals_KS[row, key.seed_index] = self.runs[key].outcome.test[self.study.task.goal]
        folds = self.study.task.folds
        return by_fold(totals_KS, folds) if folds > 1 else totals_KS

    @cached_property
    def lead_noise(self) -> MeanSquare | None:
        return run_noise(self.totals_KS)

    @cached_property
    def level_noise(self) -> MeanSquare | None:
        return level_noise(self.totals_KS)

    def run_results(self, candidate: Candidate) -> tuple[RunResult, ...]:
        return tuple(_run_result(key.seed_index, self.runs[key]) for key in self.ended[candidate.key])

    def seeds(self, candidate: Candidate) -> tuple[int, ...]:
        """The seed indices of a candidate's runs."""
        return tuple(key.seed_index for key in self.ended[candidate.key])

    def own_seeds(self, candidate: Candidate) -> tuple[int, ...]:
        """Those that its own value is read from: a finalist's chose nothing; others have no such runs."""
        seeds = self.seeds(candidate)
        unbiased = tuple(seed for seed in self.race.seeds_after_last_choice() if seed in seeds)
        return unbiased or seeds

    def outcomes(self, candidate: Candidate, seeds: Sequence[int]) -> list[Outcome]:
        return [self.runs[RunKey(candidate.key, seed)].outcome for seed in seeds]

    def tested(self, candidate: Candidate, seeds: Sequence[int]) -> TestedRuns:
        """The goal of a candidate's runs with these seeds."""
        outcomes, goal = self.outcomes(candidate, seeds), self.study.task.goal
        validation = tuple(outcome.validation_blocks for outcome in outcomes)
        return TestedRuns(
            totals_S=np.array([outcome.test[goal] for outcome in outcomes]),
            blocks=tuple(outcome.blocks[goal] for outcome in outcomes),
            folds=self.study.task.folds,
            validation=validation if all(validation) else (),
            validation_share=outcomes[0].validation_units / self.sample.units,
        )

    def costs(self, candidate: Candidate) -> dict[str, Interval]:
        """What the candidate costs, in the mean over its runs."""
        measured = [outcome.costs for outcome in self.outcomes(candidate, self.seeds(candidate))]
        names = [name for name in self.study.costs if all(name in costs for costs in measured)]
        values = {name: np.array([costs[name] for costs in measured]) for name in names}
        return {name: self._cost(name, values_S) for name, values_S in values.items()}

    def _cost(self, name: str, values_S: np.ndarray) -> Interval:
        exact = float(values_S[0])
        if name in EXACT and np.ptp(values_S) == 0:
            return Interval(exact, exact, exact, self.confidence)
        return interval_of_costs(values_S, self.confidence)

    def lead(self, candidate: Candidate) -> TestedRuns | None:
        """The candidate's lead over the default in their common runs; None for the default, and where it failed."""
        default, seeds = self.selection.candidates[0], self.seeds(candidate)
        if candidate == default or default not in self.ranked:
            return None
        return self.tested(candidate, seeds).ahead_of(self.tested(default, seeds), self.study.direction)

    def ahead_of_baseline(self, tested: TestedRuns, seeds: Sequence[int], baseline: Baseline) -> Interval:
        """The lead of runs with these seeds over a baseline, which has no training noise of its own."""
        direction, folds = self.study.direction, self.study.task.folds
        columns = range(self.totals_KS.shape[1])
        baseline_S = of_baseline(baseline, self.study, columns).totals_S
        noise = level_noise(self.totals_KS - baseline_S) if folds > 1 else self.level_noise
        rival = of_baseline(baseline, self.study, seeds)
        return tested.ahead_of(rival, direction).level(noise, self.confidence)

    @property
    def sample(self) -> Sample:
        """The test split, as the runs have counted it."""
        counted = next(run.outcome for run in self.runs.values() if run.value is not None)
        task = self.study.task
        noun = task.cluster.partition("_")[0] if task.cluster else "example"
        return Sample(counted.examples, counted.clusters, noun, task.folds)


def _run_result(index: int, run: FinishedRun) -> RunResult:
    outcome = run.outcome
    return RunResult(
        number=run.number,
        seed_index=index,
        state=outcome.state,
        value=outcome.value,
        test=dict(outcome.test),
        seconds=outcome.seconds,
        reason=outcome.reason,
        chosen=dict(outcome.chosen),
    )
