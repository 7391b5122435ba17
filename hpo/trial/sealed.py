"""JSON records that carry their own checksum: one that was cut short, or changed, is not read."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.files import write_json

ASKED = "trial.json"  # in a trial's folder: what was asked
UNTIL = "until"  # there, among its attributes, and a user attribute of Optuna's trial: the epochs it was last sent to
RESULT = "result.json"  # in a trial's folder: how it has ended
PAUSED = "paused.json"  # how far it had come when it paused last
MAX_BYTES = 2**26  # of a record that is read: thousands of epochs fit
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # JSON has no such numbers


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record with its checksum, whole or not at all."""
    content = _encoded(record)
    write_json(path, {**content, "sha256": _digest(content)})


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The record, or None where there is none, its checksum does not hold, or it is vast."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict) or record.pop("sha256", None) != _digest(record):
            return None
        return {key: _decoded(value) for key, value in record.items()}
    except (ValueError, RecursionError):
        return None


def read_waiting(folder: Path) -> dict[str, Any] | None:
    """The record of a trial that has paused where it was last sent to; None where it has not, or has gone on since."""
    paused = read_sealed(folder / PAUSED)
    asked = None if paused is None else read_sealed(folder / ASKED)
    if paused is None or asked is None or paused.get("epochs") != asked.get("attributes", {}).get(UNTIL):
        return None
    return paused


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _encoded(value: Any) -> Any:
    """Non-finite numbers by name, marked so that no string can be taken for one."""
    if isinstance(value, Mapping):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": json.dumps(value)}
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"number"} and isinstance(value["number"], str) and value["number"] in NON_FINITE:
            return NON_FINITE[value["number"]]
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value
