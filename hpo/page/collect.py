"""From what the verbs have left in a study's folder to findings. Reads only, and at any stage.

The storage is the index of the trials; verdict, preflight, pictures and commands lie in files beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial
from scipy import stats

from hpo.errors import Refused
from hpo.formatting import count, finite
from hpo.page.findings import (
    Agreement,
    Exhibit,
    Findings,
    Headline,
    Missing,
    Overfit,
    Panel,
    Preflight,
    Promotion,
    Provenance,
    Sweep,
    Trial,
)
from hpo.page.importance import importances
from hpo.plain import plain
from hpo.promotion import selection
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.promotion.intervals import Interval, crossed_interval
from hpo.promotion.selection import Selection
from hpo.promotion.test_split import Baseline
from hpo.promotion.verdict import Result, RunResult, Verdict
from hpo.space import When
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Check
from hpo.trial import provenance
from hpo.trial.artifact import CARD
from hpo.trial.lifecycle import STATE_NAME


def collect(study: StudySpec, folder: RunFolder) -> Findings:
    """Read everything that a study's folder holds. Raises Refused where there is no such folder."""
    if not folder.path.is_dir():
        raise Refused(f"nothing to report: {folder.path} does not exist; run: hpo sweep {study.name}")
    swept, promoted = stored_study(folder, study.name), stored_study(folder, f"{study.name}.promotion")
    found = _sweep(study, swept) if swept else None
    logged = tuple(logged_commands(folder))
    promotion = _promotion(study, folder, promoted, found)
    identity = swept.user_attrs.get("identity", {}) if swept else {}
    return Findings(
        study,
        datetime.now(UTC),
        _headline(found, promotion),
        found,
        promotion,
        _preflight(folder, identity),
        _exhibits(folder, promotion),
        _provenance(study, folder, identity, logged, promotion),
        tuple(_missing(study, folder, found, promotion, logged)),
    )


def command(verb: str, study: StudySpec, logged: Sequence[Mapping[str, Any]]) -> str:
    """The command for a verb: with the study, the folders and the fidelity that the last logged one was given."""
    named, kept = study.name, []
    words = str(logged[-1]["command"]).split()[2:] if logged else []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            named = word
            continue
        option, alone, _ = word.partition("=")
        value = [] if alone or option in _FLAGS or not words else [words.pop(0)]
        if option in ("--smoke", "--runs", "--data"):  # they mean the same to every verb
            kept += [word, *value]
    return " ".join(["hpo", verb, named, *kept])


_FLAGS = ("--smoke", "--force", "--json", "--debug")


def _missing(
    study: StudySpec,
    folder: RunFolder,
    sweep: Sweep | None,
    promotion: Promotion | None,
    logged: Sequence[Mapping[str, Any]],
) -> list[Missing]:
    found = []
    if sweep is None and folder.numbers("sweep"):
        found.append(
            Missing(
                f"The storage is missing, but {count(len(folder.numbers('sweep')), 'trial')} lie in "
                f"{folder.path / 'sweep'}.",
                command("rebuild", study, logged),
            )
        )
    if not folder.preflight.exists():
        found.append(
            Missing(
                "No preflight: nothing has proved that the task can be learned.", command("preflight", study, logged)
            )
        )
    if sweep is None or sweep.ended < sweep.planned:
        found.append(
            Missing(
                f"The sweep has {sweep.ended} of {sweep.planned} trials." if sweep else "No sweep.",
                command("sweep", study, logged),
            )
        )
    if promotion is None:
        found.append(
            Missing(
                "No promotion: what a cheap score is worth at full fidelity is not known.",
                command("promote", study, logged),
            )
        )
    elif promotion.verdict is None:
        found.append(
            Missing(
                f"The promotion has {len(promotion.runs)} of {promotion.planned} runs, and no verdict.",
                command("promote", study, logged),
            )
        )
    return found


# -- sweep -----------------------------------------------------------------------------------------------------------
def _sweep(study: StudySpec, stored: optuna.Study) -> Sweep:
    trials = tuple(_trial(frozen) for frozen in stored.get_trials(deepcopy=False))
    first = next((trial for trial in trials if trial.params == study.defaults() and trial.state != "waiting"), None)
    trials = tuple(replace(trial, default=trial is first) for trial in trials)
    ahead = _ahead(trials, study.task.direction)
    starts = [trial.began for trial in trials if trial.began]
    ends = [trial.ended for trial in trials if trial.ended]
    conditional = {name for name, entry in study.space.items() if isinstance(entry, When)}
    return Sweep(
        trials,
        study.task.direction,
        planned=stored.user_attrs.get("trials", study.trials),
        epochs_each=study.cheap.epochs,
        counts=Counter(trial.state for trial in trials),
        best=next((trial for trial in trials if ahead and trial.number == ahead[-1][0]), None),
        default=next((trial for trial in trials if trial.default), None),
        ahead=ahead,
        seconds=sum(trial.seconds or 0.0 for trial in trials),
        wall_seconds=(max(ends) - min(starts)).total_seconds() if starts and ends else None,
        importances=importances(stored, list(study.space), conditional),
    )


