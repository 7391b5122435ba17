"""The verdict of a promotion: which candidate won, by how much, and how certain that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hpo.engine.evaluation import mean_scores
from hpo.errors import SweepFailed
from hpo.promotion.candidate import DEFAULT, Candidate, Tie
from hpo.promotion.ended import EndedRace
from hpo.promotion.front import front_of, winner_of
from hpo.promotion.looks import confidence
from hpo.promotion.more import LeastLead, Needed
from hpo.promotion.results import Result, Sample, Verdict
from hpo.promotion.runs import Runs
from hpo.promotion.selection import Selection
from hpo.promotion.sentence import worded
from hpo.promotion.test_split import Baseline
from hpo.promotion.tested import of_baseline
from hpo.study import StudySpec


def judge(
    study: StudySpec, selection: Selection, runs: Runs, baselines: tuple[Baseline, ...], *, tie: Tie = "default"
) -> Verdict:
    """Say who leads at the end of the race, compare all candidates with the default on the test split, and choose the
    winner: the leader where the interval of its lead lies above zero, else the default. `tie="leader"` chooses the
    leader as long as the interval includes zero. A candidate that is over a limit of the study neither leads nor wins,
    unless all are.

    Raises SweepFailed where every candidate has a failed run.
    """
    race = EndedRace(study, selection, runs)
    if not race.ranked:
        reasons = "; ".join(sorted({run.outcome.reason for run in runs.values() if run.value is None}))
        raise SweepFailed(
            f"no configuration could be trained at full fidelity: {reasons}; mend that and train the runs again: "
            f"hpo retry {study.name} --promotion --failed, then hpo promote {study.name}"
        )
    sample = race.sample
    results = [_result(candidate, race, baselines) for candidate in race.ranked]
    within = [result for result in results if not result.over(study.limits)] or results
    leading = next((result for result in within if result.candidate.name != DEFAULT), None)
    on_front = front_of(within, study) if study.goals else []
    if on_front:
        default = next((result for result in within if result.candidate.name == DEFAULT), None)
        winning = winner_of(on_front, default, tie)
    else:
        winning = _winning(within, leading, sample, tie)
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
        leader=leading.candidate.name if leading and not study.goals else None,
        rounds=selection.rounds,
        look=selection.look,
        confidence=race.confidence,
        noise=race.lead_noise.value**0.5 if race.lead_noise else None,
        needed=_needed(leading.candidate, race) if leading else None,
        least_leads=_least_leads(leading.candidate, race) if leading else (),
        limits=dict(study.limits),
        goals=study.goals,
        front=tuple(result.candidate.name for result in on_front),
    )
    return worded(verdict, study.task.bounds.get(study.task.goal))


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


def _result(candidate: Candidate, race: EndedRace, baselines: tuple[Baseline, ...]) -> Result:
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
        costs=race.costs(candidate),
        ahead_of_baselines={baseline.name: race.ahead_of_baseline(own, own_seeds, baseline) for baseline in baselines},
    )


def _needed(leader: Candidate, race: EndedRace) -> Needed | None:
    """What would decide the leader's lead at the next look. None where the default or the noise is not known."""
    lead = race.lead(leader)
    if lead is None or race.lead_noise is None:
        return None
    return lead.needed(race.lead_noise, race.race.comparisons, confidence(race.selection.look + 1), race.sample.units)


def _least_leads(leader: Candidate, race: EndedRace) -> tuple[LeastLead, ...]:
    """What leads more seeds would show at the next look. Empty where the default or the noise is not known."""
    lead = race.lead(leader)
    if lead is None:
        return ()
    return lead.least_leads(race.lead_noise, race.race.comparisons, confidence(race.selection.look + 1))


def _with_interval(baseline: Baseline, study: StudySpec) -> Baseline:
    interval = of_baseline(baseline, study, range(study.task.folds)).interval
    return replace(baseline, interval=interval.within(study.task.bounds.get(study.task.goal)))
