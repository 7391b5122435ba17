"""From the selection, the runs and the verdict of a promotion to what a reader of the report is shown. Reads only."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import optuna
import scipy  # which imports its parts at their first use

from hpo.direction import Direction
from hpo.formatting import finite
from hpo.page.collect_sweep import trial_from
from hpo.page.commands import suggest_command
from hpo.page.decoding import decode_verdict
from hpo.page.findings import (
    Agreement,
    EarlierPromotion,
    FidelityPair,
    LoggedCommand,
    Promotion,
    PromotionRun,
    Sweep,
)
from hpo.promotion.intervals import Interval
from hpo.promotion.looks import read_looks
from hpo.promotion.race import Race
from hpo.promotion.results import Verdict
from hpo.promotion.selection import Selection, earlier_promotions, is_judged, kept, read_selection
from hpo.promotion.standing import is_given_up, run_key, values_of
from hpo.promotion.test_split import Baseline
from hpo.storage.folder import RunFolder
from hpo.storage.reading import all_trials
from hpo.study import StudySpec
from hpo.trial.changes import read_changes
from hpo.trial.lifecycle import direction_of


def collect_promotion(
    study: StudySpec,
    folder: RunFolder,
    stored: optuna.Study | None,
    sweep: Sweep | None,
    commands: Sequence[LoggedCommand],
) -> Promotion | None:
    """What the promotion came to, so far; None where nothing has been selected. `stored` holds its runs. Raises Damaged
    where a record of it cannot be read."""
    chosen = read_selection(folder)
    if chosen is None:
        return None
    verdict = read_verdict(folder, chosen)
    trials = all_trials(stored) if stored else []
    race = chosen.race(Direction.MINIMIZE if stored is None else direction_of(stored))
    runs = _runs(chosen, race, trials)
    return Promotion(
        selection=chosen,
        runs=runs,
        planned=race.planned(values_of(trials)),
        seeds=chosen.seeds,
        verdict=verdict,
        agreement=_agreement(verdict) if verdict else None,
        baselines=_baselines(verdict) if verdict else {},
        best_baseline=best_rival(verdict) if verdict else None,
        seconds=sum(entry.run.seconds or 0.0 for entry in runs),
        notes=tuple(_notes(chosen, verdict, folder, sweep)),
        command=" ".join([suggest_command("promote", study, commands), *_plan_options(chosen, study, folder)]),
        first_new_seed=max((look.next_seed for look in read_looks(folder)[: chosen.look - 1]), default=0),
    )


def _plan_options(chosen: Selection, study: StudySpec, folder: RunFolder) -> list[str]:
    """The options without which another selection would be promoted: those that the study does not say."""
    keep = [] if chosen.keep == kept(study, folder) else ["--keep", str(chosen.keep)]
    return keep if chosen.seeds == study.seeds else [*keep, "--seeds", str(chosen.seeds)]


def _runs(chosen: Selection, race: Race, trials: Sequence[optuna.trial.FrozenTrial]) -> tuple[PromotionRun, ...]:
    """The runs of this selection that have ended."""
    names = {candidate.key: candidate.name for candidate in chosen.candidates}
    ended = {run for runs in race.ended(values_of(trials)).values() for run in runs}
    return tuple(
        PromotionRun(names[run_key(trial).candidate], trial_from(trial))
        for trial in trials
        if trial.state.is_finished() and not is_given_up(trial) and run_key(trial) in ended
    )


def _baselines(verdict: Verdict) -> dict[str, Interval]:
    """The score of each baseline with its interval, where it has one."""
    return {
        baseline.name: baseline.interval
        for baseline in verdict.baselines
        if baseline.interval is not None and finite(baseline.interval.high) is not None
    }


def read_verdict(folder: RunFolder, chosen: Selection) -> Verdict | None:
    """The verdict on this selection, if there is one. Raises Damaged where it cannot be read."""
    return decode_verdict(folder) if is_judged(chosen, folder) else None


def collect_earlier(folder: RunFolder) -> tuple[EarlierPromotion, ...]:
    """The promotions that were kept aside, each with the change of the study that it was kept for."""
    changes = read_changes(folder)
    return tuple(
        EarlierPromotion(
            place=f"set-aside/{place.path.name}",
            changes=changes[int(place.path.name) - 1].differences,
            verdict=decode_verdict(place) if place.verdict.exists() else None,
        )
        for place in earlier_promotions(folder)
    )


def best_rival(verdict: Verdict) -> Baseline | None:
    """The best of the classical methods that could have been used."""
    rivals = [
        baseline
        for baseline in verdict.baselines
        if baseline.is_rival and finite(baseline.scores.get(verdict.goal)) is not None
    ]
    return verdict.direction.best(rivals, key=lambda baseline: baseline.scores[verdict.goal]) if rivals else None


def _agreement(verdict: Verdict) -> Agreement:
    """Of the first round, in which all candidates ran: of those that went on, later runs say more."""
    first = set(verdict.rounds[0].seeds) if verdict.rounds else None
    pairs = []
    for result in verdict.results:
        runs = [run for run in result.runs if first is None or run.seed_index in first]
        if result.candidate.cheap is not None and result.full is not None and runs:
            mean = statistics.fmean(run.score for run in runs)
            pairs.append(FidelityPair(result.candidate.name, result.candidate.cheap, mean))
    cheap = [pair.cheap for pair in pairs]
    full = [pair.full for pair in pairs]
    if len(pairs) < 3 or len(set(cheap)) == 1 or len(set(full)) == 1:
        return Agreement(tuple(pairs), None)
    return Agreement(tuple(pairs), float(scipy.stats.spearmanr(cheap, full).statistic))


def _notes(chosen: Selection, verdict: Verdict | None, folder: RunFolder, sweep: Sweep | None) -> list[str]:
    notes = [sweep.origin] if sweep and sweep.origin else []
    ended = sweep.ended if sweep else 0
    if ended > chosen.sweep_trials:
        notes.append(
            f"The sweep has gone on: {chosen.sweep_trials} trials had ended when these configurations were "
            f"chosen, {ended} have now. A new promotion would choose among all of them."
        )
    if verdict is None and folder.verdict.exists():
        notes.append("An earlier promotion came to a verdict; this one has not yet, and replaces it.")
    return notes
