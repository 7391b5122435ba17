"""The selection: which candidates a promotion compares. It is made from the sweep once, before the first run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import BaseTrial, TrialState
from pydantic import TypeAdapter, ValidationError

from hpo.errors import Damaged, Refused
from hpo.files import write_json
from hpo.plain import fingerprint, plain
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.promotion.repeats import TriedConfiguration, configurations
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.transient import retry_storage

if TYPE_CHECKING:
    from hpo.study import StudySpec


@dataclass(frozen=True)
class Selection:
    """The candidates of a promotion. A sweep that continues does not change a selection that has been made."""

    candidates: tuple[Candidate, ...]
    keep: int  # how many were asked for beside the default
    seeds: int  # runs of each candidate
    sweep_trials: int  # how many trials of the sweep had ended when the selection was made

    @property
    def key(self) -> str:
        """A fingerprint of the selection, which the verdict on it keeps."""
        return fingerprint(self)


def select(trials: list[optuna.trial.FrozenTrial], study: StudySpec) -> tuple[Candidate, ...]:
    """The default, and the `keep` best other configurations among the complete trials.

    A configuration that was tried more than once counts once, with the mean of its values. `trials` are in the order of
    their numbers: of equal means the one that was tried first ranks higher.
    """
    tried = configurations(trial for trial in trials if trial.state is TrialState.COMPLETE)
    default = study.defaults()
    others = [configuration for configuration in tried if configuration.params != default]
    best = study.direction.ranked(others, key=lambda configuration: configuration.mean)[: study.keep]
    return (_default_candidate(default, tried), *(_candidate(configuration) for configuration in best))


def _candidate(tried: TriedConfiguration) -> Candidate:
    return Candidate(f"trial {tried.trial}", tried.params, tried.trial, tried.mean)


def _default_candidate(default: Mapping[str, Any], tried: Iterable[TriedConfiguration]) -> Candidate:
    """The default, with what it scored in the sweep where a trial of it was completed."""
    for configuration in tried:
        if configuration.params == default:
            return Candidate(DEFAULT, default, configuration.trial, configuration.mean)
    return Candidate(DEFAULT, default, trial=None, cheap=None)


def freeze(study: StudySpec, folder: RunFolder) -> Selection:
    """Return the selection that an interrupted promotion began with, or make and keep a new one from the sweep.

    Raises Refused where no trial of the sweep is complete.
    """
    require_trials(study, folder, f"hpo sweep {study.name}")
    before = read_selection(folder)
    if before and not is_judged(before, folder) and (before.keep, before.seeds) == (study.keep, study.seeds):
        return before
    trials = sweep_trials(study, folder)
    ended = sum(trial.state.is_finished() for trial in trials)
    selection = Selection(select(trials, study), study.keep, study.seeds, ended)
    if selection != before:
        write_json(folder.selection, plain(asdict(selection)))
    return selection


def require_trials(study: StudySpec, folder: RunFolder, command: str) -> None:
    """Raise Refused unless a trial of the sweep is complete. `command` is what the message tells the user to run."""
    if not any(trial.state is TrialState.COMPLETE for trial in sweep_trials(study, folder)):
        raise Refused(f"study {study.name!r} has no completed trial to promote in {folder.path}; run: {command}")


def sweep_trials(study: StudySpec, folder: RunFolder) -> list[optuna.trial.FrozenTrial]:
    """All trials of the study's sweep, in the order of their numbers; none where there is no sweep yet."""

    def read() -> list[optuna.trial.FrozenTrial]:
        stored = stored_study(folder, study.name)
        return stored.get_trials(deepcopy=False) if stored else []

    return retry_storage(read)


def read_selection(folder: RunFolder) -> Selection | None:
    """The selection that was made last; None where there is none. Raises Damaged where it cannot be read."""
    if not folder.selection.exists():
        return None
    try:
        return TypeAdapter(Selection).validate_json(folder.selection.read_text())
    except ValidationError as error:
        raise Damaged(
            f"{folder.selection} is damaged: {error.errors()[0]['msg']}; remove it and promote again"
        ) from error


def is_judged(selection: Selection, folder: RunFolder) -> bool:
    """Whether the folder holds the verdict on this selection."""
    if not folder.verdict.exists():
        return False
    try:
        verdict = json.loads(folder.verdict.read_text())
    except json.JSONDecodeError as error:
        raise Damaged(f"{folder.verdict} is damaged ({error}); remove it and promote again") from error
    return bool(verdict.get("selection") == selection.key)


@dataclass(frozen=True)
class RunKey:
    """Which run of a promotion a trial is."""

    candidate: str  # the candidate's key
    seed_index: int  # from 0


def run_key(trial: BaseTrial) -> RunKey:
    """Which run a trial of the promotion is."""
    return RunKey(trial.user_attrs["key"], trial.user_attrs["seed"])