def _trial(frozen: FrozenTrial) -> Trial:
    state = STATE_NAME[frozen.state]
    curve = {epoch: value for epoch, value in sorted(frozen.intermediate_values.items()) if finite(value) is not None}
    last = list(curve.values())[-1] if curve else None
    more = frozen.user_attrs
    return Trial(
        frozen.number,
        state,
        finite(frozen.value) if state == "complete" else last,
        dict(frozen.params),
        curve,
        epochs=more.get("epochs", len(curve)),
        best_epoch=more.get("best_epoch"),
        seconds=finite(more.get("seconds")),
        began=frozen.datetime_start,
        ended=frozen.datetime_complete,
        reason=more.get("reason", ""),
    )


def _ahead(trials: tuple[Trial, ...], direction: str) -> tuple[tuple[int, float], ...]:
    """The trials that were the best so far when they were completed, in the order of their numbers."""
    sign = 1 if direction == "minimize" else -1
    steps: list[tuple[int, float]] = []
    for trial in trials:
        if (
            trial.state == "complete"
            and trial.value is not None
            and (not steps or sign * trial.value < sign * steps[-1][1])
        ):
            steps.append((trial.number, trial.value))
    return tuple(steps)


# -- promotion -------------------------------------------------------------------------------------------------------
def _promotion(
    study: StudySpec, folder: RunFolder, stored: optuna.Study | None, sweep: Sweep | None
) -> Promotion | None:
    chosen = selection.read_selection(folder)
    if chosen is None:
        return None
    verdict = read_verdict(folder, chosen)
    names = {candidate.key: candidate.name for candidate in chosen.candidates}
    runs = []
    for frozen in stored.get_trials(deepcopy=False) if stored else ():
        key, seed = frozen.user_attrs.get("key"), frozen.user_attrs.get("seed", 0)
        if key in names and seed < chosen.seeds and frozen.state.is_finished():
            runs.append((names[key], _trial(frozen)))
    baselines = (
        {
            one.name: crossed_interval(np.array([one.units]))
            for one in verdict.baselines
            if len(one.units) > 1 and None not in one.units
        }
        if verdict
        else {}
    )
    return Promotion(
        chosen,
        tuple(runs),
        len(chosen.candidates) * chosen.seeds,
        chosen.seeds,
        verdict,
        _agreement(verdict) if verdict else None,
        baselines,
        best_rival(verdict) if verdict else None,
        sum(run.seconds or 0.0 for _, run in runs),
        tuple(_notes(chosen, verdict, folder, sweep)),
    )


def read_verdict(folder: RunFolder, chosen: Selection) -> Verdict | None:
    """The verdict on this selection, if there is one."""
    if not selection.is_judged(chosen, folder):
        return None
    record = json.loads((folder.path / "verdict.json").read_text())
    return Verdict(
        record["goal"],
        record["direction"],
        tuple(_result(one) for one in record["results"]),
        tuple(Baseline(one["name"], one["scores"], tuple(one["units"])) for one in record["baselines"]),
        record["winner"],
        record["sentence"],
        tuple(_check(one) for one in record["checks"]),
        record["selection"],
    )


def _result(record: Mapping[str, Any]) -> Result:
    against = {name: _interval(one) for name, one in record["ahead_of_baselines"].items()}
    return Result(
        Candidate(**record["candidate"]),
        tuple(RunResult(**run) for run in record["runs"]),
        record["full"],
        _interval(record["test"]),
        record["scores"],
        _interval(record["ahead_of_default"]),
        {name: one for name, one in against.items() if one},
    )


def _interval(record: Mapping[str, Any] | None) -> Interval | None:
    """None as well where it is not finite."""
    return Interval(**record) if record and all(finite(part) is not None for part in record.values()) else None


def _check(record: Mapping[str, Any]) -> Check:
    return Check(
        record["name"], record["status"], str(record["seen"]), str(record["allowed"]), record.get("look_at", "")
    )


def best_rival(verdict: Verdict) -> Baseline | None:
    """The best of the classical methods that could have been used."""
    sign = 1 if verdict.direction == "minimize" else -1
    rivals = [one for one in verdict.baselines if one.is_rival and finite(one.scores.get(verdict.goal)) is not None]
    return min(rivals, key=lambda one: sign * one.scores[verdict.goal], default=None)


def _agreement(verdict: Verdict) -> Agreement:
    points = tuple(
        (result.candidate.name, result.candidate.cheap, result.full)
        for result in verdict.results
        if result.candidate.cheap is not None and result.full is not None
    )
    cheap, full = [point[1] for point in points], [point[2] for point in points]
    ranks = len(points) >= 3 and len(set(cheap)) > 1 and len(set(full)) > 1
    return Agreement(points, float(stats.spearmanr(cheap, full).statistic) if ranks else None)


