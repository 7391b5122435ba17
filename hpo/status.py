"""What is running, done and best, read from the storages alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from hpo.storage import Refused, RunFolder, open_storage
from hpo.sweep import standing


@dataclass(frozen=True)
class Status:
    """One study at this moment."""

    study: str
    done: int
    trials: int
    running: int
    complete: int
    pruned: int
    failed: int
    best: float | None
    best_trial: int | None
    seconds_left: float | None  # None before the first trial has ended
    preflight: str  # "go", "caution", "no-go" or "not run"
    promotion: str  # "not run", "2/9 runs" or the winner's name


def statuses(runs: Path, name: str | None) -> list[Status]:
    """The studies in a folder, or the one of that name. Raises Refused where there is none."""
    kept = sorted({path.parent for pattern in ("*/study.db", "*/storage") for path in runs.glob(pattern)})
    folders = [RunFolder(path) for path in kept if name in (None, path.name)]
    if not folders:
        raise Refused(f"no study {name!r} in {runs.resolve()}" if name else f"no study in {runs.resolve()}")
    return [one for folder in folders for one in _of(folder)]


def _of(folder: RunFolder) -> Iterator[Status]:
    storage = open_storage(folder.storage)
    of_folder = (folder.path.name, f"{folder.path.name}.promotion")  # a server may hold others' studies too
    names = [summary.study_name for summary in storage.get_all_studies() if summary.study_name in of_folder]
    for name in names:
        if name.endswith(".promotion"):
            continue
        study = optuna.load_study(study_name=name, storage=storage)
        trials = study.user_attrs.get("trials", len(study.get_trials(deepcopy=False)))
        now = standing(study, trials)
        frozen = study.get_trials(deepcopy=False)
        running = sum(trial.state is TrialState.RUNNING for trial in frozen)
        spent = [trial.user_attrs["seconds"] for trial in frozen if "seconds" in trial.user_attrs]
        left = statistics.fmean(spent) * (trials - now.done) / max(1, running) if spent else None
        yield Status(name, now.done, trials, running, now.complete, now.pruned, now.failed, now.best, now.best_number,
                     left, _preflight(folder), _promotion(folder, name, names, storage))  # fmt: skip


def _preflight(folder: RunFolder) -> str:
    return json.loads(folder.preflight.read_text())["status"] if folder.preflight.exists() else "not run"


def _promotion(folder: RunFolder, name: str, names: list[str], storage: optuna.storages.BaseStorage) -> str:
    verdict = folder.path / "verdict.json"
    if verdict.exists():
        return f"winner: {json.loads(verdict.read_text())['winner']}"
    if f"{name}.promotion" not in names:
        return "not run"
    runs = optuna.load_study(study_name=f"{name}.promotion", storage=storage).get_trials(deepcopy=False)
    return f"{sum(run.state.is_finished() for run in runs)}/{len(runs)} runs"
