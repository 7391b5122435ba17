"""What a study's run folder says, as the harness's block of its record. Writes nothing."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from hpo.ledger.record import NOT_APPLICABLE, NOT_MEASURED
from hpo.page.collect_promotion import best_rival, read_verdict
from hpo.page.decoding import decode_commands, decode_preflight
from hpo.page.findings import LoggedCommand
from hpo.page.status import Status, statuses
from hpo.plain import fingerprint
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.intervals import Interval
from hpo.promotion.results import Verdict
from hpo.promotion.selection import read_selection
from hpo.space import describe
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder, promotion_name
from hpo.storage.held import is_held
from hpo.storage.reading import all_trials
from hpo.trial.artifact import CARD
from hpo.trial.lifecycle import state_of
from hpo.trial.weights import WEIGHTS

FURTHER = ("study", "sweep", "promotion", "files")  # of the block of a study that is not the record's first
_PLACES = ("--runs", "--data", "--storage", "--scheduler")  # options that name a place on one machine


# -- the block of a study --------------------------------------------------------------------------------------------
def harvest(folder: RunFolder) -> dict[str, Any] | None:
    """The block of a study; None where its storage is missing beside its trials, or unreadable."""
    name = folder.path.name
    status = statuses(folder.path.parent, name)[0]
    try:
        stored_sweep = stored_study(folder, name)
        stored_promotion = stored_study(folder, promotion_name(name))
        trials = all_trials(stored_sweep) if stored_sweep else []
        runs = all_trials(stored_promotion) if stored_promotion else []
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError):
        return None
    has_run = status.trials is not None or bool(folder.numbers("sweep"))  # says the summary, or the folders
    if has_run and stored_sweep is None:
        return None
    selection = read_selection(folder)
    verdict = read_verdict(folder, selection) if selection else None
    identity = _identity(stored_sweep)
    commands = [command for command in decode_commands(folder) if command.versions]
    block = {
        "study": _study(folder, status, identity, trials + runs, commands),
        "identity": identity,
        "space": _space(trials),
        "sweep": _sweep(status, trials, identity),
        "promotion": _promotion(status, runs, verdict, _identity(stored_promotion)),
        "winner": _winner(folder) if verdict else {},
        "baselines": _baselines(verdict) if verdict else {},
        "versions": dict(commands[-1].versions) if commands else {},
        "files": _files(folder),
    }
    cleaned: dict[str, Any] = _without_none(block)
    return cleaned


def further(block: dict[str, Any]) -> dict[str, Any]:
    """What a record keeps of a study that is not its first."""
    return {key: block[key] for key in FURTHER if key in block}


def _identity(stored: optuna.Study | None) -> dict[str, str]:
    return dict(stored.user_attrs.get("identity", {})) if stored else {}


def _space(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """What was searched, by the trials' own account."""
    return {name: describe(entry) for trial in trials for name, entry in trial.distributions.items()}


def _baselines(verdict: Verdict) -> dict[str, float | None]:
    return {baseline.name: digits(baseline.scores[verdict.goal]) for baseline in verdict.baselines}


def _study(
    folder: RunFolder,
    status: Status,
    identity: Mapping[str, str],
    trials: Sequence[FrozenTrial],
    commands: Sequence[LoggedCommand],
) -> dict[str, Any]:
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    preflight = decode_preflight(folder)
    return {
        "name": status.study,
        "state": _state(folder, status),
        "goal": identity.get("goal"),
        "direction": identity.get("direction"),
        "preflight": status.preflight,
        "forced": True if preflight and preflight.forced else None,
        "began": _utc(min(starts, default=None)),
        "ended": _utc(max(ends, default=None)),
        "commands": list(dict.fromkeys(_portable(command.argv) for command in commands)),
    }


def _state(folder: RunFolder, status: Status) -> str:
    if status.trials is None:
        return "none"
    if is_held(folder):
        return "running"
    is_sweep_over = status.done >= status.trials or bool(status.ended)
    is_unfinished = not is_sweep_over or status.promotion_state == "unfinished"
    return "interrupted" if is_unfinished else "complete"


def _sweep(status: Status, trials: Sequence[FrozenTrial], identity: Mapping[str, str]) -> dict[str, Any]:
    if status.trials is None:
        return {}
    reasons = dict.fromkeys(
        str(trial.user_attrs.get("reason", "")).partition("\n")[0] for trial in trials if state_of(trial) == "failed"
    )
    best = next((trial for trial in trials if trial.number == status.best_trial), None)
    default = next((trial for trial in trials if trial.number == 0 and trial.state is TrialState.COMPLETE), None)
    return {
        "trials": status.trials,
        "complete": status.complete,
        "pruned": status.pruned,
        "failed": status.failed,
        "best": NOT_MEASURED if best is None else digits(status.best),
        "best_trial": status.best_trial,
        "default": digits(default.value) if default else NOT_MEASURED,
        "seconds": _seconds(trials),
        "eval": evaluation(identity),
        "failures": [reason for reason in reasons if reason][:3],
        "settings": dict(best.params) if best else {},
    }


