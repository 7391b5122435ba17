"""A study that nobody works at: what its storage, its status and its folders say of the trials that have begun."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo.page.status import statuses
from hpo.storage.folder import RunFolder
from tests.faults import check
from tests.faults.scene import Scene


def check_standstill(scene: Scene) -> None:
    """I14: what the storage calls paused is paused for status and in its folder; nothing else is, and nothing runs.

    A worker may have written that a trial has paused, and nobody told the storage: then only the storage says that the
    trial runs. Of a study whose records or database were damaged nothing is expected.
    """
    stored = _stored(scene)
    if not scene.exact or not stored:
        return
    (status,) = statuses(scene.runs, None)
    seen = {row.number: row.state for row in status.rows if row.kind == "sweep"}
    paused = {number for number, row in stored.items() if _is_paused(row)}
    said = {number for number, state in seen.items() if state == "paused"}
    written = {number for number in seen if _has_paused(scene.folder / "sweep" / f"{number:04d}")}
    assert status.paused == len(said), f"I14 status counts {status.paused} paused trials, and shows {said}"
    assert paused <= said <= written, f"I14 paused: {paused} in the storage, {said} in status, {written} in folders"
    begun = {number for number, row in stored.items() if row["state"] == "RUNNING"}
    wrong = {number: seen.get(number) for number in begun if seen.get(number) == "running"}
    assert not wrong, f"I14 nobody works at it, and status says {wrong} of what has begun"


def is_over(scene: Scene) -> bool:
    """Whether the sweep has nothing more to do. Where too many of its trials failed it says so each time."""
    (status,) = statuses(scene.runs, None)
    return status.done == status.trials and not status.paused and not status.interrupted and not status.unknown


def _stored(scene: Scene) -> dict[int, dict[str, Any]]:
    """The rows of the sweep; none where there is no sweep yet, or its database is away."""
    name = RunFolder(scene.folder).name_of("soaked")
    query: Callable[[str], list[tuple[Any, ...]]]
    if scene.server:
        query = scene.server.query
    elif (scene.folder / "study.db").exists():
        query = check.sqlite_query(scene.folder / "study.db")
    else:
        return {}
    try:
        return check.rows(query, name)
    except sqlite3.OperationalError:  # killed before its tables were made
        return {}


def _is_paused(row: dict[str, Any]) -> bool:
    attributes = row["attributes"]
    return row["state"] == "RUNNING" and attributes.get("paused_at", 0) == attributes.get("until", -1)


def _has_paused(trial: Path) -> bool:
    """Whether the folder says that the trial has come to where it was last sent."""
    records = [trial / name for name in ("paused.json", "trial.json")]
    if not all(record.exists() for record in records):
        return False
    paused, asked = (json.loads(record.read_text()) for record in records)
    return bool(paused["epochs"] == asked["attributes"].get("until"))
