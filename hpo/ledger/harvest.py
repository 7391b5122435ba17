"""What a study's run folder says, as the harness's block of its record. Reads runs, and writes records alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.cli.terminal import complain, say
from hpo.ledger.folder import HARNESS, Ledger
from hpo.ledger.record import CONCLUDED, NOT_APPLICABLE, NOT_MEASURED, Record
from hpo.ledger.verdicts import moved
from hpo.page import collect
from hpo.page.status import Status, statuses
from hpo.plain import fingerprint
from hpo.promotion import selection
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.intervals import Interval
from hpo.promotion.verdict import Verdict
from hpo.space import describe
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.locks import is_held
from hpo.trial.artifact import CARD, WEIGHTS

LEDGER = "experiments"
REHEARSAL = "-smoke"  # the end of a rehearsed study's name: like a preflight, no experiment unless a record names it
_ELSEWHERE = ("--runs", "--data", "--storage", "--scheduler")  # where, on one machine


class Synced(NamedTuple):
    """What came of bringing one study's record up to date."""

    study: str
    id: str
    said: str


def sync(ledger: Ledger, runs: Path, study: str | None = None) -> list[Synced]:
    """Bring the records of all studies in a folder, or of one, up to date; a study without a record gets one.

    Raises Refused where nothing has been run. A study that cannot be read leaves its record as it was, and a concluded
    one is frozen; both are said.
    """
    names = [study] if study else [one.study for one in statuses(runs, None)]
    found = {name: harvest(RunFolder(runs / name)) for name in names}
    began = {name: (block or {}).get("study", {}).get("began", "") for name, block in found.items()}
    ledger.make()
    with ledger.locked():
        return [
            one
            for name in sorted(names, key=lambda name: (began[name], name))
            if (one := _enter(ledger, name, found[name]))
        ]


@contextmanager
def entered(folder: RunFolder, *, quiet: bool = False) -> Iterator[None]:
    """Where there is a ledger beside the folder of studies, a study is in it when this ends, however it ends. Trouble
    with the ledger is said, and is no failure of the study's."""
    runs = folder.path.absolute().parent
    ledger = Ledger(runs.parent / LEDGER)
    try:
        yield
    finally:
        if ledger.path.is_dir():
            try:
                for one in sync(ledger, runs, folder.path.name):
                    if not quiet and "->" in one.said:
                        say(f"ledger: {one.id}: {one.said}")
            except Exception as error:
                complain(f"the ledger was not brought up to date ({error}); hpo ledger sync")


def _enter(ledger: Ledger, name: str, block: dict[str, Any] | None) -> Synced | None:
    record = ledger.of_study(name)
    if record is None and (name.endswith(REHEARSAL) or (block and "sweep" not in block)):
        return None
    if block is None:
        return Synced(name, record.id if record else "–", "not read: hpo status says why; its record stays as it was")
    if record is None:
        record = ledger.create(
            ledger.next_id(name), {"title": "", "study": name}, who=HARNESS, at=block["study"].get("began", "")
        )
    kept = {key: record.kept[key] for key in ("status", "history")} | block
    if record.status in CONCLUDED:
        changed = record.kept != kept
        return Synced(
            name,
            record.id,
            record.status + (", and its study has changed since: set it to wip to take that up" if changed else ""),
        )
    before, record = record.status, _advanced(replace(record, kept=kept))
    ledger.write(record)
    return Synced(name, record.id, record.status if record.status == before else f"{before} -> {record.status}")


def _advanced(record: Record) -> Record:
    """Work begins with the first trial, and ends when nothing that was asked for is left to do: at the times that the
    trials have, so that it does not matter when the ledger was told."""
    study = record.kept["study"]
    for before, to, when, there in (
        ("planned", "wip", "began", study["state"] != "none"),
        ("wip", "analysis", "ended", study["state"] == "complete"),
    ):
        if record.status == before and there:
            at = max(study.get(when, ""), *(str(one["at"]) for one in record.history))
            record = moved(record, to, at=at, who=HARNESS)
    return record


def harvest(folder: RunFolder) -> dict[str, Any] | None:
    """The block of a study; None where its storage is missing beside its trials, or unreadable."""
    status = statuses(folder.path.parent, folder.path.name)[0]
    if status.promotion.startswith("storage unreadable") or (status.trials is None and folder.numbers("sweep")):
        return None
    swept, promoted = (stored_study(folder, f"{folder.path.name}{end}") for end in ("", ".promotion"))
    trials = swept.get_trials(deepcopy=False) if swept else []
    runs = promoted.get_trials(deepcopy=False) if promoted else []
    chosen = selection.read_selection(folder)
    verdict = collect.read_verdict(folder, chosen) if chosen else None
    identity = dict(swept.user_attrs.get("identity", {})) if swept else {}
    full = dict(promoted.user_attrs.get("identity", {})) if promoted else {}
    commands = [one for one in collect.logged_commands(folder) if "versions" in one]
    block = {
        "study": _study(folder, status, identity, trials + runs, commands),
        "identity": identity,
        "space": {name: describe(one) for trial in trials for name, one in trial.distributions.items()},
        "sweep": _sweep(status, trials, identity),
        "promotion": _promotion(status, runs, verdict, full),
        "winner": _winner(folder) if verdict else {},
        "baselines": {one.name: digits(one.scores[verdict.goal]) for one in verdict.baselines} if verdict else {},
        "versions": commands[-1]["versions"] if commands else {},
        "files": _files(folder),
    }
    return _without_none(block)


