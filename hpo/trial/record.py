"""What a trial's folder says: trial.json, what was asked, and result.json, how it ended.

This is the truth about a trial; the storage is its index, and can be rebuilt from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from hpo.engine.checkpoint_files import reached
from hpo.epoch import Epoch
from hpo.trial import sealed
from hpo.trial.sealed import ASKED, PAUSED, RESULT, read_sealed, write_sealed
from hpo.watchdog.limit import Reached

T = TypeVar("T")

ADDED = {"costs", "limit", "validation_blocks", "validation_units"}  # fields that older records do not have
State = Literal["complete", "pruned", "failed", "paused"]
_READERS: dict[type, TypeAdapter[Any]] = {}  # to make one takes 4 ms, and a resume reads two records of each trial
SPARED_AT = "spared_at"  # the field below, as a user attribute of Optuna's trial


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
    history: tuple[Epoch, ...] = ()
    reason: str = ""  # why it was pruned or failed
    traceback: str = ""
    spared_at: int | None = None  # epoch at which the pruner would have ended it; it was let run
    test: Mapping[str, float] = field(default_factory=dict)  # promotion: scores on the test split
    blocks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # promotion: each score's pseudo-values
    examples: int = 0  # promotion: in the test split
    clusters: int | None = None  # promotion: how many things are independent in the test split; None: each example is
    validation_blocks: tuple[float, ...] = ()  # promotion: the goal's pseudo-values on validation
    validation_units: int = 0  # promotion: how many clusters, or examples, those are of
    chosen: Mapping[str, Any] = field(default_factory=dict)  # promotion: settings that were re-tuned after training
    tried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # promotion: name -> setting -> goal
    limit: Reached | None = None  # that ended it
    costs: Mapping[str, float] = field(default_factory=dict)  # of the configuration, as far as the study asks

    def __post_init__(self) -> None:
        if self.state == "complete" and self.value is None:
            raise ValueError("a complete trial must have a value")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a trial's value must be finite; got {self.value}")


def summary(state: State, history: Sequence[Epoch], **more: Any) -> Outcome:
    """An outcome with the best epoch's value and scores."""
    if not history:
        return Outcome(state, **more)
    last = history[-1]
    return Outcome(
        state,
        value=last.best,
        epochs=len(history),
        best_epoch=last.best_epoch,
        history=tuple(history),
        seconds=sum(epoch.seconds for epoch in history),
        scores=dict(history[last.best_epoch].scores),
        **more,
    )


def write_asked(folder: Path, asked: Asked) -> None:
    write_sealed(folder / ASKED, asdict(asked))


def read_asked(folder: Path) -> Asked | None:
    """What was asked of a trial; None where that was not written, or the file is damaged."""
    return _decode(Asked, read_sealed(folder / ASKED))


def write_outcome(folder: Path, outcome: Outcome, inputs: str) -> None:
    """`inputs` are what the outcome depends on, as a fingerprint."""
    write_sealed(folder / RESULT, {"inputs": inputs, **asdict(outcome)})


def read_outcome(folder: Path, inputs: str | None = None) -> Outcome | None:
    """The outcome in a trial's folder; None where there is none, it is damaged, or is not of these `inputs`."""
    return _read(folder / RESULT, inputs)


def write_pause(folder: Path, outcome: Outcome, inputs: str) -> None:
    """Keep the epochs of a trial that pauses: of a paused trial, this is the truth."""
    write_sealed(folder / PAUSED, {"inputs": inputs, **asdict(outcome)})


def read_pause(folder: Path, inputs: str | None = None) -> Outcome | None:
    """How far the trial had come when it paused last; None as of `read_outcome`."""
    return _read(folder / PAUSED, inputs)


def read_waiting(folder: Path) -> Outcome | None:
    """How far a trial has come that waits to be sent on; None where it does not wait."""
    return _outcome(sealed.read_waiting(folder))


def _read(path: Path, inputs: str | None) -> Outcome | None:
    return _outcome(read_sealed(path), inputs)


def _outcome(record: dict[str, Any] | None, inputs: str | None = None) -> Outcome | None:
    if record is None or inputs not in (None, record.get("inputs")):
        return None
    did_not_fit = record.pop("memory", False)  # written until 0.1: a trial without enough memory was called pruned
    if did_not_fit:
        record["state"] = "failed"
    record.setdefault(SPARED_AT, None)  # not written until 0.1
    return _decode(Outcome, {key: value for key, value in record.items() if key != "inputs"})


def count_deaths(folder: Path, more: int) -> int:
    """How often the trial's workers died since its latest epoch, `more` new deaths included.

    Kept in its folder: the count outlives the process that counts.
    """
    epoch, before = reached(folder), read_sealed(folder / "deaths.json") or {}
    deaths = more + (before["deaths"] if before.get("epoch") == epoch else 0)
    write_sealed(folder / "deaths.json", {"deaths": deaths, "epoch": epoch})
    return deaths


def _decode(kind: type[T], record: dict[str, Any] | None) -> T | None:
    """The record as a dataclass; None unless it has exactly the fields, each of its type.

    A record that was written before a field was added lacks it, and has its default.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if record is None or record.keys() - names or names - record.keys() - ADDED:
        return None
    try:
        decoded: T = _reader(kind).validate_json(json.dumps(record), strict=True)
        return decoded
    except ValidationError:
        return None


def _reader(kind: type) -> TypeAdapter[Any]:
    if kind not in _READERS:
        _READERS[kind] = TypeAdapter(kind)
    return _READERS[kind]
