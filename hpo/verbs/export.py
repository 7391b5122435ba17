"""The trials of a study as rows for other programs, read from their folders.

Needs neither torch nor Optuna, unless the study is named by its file, or an older version has run its promotion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hpo.errors import Refused
from hpo.storage.folder import Kind, RunFolder
from hpo.trial.record import Asked, State, read_asked, read_outcome, read_waiting

Folder = str | Path
CANDIDATE = "candidate"  # attribute of a run


@dataclass(frozen=True)
class TrialRow:
    """One trial of a sweep, or one run of a promotion."""

    number: int
    state: State | Literal["unfinished"]  # unfinished: it runs, or was interrupted
    value: float | None = None  # the goal on validation, of the best epoch; None where the trial failed
    seconds: float | None = None  # spent in its epochs
    epochs: int | None = None  # that were trained
    scores: Mapping[str, float] = field(default_factory=dict)  # of the best epoch on validation; of a run, on test
    params: Mapping[str, Any] = field(default_factory=dict)
    candidate: str | None = None  # of a run: "default" or "trial 7"
    seed: int | None = None  # of a run: which of the promotion's seeds, from 0
    reason: str = ""  # why it was pruned or failed


def export_trials(study: str, *, promotion: bool = False, runs: Folder = "runs") -> list[TrialRow]:
    """Every trial of a study's sweep, or every run of its promotion, by number.

    `study` is its name or its file. Writes nothing. Raises Refused where nothing has been run.
    """
    folder = _run_folder(study, Path(runs).absolute())
    kind: Kind = "promotion" if promotion else "sweep"
    numbers = folder.numbers(kind)
    if not numbers:
        raise Refused(f"no trial has been run in {folder.path / kind}")
    asked = {number: read_asked(folder.trial(kind, number)) for number in numbers}
    attributes = [question.attributes for question in asked.values() if question]
    is_old = any("key" in known and CANDIDATE not in known for known in attributes)
    names = _candidate_names(folder) if is_old else {}
    return [_row(folder.trial(kind, number), number, question, names) for number, question in asked.items()]


def _run_folder(study: str, runs: Path) -> RunFolder:
    if (runs / study).is_dir():
        return RunFolder(runs / study)
    from hpo.verbs.load import load_study  # loads torch

    return RunFolder(runs / load_study(study).name)


def _candidate_names(folder: RunFolder) -> dict[str, str]:
    """The names of a promotion's candidates by their keys. Runs of older versions hold the key alone."""
    from hpo.promotion.selection import read_selection  # loads Optuna

    selection = read_selection(folder)
    return {candidate.key: candidate.name for candidate in selection.candidates} if selection else {}


def _row(path: Path, number: int, asked: Asked | None, names: Mapping[str, str]) -> TrialRow:
    if asked is None:
        return TrialRow(number, "unfinished")
    candidate = asked.attributes.get(CANDIDATE, names.get(asked.attributes.get("key", "")))
    begun = TrialRow(number, "unfinished", params=asked.params, candidate=candidate, seed=asked.attributes.get("seed"))
    outcome = read_outcome(path) or read_waiting(path)
    if outcome is None:
        return begun
    return replace(
        begun,
        state=outcome.state,
        value=None if outcome.state == "failed" else outcome.value,
        seconds=outcome.seconds,
        epochs=outcome.epochs,
        scores=outcome.test or outcome.scores,
        reason=" ".join(outcome.reason.split()),
    )