def _study(
    folder: RunFolder,
    status: Status,
    identity: dict[str, str],
    trials: Sequence[FrozenTrial],
    commands: Sequence[Any],
) -> dict[str, Any]:
    starts = [one.datetime_start for one in trials if one.datetime_start]
    ends = [one.datetime_complete for one in trials if one.datetime_complete]
    forced = folder.preflight.exists() and json.loads(folder.preflight.read_text()).get("forced")
    return {
        "name": status.study,
        "state": _state(folder, status),
        "goal": identity.get("goal"),
        "direction": identity.get("direction"),
        "preflight": status.preflight,
        "forced": forced or None,
        "began": _utc(min(starts, default=None)),
        "ended": _utc(max(ends, default=None)),
        "commands": list(dict.fromkeys(_portable(one["command"]) for one in commands)),
    }


def _state(folder: RunFolder, status: Status) -> str:
    if status.trials is None:
        return "none"
    if is_held(folder):
        return "running"
    begun_promotion = status.promotion != "not run" and not status.promotion.startswith("winner")
    return "interrupted" if status.done < status.trials or begun_promotion else "complete"


def _sweep(status: Status, trials: Sequence[FrozenTrial], identity: dict[str, str]) -> dict[str, Any]:
    if status.trials is None:
        return {}
    reasons = dict.fromkeys(
        str(one.user_attrs.get("reason", "")).partition("\n")[0] for one in trials if one.state is TrialState.FAIL
    )
    best = next((one for one in trials if one.number == status.best_trial), None)
    default = next((one for one in trials if one.number == 0 and one.state is TrialState.COMPLETE), None)
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
        "failures": [one for one in reasons if one][:3],
        "settings": dict(best.params) if best else {},
    }


def _promotion(
    status: Status, runs: Sequence[FrozenTrial], verdict: Verdict | None, identity: dict[str, str]
) -> dict[str, Any]:
    if verdict is None:
        return {} if status.promotion == "not run" else {"progress": status.promotion}
    winner, best = verdict.results[0], collect.best_rival(verdict)
    lead = NOT_APPLICABLE if winner.candidate.name == DEFAULT else _three(winner.ahead_of_default)
    against = (
        {"best_baseline": best.name, "lead_over_baseline": _three(winner.ahead_of_baselines.get(best.name))}
        if best
        else {"lead_over_baseline": NOT_APPLICABLE}
    )
    return {
        "winner": winner.candidate.name,
        "sentence": verdict.sentence,
        "seeds": len(winner.runs),
        "validation": digits(winner.full),
        "test": _three(winner.test),
        "lead_over_default": lead,
        **against,
        "seconds": _seconds(runs),
        "eval": evaluation(identity),
        "data": identity.get("data"),
        "fidelity": identity.get("fidelity"),
        "no_go": [check.name for check in verdict.checks if check.status == "no-go"],
        "settings": dict(winner.candidate.params),
        "scores": {name: digits(one) for name, one in winner.scores.items()},
        "others": {one.candidate.name: _three(one.test) for one in verdict.results[1:]},
    }


def evaluation(identity: dict[str, str]) -> str | None:
    """What two results must have in common to be ranked: goal, direction, data and fidelity."""
    parts = [identity.get(key) for key in ("goal", "direction", "data", "fidelity")]
    return fingerprint(parts) if all(parts) else None


def _winner(folder: RunFolder) -> dict[str, Any]:
    path, weights = folder.export / CARD, folder.export / WEIGHTS
    if not path.exists():
        return {}
    card = json.loads(path.read_text())
    return {
        "weights": f"{folder.export.name}/{WEIGHTS}",
        "sha256": card["sha256"],
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
        "verdict": folder.path / "verdict.json",
        "commands": folder.commands,
        "events": folder.events,
    }
    return {name: path.name for name, path in named.items() if path.exists()}


def _portable(command: str) -> str:
    """The command without where things lay on the machine that it ran on."""
    words, kept = iter(command.split()), []
    for word in words:
        if word in _ELSEWHERE:
            next(words, None)
        elif not word.startswith(tuple(f"{option}=" for option in _ELSEWHERE)):
            kept.append(Path(word).name if word.startswith("/") else word)
    return " ".join(kept)


def _three(one: Interval | None) -> Any:
    return [digits(one.mean), digits(one.low), digits(one.high)] if one else NOT_MEASURED


def digits(value: float | None) -> float | None:
    """Six significant digits: what a reader compares."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _seconds(trials: Sequence[optuna.trial.FrozenTrial]) -> float:
    return round(sum(one.user_attrs.get("seconds", 0.0) for one in trials), 1)


def _utc(moment: datetime | None) -> str | None:
    """Optuna's times are the machine's own."""
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


def _without_none(value: Any) -> Any:
    """Without what is not there: TOML has no null, and an empty table says nothing."""
    if isinstance(value, dict):
        kept = {str(key): _without_none(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one is not None and one not in ({}, [])}
    return [_without_none(one) for one in value if one is not None] if isinstance(value, list | tuple) else value
