"""The verdict of a promotion: which candidate won, by how much, and how certain that is.

Shape suffixes: K candidates, S seeds, U test units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hpo.direction import Direction
from hpo.engine.evaluation import mean_scores
from hpo.errors import SweepFailed
from hpo.promotion.candidate import DEFAULT, Candidate, RunKey, Tie
from hpo.promotion.intervals import (
    Interval,
    crossed_interval,
    interval_of_runs,
    lead_interval,
    lead_interval_in_folds,
    level_interval,
    level_interval_in_folds,
)
from hpo.promotion.looks import confidence
from hpo.promotion.more import Needed, needed, seeds_needed_in_folds
from hpo.promotion.noise import MeanSquare, by_fold, level_noise, run_noise, unit_spread
from hpo.promotion.race import Race
from hpo.promotion.results import ENOUGH, Result, RunResult, Sample, Verdict
from hpo.promotion.runs import FinishedRun, Runs
from hpo.promotion.selection import Selection
from hpo.promotion.sentence import claim_of, sentence_of
from hpo.promotion.test_split import Baseline, SplitScores
from hpo.study import StudySpec
from hpo.trial.record import Outcome


def judge(
    study: StudySpec, selection: Selection, runs: Runs, baselines: tuple[Baseline, ...], *, tie: Tie = "default"
) -> Verdict:
    """Say who leads at the end of the race, compare all candidates with the default on the test split, and choose the
    winner: the leader where the interval of its lead lies above zero, else the default. `tie="leader"` chooses the
    leader as long as the interval includes zero.

    Raises SweepFailed where every candidate has a failed run.
    """
    race = _Ended(study, selection, runs)
    if not race.ranked:
        reasons = "; ".join(sorted({run.outcome.reason for run in runs.values() if run.value is None}))
        raise SweepFailed(f"no configuration could be trained at full fidelity: {reasons}")
    sample = race.sample
    results = [_result(candidate, race, baselines) for candidate in race.ranked]
    leading = next((result for result in results if result.candidate.name != DEFAULT), None)
    winning = _winning(results, leading, sample, tie)
    results.sort(key=lambda result: result is not winning)  # the others stay in their order
    verdict = Verdict(
        goal=study.task.goal,
        direction=study.direction,
        results=(*results, *(Result(candidate, race.run_results(candidate)) for candidate in race.failed)),
        baselines=tuple(_with_interval(baseline, study) for baseline in baselines),
        winner=winning.candidate.name,
        sentence="",
        sample=sample,
        selection=selection.key,
        leader=leading.candidate.name if leading else None,
        rounds=selection.rounds,
        look=selection.look,
        confidence=race.confidence,
        noise=race.lead_noise.value**0.5 if race.lead_noise else None,
        needed=_needed(leading.candidate, race) if leading else None,
    )
    return replace(verdict, sentence=sentence_of(verdict), claim=claim_of(verdict))


def _winning(results: Sequence[Result], leading: Result | None, sample: Sample, tie: Tie) -> Result:
    """The result of the candidate that is exported."""
    default = next((result for result in results if result.candidate.name == DEFAULT), None)
    if leading is None or default is None:
        return results[0]
    lead = leading.ahead_of_default
    assert lead is not None
    is_sure = lead.excludes_zero and not sample.is_too_small
    if is_sure:
        return leading if lead.low > 0 else default
    return leading if tie == "leader" else default


@dataclass(frozen=True)
class _Tested:
    """The goal of some runs on the test split: of each run, and its pseudo-values, which are of the same blocks for all
    runs unless each has a fold of its own."""

    totals_S: np.ndarray
    blocks: tuple[tuple[float, ...], ...]  # a run each
    folds: int
    validation: tuple[tuple[float, ...], ...] = ()  # the same runs' pseudo-values there; none where a run has none
    validation_share: float = 0.0  # how many units validation has for each of the test split

    @property
    def blocks_SU(self) -> np.ndarray:
        return np.array(self.blocks)

    def ahead_of(self, rival: _Tested, direction: Direction) -> _Tested:
        """By how much this is better than a rival that was tested on the same examples."""
        lead_S = direction.lead(self.totals_S, rival.totals_S)
        blocks = [
            direction.lead(np.array(own), np.array(its)) for own, its in zip(self.blocks, rival.blocks, strict=True)
        ]
        validation = [
            direction.lead(np.array(own), np.array(its))
            for own, its in zip(self.validation, rival.validation, strict=False)  # a baseline has none
        ]
        return replace(
            self,
            totals_S=lead_S,
            blocks=tuple(tuple(lead_U) for lead_U in blocks),
            validation=tuple(tuple(lead_V) for lead_V in validation),
        )

    @property
    def elsewhere(self) -> MeanSquare | None:
        """How much units differ, as validation has it."""
        return unit_spread(np.array(self.validation), self.validation_share) if self.validation else None

    @property
    def interval(self) -> Interval:
        """The mean over the runs, with the spread of these runs and of test examples."""
        if self.folds > 1:
            return interval_of_runs(self.totals_S)
        return crossed_interval(self.blocks_SU, centre=float(self.totals_S.mean()))

    def level(self, noise: MeanSquare | None, confidence: float) -> Interval:
        """The mean over the runs, with the noise of all runs of the promotion."""
        if self.folds > 1:
            return level_interval_in_folds(self.totals_S, noise, self.folds, confidence=confidence)
        return level_interval(
            self.blocks_SU,
            noise,
            confidence=confidence,
            centre=float(self.totals_S.mean()),
            elsewhere=self.elsewhere,
        )

    def lead(self, noise: MeanSquare | None, comparisons: int, confidence: float) -> Interval:
        """The mean of a lead over the runs, with the noise of all runs of the promotion."""
        if self.folds > 1:
            return lead_interval_in_folds(
                self.totals_S, noise, self.folds, comparisons=comparisons, confidence=confidence
            )
        return lead_interval(
            self.blocks_SU,
            noise,
            comparisons=comparisons,
            confidence=confidence,
            centre=float(self.totals_S.mean()),
            elsewhere=self.elsewhere,
        )

    def needed(self, noise: MeanSquare | None, comparisons: int, confidence: float, units: int) -> Needed:
        """What would decide a lead; `units` as in `hpo.promotion.more.needed`."""
        if self.folds > 1:
            seeds = seeds_needed_in_folds(
                self.totals_S, noise, self.folds, comparisons=comparisons, confidence=confidence
            )
            return Needed(seeds, units=None)
        return needed(
            self.blocks_SU,
            noise,
            units=units,
            comparisons=comparisons,
            confidence=confidence,
            centre=float(self.totals_S.mean()),
            elsewhere=self.elsewhere,
        )

    @property
    def is_ruled_by_one_block(self) -> bool:
        """Whether one block makes up more than half of the spread over blocks: such an interval is not to be trusted.

        It is so where one cluster alone holds a class, of which the score without that cluster knows nothing.
        """
        if self.folds > 1:
            return False
        means_U = self.blocks_SU.mean(0)
        squares_U = (means_U - means_U.mean()) ** 2
        return len(means_U) >= ENOUGH and bool(squares_U.max() > squares_U.sum() / 2)


@dataclass(frozen=True)
class _Ended:
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

    def tested(self, candidate: Candidate, seeds: Sequence[int]) -> _Tested:
        """The goal of a candidate's runs with these seeds."""
        outcomes, goal = self.outcomes(candidate, seeds), self.study.task.goal
        validation = tuple(outcome.validation_blocks for outcome in outcomes)
        return _Tested(
            totals_S=np.array([outcome.test[goal] for outcome in outcomes]),
            blocks=tuple(outcome.blocks[goal] for outcome in outcomes),
            folds=self.study.task.folds,
            validation=validation if all(validation) else (),
            validation_share=outcomes[0].validation_units / self.sample.units,
        )

    def lead(self, candidate: Candidate) -> _Tested | None:
        """The candidate's lead over the default in their common runs; None for the default, and where it failed."""
        default, seeds = self.selection.candidates[0], self.seeds(candidate)
        if candidate == default or default not in self.ranked:
            return None
        return self.tested(candidate, seeds).ahead_of(self.tested(default, seeds), self.study.direction)

    def ahead_of_baseline(self, tested: _Tested, seeds: Sequence[int], baseline: Baseline) -> Interval:
        """The lead of runs with these seeds over a baseline, which has no training noise of its own."""
        direction, folds = self.study.direction, self.study.task.folds
        columns = range(self.totals_KS.shape[1])
        baseline_S = _of_baseline(baseline, self.study, columns).totals_S
        noise = level_noise(self.totals_KS - baseline_S) if folds > 1 else self.level_noise
        rival = _of_baseline(baseline, self.study, seeds)
        return tested.ahead_of(rival, direction).level(noise, self.confidence)

    @property
    def sample(self) -> Sample:
        """The test split, as the runs have counted it."""
        counted = next(run.outcome for run in self.runs.values() if run.value is not None)
        task = self.study.task
        noun = task.cluster.partition("_")[0] if task.cluster else "example"
        return Sample(counted.examples, counted.clusters, noun, task.folds)


