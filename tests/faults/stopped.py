"""Faults that strike the study of a scene between two commands."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults import check, processes
from tests.faults.scene import DAMAGED, REFUSED, Fault, Scene


def checkpoint_damaged(scene: Scene) -> bool:
    return _spoil(scene, list(scene.folder.glob("*/*/epoch-*.pt")))


def record_damaged(scene: Scene) -> bool:
    """Of a trial that has ended or paused: what it came to is lost, and it is trained again, among others than
    before."""
    records = [path for name in ("result", "trial", "paused") for path in scene.folder.glob(f"sweep/*/{name}.json")]
    struck = _spoil(scene, records)
    if struck:
        scene.exact = False
        scene.excused |= {DAMAGED}
    return struck


def database_damaged(scene: Scene) -> bool:
    """Cut, wiped, removed, or one bit of it flipped, which may be anywhere."""
    database = scene.folder / "study.db"
    if scene.server:
        scene.server.query(
            scene.rng.choice(
                [
                    "UPDATE trial_values SET value = value - 1",
                    "DELETE FROM trial_params WHERE trial_id % 2 = 0",
                    "UPDATE trials SET state = 'FAIL' WHERE state = 'COMPLETE'",
                    "UPDATE trial_intermediate_values SET intermediate_value = intermediate_value + 1",
                ]
            )
        )
        scene.tainted = True  # a trial that runs has reported something else than it will compute
        scene.exact = False
    elif not database.exists():
        return False
    else:
        kind = scene.rng.choice(["cut", "empty", "gone", "flip", "flip", "page"])
        content = bytearray(database.read_bytes())
        if kind == "gone":
            database.unlink()
        elif kind == "flip":
            content[scene.rng.randrange(len(content))] ^= 1 << scene.rng.randrange(8)
            database.write_bytes(content)
            scene.tainted, scene.exact = True, False
        elif kind == "page":
            at = scene.rng.randrange(len(content) // 4096) * 4096
            content[at : at + 4096] = bytes(4096)
            database.write_bytes(content)
            scene.tainted, scene.exact = True, False
        else:
            os.truncate(database, len(content) // 2 if kind == "cut" else 0)
    scene.excused |= {DAMAGED, REFUSED}
    return True


def log_cut(scene: Scene) -> bool:
    log = scene.folder / "events.log"
    if not log.exists() or log.stat().st_size < 10:
        return False
    os.truncate(log, log.stat().st_size - scene.rng.randrange(1, 10))
    return True


def failed_trials_retried(scene: Scene) -> bool:
    """By their owner, who does not know that some of them fail on purpose. Those that hang would take too long."""
    if scene.deed == "hang" or not any(record["state"] == "failed" for record in _results(scene)):
        return False
    code = processes.code_of(scene.command("retry"))
    if code not in (0, DAMAGED, REFUSED, *scene.excused):
        raise AssertionError(f"hpo retry ended with {code}")
    scene.exact = False
    return True


def _results(scene: Scene) -> list[dict[str, Any]]:
    """The records of the trials that have ended, without those that were damaged."""
    records = []
    for path in scene.folder.glob("sweep/*/result.json"):
        with suppress(ValueError):
            records.append(json.loads(path.read_bytes()))
    return records


def namesake_tries(scene: Scene) -> bool:
    """A colleague's study of the same name, in a folder of his own: he is told that the name is taken."""
    return _refused(scene, lambda folder: None, {REFUSED})


def older_copy_tries(scene: Scene) -> bool:
    """A copy of the folder that lacks a finished trial, as a backup does."""

    def copy(folder: Path) -> None:
        shutil.copytree(scene.folder, folder)
        shutil.rmtree(folder / "sweep" / f"{scene.rng.choice(_finished(scene)):04d}")

    return _refused(scene, copy, {DAMAGED, REFUSED})


def _refused(scene: Scene, prepare: Callable[[Path], None], codes: set[int]) -> bool:
    """Let another folder sweep and rebuild in the database of this one: both are refused, and nothing changes there."""
    if not scene.server or not scene.folder.joinpath("owner").exists() or not _finished(scene):
        return False
    other = replace(scene, runs=scene.runs.with_name(f"{scene.runs.name}-other"), pids=[])
    other.runs.mkdir()
    prepare(other.folder)
    before = scene.server.query("SELECT trial_id, state FROM trials ORDER BY trial_id")
    for verb in ("sweep", "promote"):
        code = processes.code_of(other.command(verb))
        if code not in codes:
            raise AssertionError(f"hpo {verb} in another folder ended with {code}; allowed were {codes}")
    if scene.server.query("SELECT trial_id, state FROM trials ORDER BY trial_id") != before:
        raise AssertionError("another folder changed the trials")
    shutil.rmtree(other.runs)
    other.log.unlink(missing_ok=True)
    return True


def _finished(scene: Scene) -> list[int]:
    """The trials that have ended, says the server. A record that was damaged since is no end: its trial goes on."""
    rows = check.rows(scene.server.query, "soaked")
    return [number for number, row in rows.items() if row["state"] not in ("RUNNING", "WAITING")]


def _spoil(scene: Scene, paths: list[Path]) -> bool:
    if not paths:
        return False
    path = scene.rng.choice(sorted(paths))
    content = bytearray(path.read_bytes())
    if content and scene.rng.random() < 0.5:
        content[scene.rng.randrange(len(content))] ^= 1 << scene.rng.randrange(8)
    else:
        del content[scene.rng.randrange(len(content) + 1) :]
    path.write_bytes(content)
    return True


WHILE_IT_IS_STOPPED: list[Fault] = [
    checkpoint_damaged,
    checkpoint_damaged,
    record_damaged,
    database_damaged,
    log_cut,
    failed_trials_retried,
    failed_trials_retried,
    namesake_tries,
    older_copy_tries,
]
