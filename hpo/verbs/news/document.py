"""An event as the command of `--notify` reads it: one JSON document. docs/notify.md has its fields."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from hpo.errors import HpoError, Stopped, StoppedEarly, one_line
from hpo.plain import nulled, plain
from hpo.promotion.results import Verdict
from hpo.storage.folder import Kind, RunFolder
from hpo.storage.summary import Row
from hpo.trial.lifecycle import Standing
from hpo.trial.record import read_asked, read_outcome
from hpo.verbs.news.ended import Ended, ended_line

VERSION = 1  # of the documents; a field that is added changes nothing


def document(event: str, text: str, folder: RunFolder, **fields: Any) -> dict[str, Any]:
    """What every event has, and its own fields. NaN and infinity are null."""
    common = {
        "version": VERSION,
        "event": event,
        "text": text,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "study": folder.path.name,
        "folder": str(folder.path.absolute()),
    }
    result = nulled(plain({**common, **fields}))
    assert isinstance(result, dict)
    return result


def of_trial(event: str, ended: Ended, folder: RunFolder) -> dict[str, Any]:
    """A trial of the sweep, or a run of the promotion, that has ended."""
    now = ended.now
    return document(
        event,
        ended_line(ended),
        folder,
        stage=now.stage,
        goal=now.goal,
        direction=now.direction,
        trial={**asdict(ended.row), **_recorded(ended.row, folder)},
        done=ended.done,
        of=ended.of,
        best=None if ended.best is None else asdict(ended.best),
        seconds_left=now.seconds_left,
    )


def of_sweep(standing: Standing, text: str, folder: RunFolder) -> dict[str, Any]:
    return document("sweep_ended", text, folder, **asdict(standing))


def of_promotion(verdict: Verdict, folder: RunFolder) -> dict[str, Any]:
    return document(
        "promotion_ended", verdict.sentence, folder, winner=verdict.winner, verdict=str(folder.verdict.absolute())
    )


def of_error(error: BaseException, folder: RunFolder) -> dict[str, Any]:
    """The command has ended early: somebody has stopped it, or something failed."""
    is_stopped = isinstance(error, KeyboardInterrupt | StoppedEarly)
    return document("stopped" if is_stopped else "failed", sentence(error), folder, error=type(error).__name__)


def sentence(error: BaseException) -> str:
    """Why a command has ended early."""
    if isinstance(error, Stopped | KeyboardInterrupt):
        return "stopped; nothing that was done is lost, and the same command goes on"
    return error.sentence if isinstance(error, HpoError) else one_line(error)


def _recorded(row: Row, folder: RunFolder) -> Mapping[str, Any]:
    """What the trial's folder says beside its row."""
    kind: Kind = "promotion" if row.kind == "promotion" else "sweep"
    trial = folder.trial(kind, row.number)
    asked = outcome = None
    with contextlib.suppress(OSError):
        asked, outcome = read_asked(trial), read_outcome(trial)
    return {
        "folder": str(trial),
        "params": dict(asked.params) if asked else {},
        "scores": dict(outcome.scores) if outcome else {},
        "test": dict(outcome.test) if outcome else {},
    }
