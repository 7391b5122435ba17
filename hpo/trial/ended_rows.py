"""A study's rows, brought up to date from the folders of its trials. Needs neither torch nor Optuna.

A summary may be older than the folders: its coordinator was killed, or works on a machine whose writes come late.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hpo.engine.checkpoint_files import reached
from hpo.storage.folder import Kind, RunFolder
from hpo.storage.summary import ENDED, Row
from hpo.trial.sealed import ASKED, RESULT, read_sealed, read_waiting


def with_folders(rows: Iterable[Row], folder: RunFolder, kind: Kind) -> list[Row]:
    """The rows of a sweep, or of a promotion, with what has begun, paused or ended since they were made."""
    known = [_from_folder(row, folder, kind) for row in rows]
    numbers = {row.number for row in known}
    epochs = known[0].epochs if known else None
    new = [Row(kind, number, "running", epochs=epochs) for number in folder.numbers(kind) if number not in numbers]
    return known + [_from_folder(row, folder, kind) for row in new]


def _from_folder(row: Row, folder: RunFolder, kind: Kind) -> Row:
    if row.has_ended:
        return row
    path = folder.trial(kind, row.number)
    record = read_sealed(path / RESULT)
    if record is not None and record.get("state") in ENDED:
        return _ended(row, record, _written(path / RESULT))
    begun = replace(row, epoch=max(row.epoch, reached(path) + 1), began=row.began or _written(path / ASKED))
    if begun.state not in ("running", "paused"):
        return begun
    paused = read_waiting(path)
    return replace(begun, state="running") if paused is None else _paused(begun, paused)


def _paused(row: Row, record: dict[str, Any]) -> Row:
    """The row of a trial that waits to be sent on."""
    return replace(row, state="paused", epoch=record["epochs"], best=record.get("value"), seconds=record.get("seconds"))


def _ended(row: Row, record: dict[str, Any], ended: float | None) -> Row:
    """The row of a trial whose outcome is in its folder."""
    value = record.get("value")
    return replace(
        row,
        state=record["state"],
        epoch=record.get("epochs", row.epoch),
        value=value if record["state"] == "complete" else None,
        best=value,
        seconds=record.get("seconds"),
        ended=ended,
        reason=record.get("reason", ""),
        costs=record.get("costs", {}),
    )


def _written(path: os.PathLike[str]) -> float | None:
    """When a file was written; None where there is none."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
