"""What is promoted: chosen once from the sweep, and frozen before the first run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.trial import BaseTrial, TrialState

from hpo.errors import Refused
from hpo.files import write_json
from hpo.plain import fingerprint, plain
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.storage.database import stored_study, value_of
from hpo.storage.folder import RunFolder
from hpo.storage.transient import retry_storage

if TYPE_CHECKING:
    from hpo.study import StudySpec


@dataclass(frozen=True)
class Selection:
    """What is promoted, frozen before the first run: a sweep that goes on does not change it."""

    candidates: tuple[Candidate, ...]
    keep: int  # how many were asked for beside the default
    seeds: int
    sweep_trials: int  # that had ended when it was made

    @property
    def key(self) -> str:
        return fingerprint(self)


def select(trials: list[optuna.trial.FrozenTrial], study: StudySpec) -> tuple[Candidate, ...]:
    """The default, and the `keep` best other configurations among the completed trials, which come in order of their
    numbers; equal ones count once."""
    complete = study.direction.ranked((trial for trial in trials if trial.state is TrialState.COMPLETE), key=value_of)
    defaults = study.defaults()
    cheap = next((trial for trial in complete if trial.params == defaults), None)
    chosen = [Candidate(DEFAULT, defaults, cheap.number if cheap else None, cheap.value if cheap else None)]
    for trial in complete:
        if len(chosen) <= study.keep and all(trial.params != other.params for other in chosen):
            chosen.append(Candidate(f"trial {trial.number}", dict(trial.params), trial.number, trial.value))
    return tuple(chosen)


def freeze(study: StudySpec, folder: RunFolder) -> Selection:
    """The selection that an interrupted promotion began with, or a new one from the sweep as it stands."""
    require_trials(study, folder, f"hpo sweep {study.name}")
    before = read_selection(folder)
    if before and not is_judged(before, folder) and (before.keep, before.seeds) == (study.keep, study.seeds):
        return before
    trials = sweep_trials(study, folder)
    ended = sum(trial.state.is_finished() for trial in trials)
    chosen = Selection(select(trials, study), study.keep, study.seeds, ended)
    if chosen != before:
        write_json(folder.selection, plain(asdict(chosen)))
    return chosen


def require_trials(study: StudySpec, folder: RunFolder, command: str) -> None:
    """Raise Refused unless the sweep has completed a trial."""
    if not any(trial.state is TrialState.COMPLETE for trial in sweep_trials(study, folder)):
        raise Refused(f"study {study.name!r} has no completed trial to promote in {folder.path}; run: {command}")


def sweep_trials(study: StudySpec, folder: RunFolder) -> list[optuna.trial.FrozenTrial]:
    """All trials of the study's sweep, in order of their numbers; none where it has not begun."""

    def read() -> list[optuna.trial.FrozenTrial]:
        stored = stored_study(folder, study.name)
        return stored.get_trials(deepcopy=False) if stored else []

    return retry_storage(read)


def read_selection(folder: RunFolder) -> Selection | None:
    """The selection that was frozen last, if there is one."""
    if not folder.selection.exists():
        return None
    record = json.loads(folder.selection.read_text())
    return Selection(**{**record, "candidates": tuple(Candidate(**one) for one in record["candidates"])})


def is_judged(selection: Selection, folder: RunFolder) -> bool:
    """Whether the verdict in the folder is this selection's."""
    return folder.verdict.exists() and json.loads(folder.verdict.read_text()).get("selection") == selection.key


@dataclass(frozen=True)
class RunKey:
    """Which run of a promotion a trial is."""

    candidate: str  # its key
    seed_index: int


def promotion_name(study: str) -> str:
    """The name of the Optuna study that holds a study's promotion."""
    return f"{study}.promotion"


def run_key(trial: BaseTrial) -> RunKey:
    """Which run a trial of the promotion is."""
    return RunKey(trial.user_attrs["key"], trial.user_attrs["seed"])
