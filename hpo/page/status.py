"""What is running, done and best, read from what the studies' folders and storages say. Writes nothing."""

from __future__ import annotations

import difflib
import json
import shlex
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from hpo.direction import Direction
from hpo.errors import Refused
from hpo.promotion.selection import is_judged, read_selection
from hpo.promotion.standing import standing_of
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder, promotion_name
from hpo.storage.locks import is_held
from hpo.trial.lifecycle import direction_of, standing

PromotionState = Literal["not run", "unfinished", "judged"]


@dataclass(frozen=True)
class Status:
    """One study at this moment."""

    study: str
    done: int = 0
    trials: int | None = None  # None before the first sweep
    ended: str = ""  # why the sweep has ended before its trials were done; "" where it has not
    running: int = 0
    interrupted: int = 0  # begun, and nobody's at the moment: the next sweep goes on with them
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    best: float | None = None
    best_trial: int | None = None
    seconds_left: float | None = None  # of the sweep; None before the first trial has ended
    preflight: str = "not run"  # or "go", "caution", "no-go"
    promotion: str = "not run"  # or "2/9 runs", or "winner: trial 7": for people
    promotion_state: PromotionState = "not run"
    unreadable: bool = False  # the storage cannot be read: of the sweep and the promotion nothing is known


def statuses(runs: Path, name: str | None) -> list[Status]:
    """The studies in a folder, or the one of that name or of that study file. Raises Refused where there is none."""
    patterns = ("*/study.db", "*/storage", "*/preflight.json")
    folders = {path.parent.name: RunFolder(path.parent) for pattern in patterns for path in runs.glob(pattern)}
    wanted = sorted(folders)
    if name is not None:
        wanted = [study for study in (name, Path(name).stem) if study in folders][:1]
    if not wanted:
        raise Refused(_nothing(runs, name, sorted(folders)))
    return [_status(folders[study]) for study in wanted]


def _nothing(runs: Path, name: str | None, known: list[str]) -> str:
    if name is None or not known:
        return f"nothing has been run in {runs.resolve()}"
    close = difflib.get_close_matches(Path(name).stem, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"studies there are: {', '.join(known)}"
    return f"no study {name!r} has been run in {runs.resolve()}; {hint}"


def _status(folder: RunFolder) -> Status:
    name, preflight = folder.path.name, _preflight(folder)
    try:
        stored = stored_study(folder, name)
        if stored is None:
            return Status(name, preflight=preflight)
        trials = stored.get_trials(deepcopy=False)
        asked = stored.user_attrs.get("trials", len(trials))
        now = standing(stored, asked, stored.user_attrs.get("stop_after"))
        begun, held = sum(trial.state is TrialState.RUNNING for trial in trials), is_held(folder)
        promotion = _promotion(folder)
        return Status(
            study=name,
            done=now.done,
            trials=asked,
            ended=now.end,
            running=begun if held else 0,
            interrupted=0 if held else begun,
            complete=now.complete,
            pruned=now.pruned,
            failed=now.failed,
            best=now.best,
            best_trial=now.best_number,
            seconds_left=_seconds_left(trials, 0 if now.is_over else asked - now.done, begun),
            preflight=preflight,
            promotion=promotion.text,
            promotion_state=promotion.state,
        )
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError):
        advice = f"storage unreadable: {shlex.join(['hpo', 'rebuild', name])}"
        return Status(name, preflight=preflight, promotion=advice, unreadable=True)


def _preflight(folder: RunFolder) -> str:
    """What the preflight said, or that there was none."""
    if not folder.preflight.exists():
        return "not run"
    return str(json.loads(folder.preflight.read_text())["status"])


def _seconds_left(trials: list[FrozenTrial], missing: int, workers: int) -> float | None:
    spent = [trial.user_attrs["seconds"] for trial in trials if "seconds" in trial.user_attrs]
    return statistics.fmean(spent) * max(0, missing) / max(1, workers) if spent else None


@dataclass(frozen=True)
class _Promotion:
    """How far a promotion has come."""

    state: PromotionState
    text: str


def _promotion(folder: RunFolder) -> _Promotion:
    selection = read_selection(folder)
    if selection is None:
        return _Promotion("not run", "not run")
    if is_judged(selection, folder):
        return _Promotion("judged", f"winner: {json.loads(folder.verdict.read_text())['winner']}")
    stored = stored_study(folder, promotion_name(folder.path.name))
    runs = stored.get_trials(deepcopy=False) if stored else []
    now = standing_of(selection.race(Direction.MINIMIZE if stored is None else direction_of(stored)), runs)
    return _Promotion("unfinished", f"{now.done}/{now.runs} runs")
