"""From what the verbs have left in a study's folder to findings. Reads only, and at any stage.

The storage is the index of the trials; verdict, preflight, pictures and commands lie in files beside it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import optuna
import scipy  # which imports its parts at their first use

from hpo.contract.optuna_objects import described
from hpo.contract.pruning import Median
from hpo.direction import Direction
from hpo.errors import Refused
from hpo.formatting import count, duration, finite
from hpo.page.collect_gate import gate_findings
from hpo.page.collect_sweep import collect_sweep, trial_from
from hpo.page.commands import suggest_command
from hpo.page.decoding import decode_commands, decode_preflight, decode_verdict
from hpo.page.findings import (
    Agreement,
    EarlierPromotion,
    Exhibit,
    FidelityPair,
    Findings,
    LoggedCommand,
    Missing,
    Panel,
    PreflightFindings,
    Promotion,
    PromotionRun,
    Provenance,
    Sweep,
)
from hpo.page.headline import headline
from hpo.page.status import status_of
from hpo.plain import plain
from hpo.promotion.intervals import Interval
from hpo.promotion.looks import read_looks
from hpo.promotion.race import Race
from hpo.promotion.results import Verdict
from hpo.promotion.selection import Selection, earlier_promotions, is_judged, kept, read_selection
from hpo.promotion.standing import is_given_up, run_key, values_of
from hpo.promotion.test_split import Baseline
from hpo.space import When
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder, promotion_name
from hpo.storage.identity import differing_parts
from hpo.study import StudySpec
from hpo.trial import provenance
from hpo.trial.adoption import read_adoption
from hpo.trial.artifact import CARD
from hpo.trial.changes import lineage, read_changes
from hpo.trial.failures import Failure, grouped
from hpo.trial.lifecycle import direction_of


def collect(study: StudySpec, folder: RunFolder) -> Findings:
    """Read everything that a study's folder holds.

    Raises Refused where there is no such folder, and Damaged where a record in it cannot be read.
    """
    if not folder.path.is_dir():
        raise Refused(f"nothing to report: {folder.path} does not exist; run: hpo sweep {study.name}")
    stored_sweep = stored_study(folder, study.name)
    identity = stored_sweep.user_attrs.get("identity", {}) if stored_sweep else {}
    commands = decode_commands(folder)
    adoption = read_adoption(folder)
    sweep = collect_sweep(study, stored_sweep, adoption) if stored_sweep else None
    if sweep is not None:
        failed = [Failure(trial.number, trial.reason) for trial in sweep.trials if trial.state == "failed"]
        sweep = replace(sweep, failures=grouped(failed, folder))
    stored_promotion = stored_study(folder, promotion_name(study.name))
    promotion = _promotion(study, folder, stored_promotion, sweep, commands)
    gate = None
    if sweep and not adoption:
        gate = gate_findings(study, folder, stored_promotion, promotion, suggest_command("gate", study, commands))
    return Findings(
        study=study,
        written=datetime.now(UTC),
        headline=headline(study, sweep, promotion),
        sweep=sweep,
        promotion=promotion,
        preflight=_preflight(folder, identity),
        exhibits=_exhibits(folder, promotion),
        provenance=_provenance(study, folder, identity, commands, promotion),
        missing=tuple(_missing(study, folder, sweep, promotion, commands)),
        gate=gate,
        earlier=_earlier(folder),
    )


# -- what is missing -------------------------------------------------------------------------------------------------
def _missing(
    study: StudySpec,
    folder: RunFolder,
    sweep: Sweep | None,
    promotion: Promotion | None,
    commands: Sequence[LoggedCommand],
) -> list[Missing]:
    missing = []

    def add(what: str, verb: str) -> None:
        missing.append(Missing(what, suggest_command(verb, study, commands)))

    trials = len(folder.numbers("sweep"))
    if sweep is None and trials:
        add(f"The storage is missing, but {count(trials, 'trial')} lie in {folder.path / 'sweep'}.", "rebuild")
    if not folder.preflight.exists():
        add("No preflight: nothing has proved that the task can be learned.", "preflight")
    if sweep is None:
        add("No sweep.", "sweep")
    elif sweep.ended < sweep.planned and not sweep.end:
        add(f"The sweep has {sweep.ended} of {sweep.planned} trials{_left(folder)}.", "sweep")
    if promotion is None:
        add("No promotion: what a cheap score is worth at full fidelity is not known.", "promote")
    elif promotion.verdict is None:
        runs = f"{len(promotion.runs)} of {promotion.planned} runs"
        add(f"The promotion has {runs}, and no verdict{_left(folder)}.", "promote")
    return missing


def _left(folder: RunFolder) -> str:
    """The time left, as a clause; "" where it is not known."""
    seconds = status_of(folder).seconds_left
    return f"; the rest takes about {duration(seconds)}" if seconds else ""


# -- promotion -------------------------------------------------------------------------------------------------------
def _promotion(
    study: StudySpec,
    folder: RunFolder,
    stored: optuna.Study | None,
    sweep: Sweep | None,
    commands: Sequence[LoggedCommand],
) -> Promotion | None:
    chosen = read_selection(folder)
    if chosen is None:
        return None
    verdict = read_verdict(folder, chosen)
    trials = stored.get_trials(deepcopy=False) if stored else []
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


def _earlier(folder: RunFolder) -> tuple[EarlierPromotion, ...]:
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


# -- the rest of the folder ------------------------------------------------------------------------------------------
def _preflight(folder: RunFolder, identity: Mapping[str, str]) -> PreflightFindings | None:
    preflight = decode_preflight(folder)
    if preflight is None:
        return None
    before = preflight.identity or {}
    stale = differing_parts({part: before.get(part, "") for part in identity}, identity)
    return replace(preflight, stale=tuple(stale))


def _exhibits(folder: RunFolder, promotion: Promotion | None) -> tuple[Exhibit, ...]:
    index = folder.pictures / "index.json"
    is_of_earlier_winner = promotion is not None and promotion.verdict is None
    if not index.exists() or is_of_earlier_winner:
        return ()
    return tuple(_exhibit(folder, entry) for entry in json.loads(index.read_text()))


def _exhibit(folder: RunFolder, entry: Mapping[str, Any]) -> Exhibit:
    files = [(panel["label"], folder.pictures / panel["file"]) for panel in entry.get("panels", ())]
    panels = tuple(Panel(label, path.read_bytes()) for label, path in files if path.exists())
    return Exhibit(entry["title"], entry.get("caption", ""), panels, entry.get("figure"))


def _provenance(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    commands: tuple[LoggedCommand, ...],
    promotion: Promotion | None,
) -> Provenance:
    card_path = folder.export / CARD
    has_verdict = promotion is not None and promotion.verdict is not None
    card = json.loads(card_path.read_text()) if has_verdict and card_path.exists() else {}
    if card.get("versions"):
        versions, versions_of = card["versions"], "when the winner was exported"
    elif commands and commands[-1].versions:
        versions, versions_of = commands[-1].versions, "of the last command"
    else:
        versions, versions_of = provenance.versions(), "when this report was written"
    return Provenance(
        identity=identity,
        versions=versions,
        versions_of=versions_of,
        commands=commands,
        card=card,
        winner=folder.export,
        search=_search(study),
        pruning=_pruning(study),
        changes=lineage(folder),
        conditions={
            name: f"where {entry.parent} = {entry.value}"
            for name, entry in study.space.items()
            if isinstance(entry, When)
        },
    )


def _search(study: StudySpec) -> str:
    """What proposes the configurations, in one line."""
    if study.is_ladder:
        return "a Sobol sequence, and TPE for full-length trials where early rankings mislead"
    if study.search is None:
        return f"TPE, {count(study.startup_trials, 'random trial')} first"
    return described(study.search)


def _pruning(study: StudySpec) -> str:
    """The pruner's settings in one line."""
    if study.pruning is None:
        return "nothing"
    if study.is_ladder:
        return f"a ladder of halves from {count(study.first_rung or 1, 'epoch')} on, beside full-length trials"
    if not isinstance(study.pruning, Median):
        return described(study.pruning)
    return ", ".join(f"{key} = {value}" for key, value in plain(study.pruning_rule).items() if key != "class")
