"""The verdict of a promotion: which candidate won, by how much, and how certain that is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hpo.direction import Direction
from hpo.engine.evaluation import mean_scores
from hpo.errors import SweepFailed
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.promotion.intervals import Interval, crossed_interval, interval_of_runs
from hpo.promotion.results import ENOUGH, Result, RunResult, Sample, Verdict
from hpo.promotion.runs import FinishedRun, Runs
from hpo.promotion.selection import RunKey, Selection
from hpo.promotion.sentence import sentence_of
from hpo.promotion.test_split import Baseline
from hpo.study import StudySpec


def judge(study: StudySpec, selection: Selection, runs: Runs, baselines: tuple[Baseline, ...]) -> Verdict:
    """Rank the candidates by their mean validation score, and compare them with the default on the test split.

    Raises SweepFailed where every candidate has a failed run.
    """
    default = _tested(selection.candidates[0], study, selection, runs)
    results = [_result(candidate, study, selection, runs, default, baselines) for candidate in selection.candidates]
    ranked = study.direction.ranked(results, key=lambda result: study.direction.worst_if_none(result.full))
    if ranked[0].full is None:
        reasons = "; ".join(sorted({run.reason for result in results for run in result.runs}))
        raise SweepFailed(f"no configuration could be trained at full fidelity: {reasons}")
    sample = _sample(study, selection, runs)
    return Verdict(
        goal=study.task.goal,
        direction=study.direction,
        results=tuple(ranked),
        baselines=tuple(_with_interval(baseline, study) for baseline in baselines),
        winner=ranked[0].candidate.name,
        sentence=sentence_of(ranked, study, selection, sample),
        sample=sample,
        selection=selection.key,
    )


@dataclass(frozen=True)
class _Tested:
    """The goal on the test split: of each run, and its pseudo-values, which are of the same blocks for all runs unless
    each has a fold of its own."""

    totals_S: np.ndarray
    blocks: tuple[tuple[float, ...], ...]  # a run each
    folds: int

    def ahead_of(self, rival: _Tested, direction: Direction) -> _Tested:
        """By how much this is better than a rival that was tested on the same examples."""
        lead_S = direction.lead(self.totals_S, rival.totals_S)
        blocks = [
            direction.lead(np.array(own), np.array(its)) for own, its in zip(self.blocks, rival.blocks, strict=True)
        ]
        return _Tested(lead_S, tuple(tuple(lead_U) for lead_U in blocks), self.folds)

    @property
    def interval(self) -> Interval:
        """The mean over the runs, with the spread of seeds and test examples."""
        if self.folds > 1:
            return interval_of_runs(self.totals_S)
        return crossed_interval(np.array(self.blocks), centre=float(self.totals_S.mean()))

    @property
    def is_ruled_by_one_block(self) -> bool:
        """Whether one block makes up more than half of the spread over blocks: such an interval is not to be trusted.

        It is so where one cluster alone holds a class, of which the score without that cluster knows nothing.
        """
        if self.folds > 1:
            return False
        means_U = np.array(self.blocks).mean(0)
        squares_U = (means_U - means_U.mean()) ** 2
        return len(means_U) >= ENOUGH and bool(squares_U.max() > squares_U.sum() / 2)


def _result(
    candidate: Candidate,
    study: StudySpec,
    selection: Selection,
    runs: Runs,
    default: _Tested | None,
    baselines: tuple[Baseline, ...],
) -> Result:
    finished = [runs[RunKey(candidate.key, index)] for index in range(selection.seeds)]
    results = tuple(_run_result(index, run) for index, run in enumerate(finished))
    tested = _tested(candidate, study, selection, runs)
    if tested is None:
        return Result(candidate, results)
    lead = tested.ahead_of(default, study.direction) if default and candidate.name != DEFAULT else None
    return Result(
        candidate,
        results,
        full=float(np.mean([run.score for run in results])),
        test=tested.interval.within(study.task.bounds.get(study.task.goal)),
        scores=mean_scores([run.outcome.test for run in finished]),
        ahead_of_default=lead.interval if lead else None,
        is_ruled_by_one=lead.is_ruled_by_one_block if lead else False,
        ahead_of_baselines={
            baseline.name: tested.ahead_of(_of_baseline(baseline, study, selection.seeds), study.direction).interval
            for baseline in baselines
        },
    )


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


def _tested(candidate: Candidate, study: StudySpec, selection: Selection, runs: Runs) -> _Tested | None:
    """The goal of a candidate's runs on test; None unless every run is complete."""
    outcomes = [runs[RunKey(candidate.key, index)].outcome for index in range(selection.seeds)]
    if any(outcome.state != "complete" for outcome in outcomes):
        return None
    goal = study.task.goal
    return _Tested(
        totals_S=np.array([outcome.test[goal] for outcome in outcomes]),
        blocks=tuple(outcome.blocks[goal] for outcome in outcomes),
        folds=study.task.folds,
    )


def _of_baseline(baseline: Baseline, study: StudySpec, seeds: int) -> _Tested:
    """The goal of a baseline, once for each run, on the test split of that run."""
    goal, folds = study.task.goal, study.task.folds
    scores = [baseline.folds[run % folds] for run in range(seeds)]
    return _Tested(
        totals_S=np.array([score.scores[goal] for score in scores]),
        blocks=tuple(score.blocks[goal] for score in scores),
        folds=folds,
    )


def _with_interval(baseline: Baseline, study: StudySpec) -> Baseline:
    interval = _of_baseline(baseline, study, study.task.folds).interval
    return replace(baseline, interval=interval.within(study.task.bounds.get(study.task.goal)))


def _sample(study: StudySpec, selection: Selection, runs: Runs) -> Sample:
    """The test split, as the runs have counted it."""
    outcomes = [runs[RunKey(candidate.key, 0)].outcome for candidate in selection.candidates]
    counted = next(outcome for outcome in outcomes if outcome.state == "complete")
    noun = study.task.cluster.partition("_")[0] if study.task.cluster else "example"
    return Sample(counted.examples, counted.clusters, noun, study.task.folds)