def _notes(chosen: Selection, verdict: Verdict | None, folder: RunFolder, sweep: Sweep | None) -> list[str]:
    notes = []
    ended = sweep.ended if sweep else 0
    if ended > chosen.sweep_trials:
        notes.append(
            f"The sweep has gone on: {chosen.sweep_trials} trials had ended when these configurations were "
            f"chosen, {ended} have now. A new promotion would choose among all of them."
        )
    if verdict is None and (folder.path / "verdict.json").exists():
        notes.append("An earlier promotion came to a verdict; this one has not yet, and replaces it.")
    return notes


# -- headline --------------------------------------------------------------------------------------------------------
def _headline(sweep: Sweep | None, promotion: Promotion | None) -> Headline:
    if promotion and promotion.verdict:
        return _verdict_headline(promotion.verdict)
    if promotion:
        return Headline(
            "open",
            "promotion unfinished",
            f"{len(promotion.runs)} of {promotion.planned} runs of the "
            "promotion have ended; its verdict is still open.",
        )
    if sweep and sweep.best:
        return Headline(
            "open",
            "not promoted",
            f"Trial {sweep.best.number} scored best at the cheap fidelity; nothing "
            "has been promoted, so nothing is known about the full one.",
        )
    if sweep and sweep.trials:
        return Headline("no-go" if sweep.counts.get("failed") else "open", "no result", "No trial has been completed.")
    return Headline("open", "not started", "Nothing has been searched yet.")


def _verdict_headline(verdict: Verdict) -> Headline:
    winner = verdict.results[0]
    ahead = winner.ahead_of_default
    if winner.candidate.name == DEFAULT:
        next_best = next((one.ahead_of_default for one in verdict.results if one.ahead_of_default), None)
        tie = next_best is not None and not next_best.excludes_zero
        return Headline("caution", "a tie" if tie else "the default won", verdict.sentence)
    if ahead is None:
        return Headline("caution", "default failed", verdict.sentence)
    if not ahead.excludes_zero:
        return Headline("caution", "a tie", verdict.sentence)
    return (
        Headline("go", "beats the default", verdict.sentence)
        if ahead.mean > 0
        else Headline("no-go", "default is better", verdict.sentence)
    )


# -- the rest of the folder ------------------------------------------------------------------------------------------
def _preflight(folder: RunFolder, identity: Mapping[str, str]) -> Preflight | None:
    if not folder.preflight.exists():
        return None
    record = json.loads(folder.preflight.read_text())
    before = record.get("identity") or {}
    curves = record.get("overfit")
    return Preflight(
        record["status"],
        tuple(_check(one) for one in record["checks"]),
        bool(record.get("forced")),
        finite(record.get("seconds")),
        _overfit(curves) if curves else None,
        {key: value for key, value in (record.get("cost") or {}).items() if finite(value) is not None},
        tuple(sorted(key for key in identity if before.get(key) != identity[key])),
    )


def _overfit(record: Mapping[str, Any]) -> Overfit:
    curves = {
        name: tuple(finite(value) for value in record.get(name) or ()) for name in ("honest", "shuffled", "zeroed")
    }
    return Overfit(record["measure"], record["go"], record["caution"], curves)


def _exhibits(folder: RunFolder, promotion: Promotion | None) -> tuple[Exhibit, ...]:
    index = folder.pictures / "index.json"
    if not index.exists() or (promotion and not promotion.verdict):  # an earlier winner's
        return ()
    return tuple(
        Exhibit(
            one["title"],
            one.get("caption", ""),
            tuple(
                Panel(panel["label"], (folder.pictures / panel["file"]).read_bytes())
                for panel in one.get("panels", ())
                if (folder.pictures / panel["file"]).exists()
            ),
            one.get("figure"),
        )
        for one in json.loads(index.read_text())
    )


def _provenance(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    commands: tuple[Mapping[str, Any], ...],
    promotion: Promotion | None,
) -> Provenance:
    card_path = folder.export / CARD
    judged = promotion is not None and promotion.verdict is not None
    card = json.loads(card_path.read_text()) if judged and card_path.exists() else {}
    versions, whose = (
        (card["versions"], "when the winner was exported")
        if card.get("versions")
        else (commands[-1]["versions"], "of the last command")
        if commands and commands[-1].get("versions")
        else (provenance.versions(), "when this report was written")
    )
    conditions = {
        name: f"where {entry.parent} = {entry.value}" for name, entry in study.space.items() if isinstance(entry, When)
    }
    pruning = (
        "nothing"
        if study.pruning is None
        else ", ".join(f"{key} = {value}" for key, value in plain(study.pruning).items() if key != "class")
    )
    return Provenance(identity, versions, whose, commands, card, folder.export, pruning, conditions)


def logged_commands(folder: RunFolder) -> list[Mapping[str, Any]]:
    """The log's lines; a last one that a crash cut short is passed over."""
    if not folder.commands.exists():
        return []
    found: list[Mapping[str, Any]] = []
    for line in folder.commands.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and "command" in record:
            found.append(record)
    return found