def _result(candidate: Candidate, race: _Ended, baselines: tuple[Baseline, ...]) -> Result:
    """A candidate without a failed run."""
    runs, lead = race.run_results(candidate), race.lead(candidate)
    own_seeds = race.own_seeds(candidate)
    own = race.tested(candidate, own_seeds)
    test = own.level(race.level_noise, race.confidence)
    return Result(
        candidate,
        runs,
        full=float(np.mean([run.score for run in runs])),
        test=test.within(race.study.task.bounds.get(race.study.task.goal)),
        scores=mean_scores([outcome.test for outcome in race.outcomes(candidate, own_seeds)]),
        ahead_of_default=lead.lead(race.lead_noise, race.race.comparisons, race.confidence) if lead else None,
        is_ruled_by_one=lead.is_ruled_by_one_block if lead else False,
        ahead_of_baselines={baseline.name: race.ahead_of_baseline(own, own_seeds, baseline) for baseline in baselines},
    )


def _needed(leader: Candidate, race: _Ended) -> Needed | None:
    """What would decide the leader's lead at the next look. None where the default or the noise is not known."""
    lead = race.lead(leader)
    if lead is None or race.lead_noise is None:
        return None
    return lead.needed(race.lead_noise, race.race.comparisons, confidence(race.selection.look + 1), race.sample.units)


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


def _of_baseline(baseline: Baseline, study: StudySpec, seeds: Sequence[int]) -> _Tested:
    """The goal of a baseline on the test splits of the runs with these seeds."""
    goal, folds = study.task.goal, study.task.folds
    scores: list[SplitScores] = [baseline.folds[seed % folds] for seed in seeds]
    return _Tested(
        totals_S=np.array([score.scores[goal] for score in scores]),
        blocks=tuple(score.blocks[goal] for score in scores),
        folds=folds,
    )


def _with_interval(baseline: Baseline, study: StudySpec) -> Baseline:
    interval = _of_baseline(baseline, study, range(study.task.folds)).interval
    return replace(baseline, interval=interval.within(study.task.bounds.get(study.task.goal)))
