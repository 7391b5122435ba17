"""The records in a study's folder, decoded into their dataclasses. Where a number was not finite they have a null."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hpo.errors import Damaged
from hpo.page.findings import LoggedCommand, PreflightFindings
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.results import Verdict
from hpo.storage.folder import RunFolder

T = TypeVar("T")

_INTERVAL = {"mean", "low", "high"}


def decode_preflight(folder: RunFolder) -> PreflightFindings | None:
    """The record of the preflight, if there is one. Raises Damaged where it is none."""
    if not folder.preflight.exists():
        return None
    return _decode(PreflightFindings, folder.preflight, _with_text(_load(folder.preflight)))


def decode_verdict(folder: RunFolder) -> Verdict:
    """The verdict in the folder. An interval that is not finite is None, and any other such number NaN.

    Raises Damaged where the file is no verdict.
    """
    return _with_leader(_decode(Verdict, folder.verdict, _restored(_with_text(_load(folder.verdict)))))


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise Damaged(f"{path} is damaged: {error}") from error


def _decode(kind: type[T], path: Path, record: Any) -> T:
    try:
        return TypeAdapter(kind).validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise Damaged(f"{path} is damaged: {place}: {first['msg']}") from error


def _with_text(record: Any) -> Any:
    """The record with text in its checks, where a task may have put numbers."""
    if not isinstance(record, dict) or "checks" not in record:
        return record
    checks = []
    for check in record["checks"]:
        texts = {key: str(value) for key, value in check.items() if key in ("seen", "allowed")}
        checks.append({**check, **texts})
    return {**record, "checks": checks}


def _with_leader(verdict: Verdict) -> Verdict:
    """The verdict with its leader, which those of older versions do not name: the best beside the default."""
    if verdict.rounds:
        return verdict
    names = [result.candidate.name for result in verdict.results if result.full is not None]
    return replace(verdict, leader=next((name for name in names if name != DEFAULT), None))


def _restored(record: Any) -> Any:
    """A part of the verdict's record with what its nulls stand for."""
    if isinstance(record, list):
        return [math.nan if item is None else _restored(item) for item in record]
    if not isinstance(record, dict):
        return record
    if record.keys() >= _INTERVAL and None in record.values():
        return None
    return {key: _restored_field(key, value) for key, value in record.items()}


def _restored_field(key: str, value: Any) -> Any:
    restored = _restored(value)
    if key == "ahead_of_baselines":
        return {name: interval for name, interval in restored.items() if interval is not None}
    if key in ("scores", "test") and isinstance(restored, dict):
        return {name: math.nan if score is None else score for name, score in restored.items()}
    return restored


def decode_commands(folder: RunFolder) -> tuple[LoggedCommand, ...]:
    """The commands in the study's log, oldest first. A line that a crash cut short is passed over."""
    if not folder.commands.exists():
        return ()
    lines = folder.commands.read_text(errors="replace").splitlines()
    return tuple(command for command in map(_decode_command, lines) if command is not None)


def _decode_command(line: str) -> LoggedCommand | None:
    try:
        record = json.loads(line)
        if "argv" not in record:
            record["argv"] = _split(record["command"])
        return TypeAdapter(LoggedCommand).validate_python(record)
    except (json.JSONDecodeError, ValidationError, KeyError, TypeError):
        return None


def _split(command: str) -> list[str]:
    """The words of a command that was logged as one string, which older versions did without quoting."""
    try:
        return shlex.split(command)
    except ValueError:  # a quotation mark without its other half
        return command.split()
