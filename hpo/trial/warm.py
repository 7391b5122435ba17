"""What a sweep begins with: the default, and the best configurations of an earlier study that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter, ValidationError

from hpo.errors import Damaged, Refused
from hpo.files import write_json
from hpo.storage.database import stored_study, value_of
from hpo.storage.folder import RunFolder
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial.carry import fit_params, misfit
from hpo.trial.data_identity import known_as

MOST = 3  # configurations of the earlier study
SAME = ("code", "data", "fidelity", "goal", "direction")  # parts of the identity that both studies must share

Params = dict[str, Any]


def first_configurations(study: StudySpec, folder: RunFolder) -> dict[int, Params]:
    """The configurations that are not drawn, by the numbers of their trials.

    One that no longer lies in the space, because that was changed since, is left out. Raises Damaged.
    """
    fitted = [fit_params(study, params) for params in _read(folder)]
    warm = {number: params for number, params in enumerate(fitted, start=1) if not misfit(study, params)}
    return {0: study.defaults(), **warm}


def keep_warm(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> None:
    """Write down what the sweep begins with, before its first trial. Later calls change nothing. Raises Refused."""
    if _is_to_choose(study, folder):
        folder.make()
        write_json(folder.warm, _best(study, folder, identity))


def require_warm(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> None:
    """Raise Refused where a sweep is to begin with an earlier study that gives it nothing. Writes nothing."""
    if _is_to_choose(study, folder):
        _best(study, folder, identity)


def _is_to_choose(study: StudySpec, folder: RunFolder) -> bool:
    return study.warm is not None and not folder.warm.exists() and not folder.numbers("sweep")


def _best(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> list[Params]:
    """The best configurations of the earlier study that lie in this space, best first, the default aside."""
    trials = study.direction.ranked(_completed(study, folder, identity), key=value_of)
    best: list[Params] = []
    for trial in trials:
        params = fit_params(study, trial.params)
        if not misfit(study, params) and params not in [study.defaults(), *best]:
            best.append(params)
    if not best:
        raise Refused(
            f"warm: none of the {len(trials)} completed trials of {study.warm!r} lies in the space of {study.name!r}, "
            f"or it is the default; widen the space, or write warm=None"
        )
    return best[:MOST]


def _completed(study: StudySpec, folder: RunFolder, identity: Mapping[str, str]) -> list[FrozenTrial]:
    """The completed trials of the earlier study. Raises Refused where they say nothing about this one."""
    earlier = RunFolder(folder.path.parent / str(study.warm))
    stored = retry_storage(lambda: stored_study(earlier, str(study.warm)))
    if stored is None:
        raise Refused(
            f"warm: there is no sweep of {study.warm!r} in {earlier.path}; sweep it first, or write warm=None"
        )
    before = stored.user_attrs.get("identity", {})
    known = {**identity, "data": known_as(study, identity.get("data", ""), before.get("data", ""))}
    differing = [part for part in SAME if before.get(part) != known.get(part)]
    if differing:
        raise Refused(
            f"warm: {study.warm!r} was swept with other {', '.join(differing)} than {study.name!r}, so its best need "
            f"not be good here; undo that, or write warm=None"
        )
    trials = retry_storage(lambda: stored.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if not trials:
        raise Refused(f"warm: the sweep of {study.warm!r} has completed no trial; finish it first, or write warm=None")
    return trials


def _read(folder: RunFolder) -> list[Params]:
    if not folder.warm.exists():
        return []
    try:
        return TypeAdapter(list[Params]).validate_json(folder.warm.read_bytes())
    except ValidationError as error:
        raise Damaged(f"{folder.warm} is damaged: {error.errors()[0]['msg']}") from error
