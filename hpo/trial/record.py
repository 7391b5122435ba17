"""What a trial's folder says: trial.json, what was asked, and result.json, how it ended. This is the truth about a
trial; the storage is its index, and can be rebuilt from it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.engine.checkpoint_files import reached
from hpo.errors import Damaged
from hpo.files import write_json
from hpo.storage.database import REBUILD
from hpo.storage.folder import Kind, RunFolder

State = Literal["complete", "pruned", "failed"]
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}

MAX_BYTES = 2**26  # of a record that is read: thousands of epochs fit
_ODD = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # JSON has no such numbers


@dataclass(frozen=True)
class Asked:
    """What was asked of a trial. Written before it is trained."""

    number: int
    params: Mapping[str, Any]
    attributes: Mapping[str, Any]  # of the trial when it was asked: which candidate and seed, in a promotion
    identity: Mapping[str, str]  # of the study


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. Written to its folder before anybody is told."""

    state: State
    value: float | None = None  # best validation score; None where no epoch was finished
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0  # spent in the epochs, over all attempts
    scores: Mapping[str, float] = field(default_factory=dict)  # of the best epoch
    history: tuple[Mapping[str, Any], ...] = ()  # an epoch each: loss, terms, scores, grad_norm, ...
    reason: str = ""  # why it was pruned or failed
    memory: bool = False  # it did not fit
    traceback: str = ""
    test: Mapping[str, float] = field(default_factory=dict)  # promotion: scores on the test split
    units: tuple[float, ...] = ()  # promotion: the goal of each unit of the test split (heldout.py)
    chosen: Mapping[str, Any] = field(default_factory=dict)  # promotion: settings chosen after training (rescore.py)
    tried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # promotion: name -> setting -> goal


def write_asked(folder: Path, asked: Asked) -> None:
    _write(folder / "trial.json", asdict(asked))


def asked_of(folder: Path) -> Asked | None:
    """What was asked of a trial; None where that was not written, or the file is damaged."""
    record = _read(folder / "trial.json")
    return Asked(**record) if record is not None and _holds(record, _ASKED) else None


def write_outcome(folder: Path, outcome: Outcome, inputs: str) -> None:
    """`inputs` are what the outcome depends on, as a fingerprint."""
    _write(folder / "result.json", {"inputs": inputs, **asdict(outcome)})


def outcome_in(folder: Path, inputs: str | None = None) -> Outcome | None:
    """The outcome that a trial has left in its folder; None where there is none, it is damaged, or is not of these
    `inputs`."""
    record = _read(folder / "result.json")
    if record is None or inputs not in (None, record.get("inputs")):
        return None
    record.pop("inputs", None)
    return _outcome(record)


def _outcome(record: dict[str, Any]) -> Outcome | None:
    if not _holds(record, _OUTCOME) or record["state"] not in get_args(State):
        return None
    value = record["value"]
    if (value is None and record["state"] == "complete") or (value is not None and not math.isfinite(value)):
        return None
    return Outcome(**{**record, "history": tuple(record["history"]), "units": tuple(record["units"])})


def _holds(record: dict[str, Any], kinds: dict[str, Any]) -> bool:
    return set(record) == set(kinds) and all(_is(record[name], kind) for name, kind in kinds.items())


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    if kind is tuple:  # of an epoch's record, or of numbers
        return isinstance(value, list) and all(isinstance(item, dict | float) for item in value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


_ASKED: dict[str, type | tuple[type, ...]] = {"number": int, "params": dict, "attributes": dict, "identity": dict}
_OUTCOME: dict[str, type | tuple[type, ...]] = {
    "state": str,
    "value": (float, type(None)),
    "epochs": int,
    "best_epoch": int,
    "seconds": (float, int),
    "scores": dict,
    "history": tuple,
    "reason": str,
    "memory": bool,
    "traceback": str,
    "test": dict,
    "units": tuple,
    "chosen": dict,
    "tried": dict,
}


def count_deaths(folder: Path, more: int) -> int:
    """Deaths of the trial's workers since its latest epoch, with `more` new ones. Kept in its folder: they outlive the
    process that counts."""
    epoch, before = reached(folder), _read(folder / "deaths.json") or {}
    deaths = more + (before["deaths"] if before.get("epoch") == epoch else 0)
    _write(folder / "deaths.json", {"deaths": deaths, "epoch": epoch})
    return deaths


def compare(study: optuna.Study, folder: RunFolder, kind: Kind) -> None:
    """Raise Damaged unless every trial of the storage is what its folder says."""
    try:
        trials = study.get_trials(deepcopy=False)
    except (LookupError, ValueError, TypeError, AssertionError) as error:
        raise Damaged(f"the storage {folder.storage} cannot be read ({error!r}); {REBUILD}") from error
    wrong = [f"trial {number}: is not in the storage" for number in folder.numbers(kind) if number >= len(trials)]
    for trial in trials:
        said = _difference(trial, folder.trial(kind, trial.number))
        wrong += [f"trial {trial.number}: {said}"] if said else []
    if wrong:
        more = f"\n  and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise Damaged(
            f"the storage {folder.storage} and the folders in {folder.path / kind} say different things:\n  "
            + "\n  ".join(wrong[:5])
            + f"{more}\nthe folders are the truth; {REBUILD}"
        )


def _difference(trial: FrozenTrial, folder: Path) -> str:
    asked = asked_of(folder)
    if asked and {name: asked.params.get(name) for name in trial.params} != trial.params:
        return f"params are {trial.params}, and {dict(asked.params)} in its folder"
    if not trial.state.is_finished():
        return ""
    outcome = outcome_in(folder)
    if outcome is None:
        return f"{trial.state.name} in the storage, and its folder has no whole result.json"
    if asked is None or dict(asked.params) != trial.params:
        return "its folder has no whole trial.json"
    value = trial.value if outcome.state == "complete" else outcome.value
    if (trial.state, value) != (STATES[outcome.state], outcome.value):
        return f"{trial.state.name} {trial.value} in the storage, and {outcome.state} {outcome.value} in its folder"
    reported = [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
    curve = [epoch["best"] for epoch in outcome.history]  # the pruner compares others with it
    return f"its folder has another curve: {curve}, not {reported}" if reported[: len(curve)] != curve else ""


def _write(path: Path, record: Mapping[str, Any]) -> None:
    content = _encoded(record)
    write_json(path, {**content, "sha256": _digest(content)})


def _read(path: Path) -> dict[str, Any] | None:
    """A record whose checksum holds, or None."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict) or record.pop("sha256", None) != _digest(record):
            return None
        return _decoded(record)
    except (ValueError, RecursionError):
        return None


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _encoded(value: Any) -> Any:
    """Non-finite numbers as their names, marked so that no string can be taken for one."""
    if isinstance(value, Mapping):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": json.dumps(value)}
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"number"} and isinstance(value["number"], str) and value["number"] in _ODD:
            return _ODD[value["number"]]
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value