def _promotion(
    status: Status, runs: Sequence[FrozenTrial], verdict: Verdict | None, identity: Mapping[str, str]
) -> dict[str, Any]:
    if verdict is None:
        return {} if status.promotion_state == "not run" else {"progress": status.promotion}
    winner = verdict.winning
    is_default = winner.candidate.name == DEFAULT
    return {
        "winner": winner.candidate.name,
        "sentence": verdict.sentence,
        "seeds": len(winner.runs),
        "validation": digits(winner.full),
        "test": _triple(winner.test),
        "lead_over_default": NOT_APPLICABLE if is_default else _triple(winner.ahead_of_default),
        **_against_baseline(verdict),
        **({"doubt": verdict.sample.doubt} if verdict.sample.doubt else {}),
        "seconds": _seconds(runs),
        "eval": evaluation(identity),
        "data": identity.get("data"),
        "fidelity": identity.get("fidelity"),
        "no_go": [check.name for check in verdict.checks if check.status == "no-go"],
        "settings": dict(winner.candidate.params),
        "scores": {name: digits(score) for name, score in winner.scores.items()},
        "others": {result.candidate.name: _triple(result.test) for result in verdict.results[1:]},
    }


def _against_baseline(verdict: Verdict) -> dict[str, Any]:
    best = best_rival(verdict)
    if best is None:
        return {"lead_over_baseline": NOT_APPLICABLE}
    lead = verdict.winning.ahead_of_baselines.get(best.name)
    return {"best_baseline": best.name, "lead_over_baseline": _triple(lead)}


def evaluation(identity: Mapping[str, str]) -> str | None:
    """What two results must have in common to be ranked: goal, direction, data and fidelity."""
    parts = [identity.get(key) for key in ("goal", "direction", "data", "fidelity")]
    return fingerprint(parts) if all(parts) else None


def _winner(folder: RunFolder) -> dict[str, Any]:
    path = folder.export / CARD
    if not path.exists():
        return {}
    card = json.loads(path.read_text())
    if "sha256" in card:
        weights, digest = folder.export / WEIGHTS, card["sha256"]
    else:  # of a task that trains itself: the first of the files that it has exported, or the card itself
        weights = min(folder.export.iterdir())
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return {
        "weights": f"{folder.export.name}/{weights.name}",
        "sha256": digest,
        "bytes": weights.stat().st_size if weights.exists() else None,
        "code": card["code"],
        "task": card["task"],
        "fidelity": card["fidelity"],
        "recipe": card["recipe"],
        "fields": {name: value for name, value in card["fields"].items() if not str(value).startswith("/")},
    }


def _files(folder: RunFolder) -> dict[str, Any]:
    """What there is to read, within the study's folder."""
    named = {
        "report": folder.report,
        "verdict": folder.verdict,
        "commands": folder.commands,
        "events": folder.events,
    }
    return {name: path.name for name, path in named.items() if path.exists()}


def _portable(argv: Sequence[str]) -> str:
    """The command as a shell reads it, without where things lay on the machine that it ran on."""
    words, kept = list(argv), []
    while words:
        word = words.pop(0)
        option, equals_sign, _ = word.partition("=")
        if option not in _PLACES:
            kept.append(Path(word).name if word.startswith("/") else word)
        elif not equals_sign and words:
            words.pop(0)  # the place
    return shlex.join(kept)


def _triple(interval: Interval | None) -> list[float | None] | str:
    """Mean, low and high."""
    if interval is None:
        return NOT_MEASURED
    return [digits(interval.mean), digits(interval.low), digits(interval.high)]


def digits(value: float | None) -> float | None:
    """Six significant digits: what a reader compares."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _seconds(trials: Sequence[FrozenTrial]) -> float:
    return round(math.fsum(trial.user_attrs.get("seconds", 0.0) for trial in trials), 1)


def _utc(moment: datetime | None) -> str | None:
    """Optuna's times are the machine's own."""
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


def _without_none(value: Any) -> Any:
    """Without what is not there: TOML has no null, and an empty table says nothing."""
    if isinstance(value, dict):
        kept = {str(key): _without_none(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None and item not in ({}, [])}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value if item is not None]
    return value
