"""Configurations that somebody wants to see tried: checked before anything is written, kept, and asked first.

They come after the default and what an earlier study gives, and before what the sampler proposes. A trial that has one
keeps which one it is, so that a resumed or rebuilt sweep asks for each of them once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial
from pydantic import TypeAdapter, ValidationError

from hpo import space as spaces
from hpo.errors import Damaged, Refused
from hpo.files import write_json
from hpo.formatting import count
from hpo.search.proposal import TRY, begun, used_up
from hpo.space import When, contains, describe, distribution_of
from hpo.storage.folder import RunFolder
from hpo.storage.reading import stored_trials
from hpo.study import StudySpec
from hpo.trial.carry import fit_params, misfit
from hpo.trial.warm import MOST, Params, first_configurations


def checked_tries(study: StudySpec, tries: Iterable[Mapping[str, Any]]) -> tuple[Params, ...]:
    """Each of the configurations, whole: what is left out has its default.

    Raises Refused for a name that is unknown or not searched, for a value that the space does not hold, and for a
    configuration that the task refuses or that is the default.
    """
    return tuple(_checked(study, values) for values in tries)


def _checked(study: StudySpec, values: Mapping[str, Any]) -> Params:
    for name, value in values.items():
        _check_value(study, name, value)
    params = fit_params(study, values)
    for name in values:
        entry = study.space[name]
        if name not in params and isinstance(entry, When):
            raise Refused(f"--try: {name} is searched only where {entry.parent} = {entry.value!r}; give that value too")
    whole = {name: _as_kept(study, name, value) for name, value in params.items()}
    if whole == study.defaults():
        raise Refused(f"--try: must differ from the default configuration, which is trial 0; got {dict(values)}")
    try:
        spaces.put({**whole, **study.cheap.fixed}, study.owners)
    except ValueError as error:
        raise Refused(f"--try: {dict(values)} cannot be trained: {error}") from error
    return whole


def _check_value(study: StudySpec, name: str, value: Any) -> None:
    if name not in study.space:
        try:
            spaces.put({name: value}, study.owners)
        except ValueError as error:
            raise Refused(f"--try: {error}") from error
        raise Refused(f"--try: {name} is not searched; the space has {', '.join(study.space)}")
    distribution = distribution_of(study.space[name])
    if not contains(distribution, value):
        raise Refused(f"--try: {name} must lie in {describe(distribution)}; got {value!r}")


def _as_kept(study: StudySpec, name: str, value: Any) -> Any:
    """The value as a storage gives it back: a whole number where a range has fractions becomes a float."""
    return float(value) if isinstance(distribution_of(study.space[name]), FloatDistribution) else value


def require_room(study: StudySpec, folder: RunFolder, tries: Sequence[Params]) -> None:
    """Raise Refused unless the sweep has trials left for all configurations that were not yet tried. Writes nothing."""
    trials = stored_trials(folder, study.name) if tries else []
    waiting = _waiting(folder, tries, trials)
    given = 1 + MOST if study.warm and not folder.warm.exists() else len(first_configurations(study, folder))
    needed = used_up(trials, study) + max(0, given - begun(trials)) + waiting
    if waiting and needed > study.trials:
        raise Refused(
            f"--try: {count(waiting, 'configuration')} and the {count(needed - waiting, 'trial')} before them are more "
            f"than the {count(study.trials, 'trial')} of the sweep; give --trials {needed} too"
        )


def count_untried(study: StudySpec, folder: RunFolder, tries: Sequence[Params]) -> int:
    """How many of these configurations, and of those of earlier commands, no trial has tried yet. Writes nothing."""
    return _waiting(folder, tries, stored_trials(folder, study.name))


def _waiting(folder: RunFolder, tries: Sequence[Params], trials: Iterable[FrozenTrial]) -> int:
    asked = {trial.user_attrs.get(TRY) for trial in trials}
    return sum(index not in asked for index in range(len(_joined(folder, tries))))


def keep_tries(folder: RunFolder, tries: Sequence[Params]) -> None:
    """Write the configurations down beside those of earlier commands. One that is there already is there once.

    Hold the study's lock.
    """
    joined = _joined(folder, tries)
    if joined != read_tries(folder):
        write_json(folder.tries, joined)


def _joined(folder: RunFolder, tries: Sequence[Params]) -> list[Params]:
    joined = read_tries(folder)
    for params in tries:
        if params not in joined:
            joined.append(params)
    return joined


def fitting_tries(study: StudySpec, folder: RunFolder) -> dict[int, Params]:
    """The configurations that lie in the study's space, which may have been changed since, by their positions."""
    fitted = enumerate(fit_params(study, params) for params in read_tries(folder))
    return {index: params for index, params in fitted if not misfit(study, params)}


def tries_left_out(study: StudySpec, folder: RunFolder) -> str:
    """A line about configurations that are no longer in the study's space; "" where all are."""
    kept, fitting = read_tries(folder), fitting_tries(study, folder)
    lost = [f"{params} ({misfit(study, params)})" for index, params in enumerate(kept) if index not in fitting]
    return f"no longer in the space, and left out of what --try gave: {'; '.join(lost)}" if lost else ""


def read_tries(folder: RunFolder) -> list[Params]:
    """All configurations that were given, in order. Raises Damaged where they cannot be read."""
    if not folder.tries.exists():
        return []
    try:
        return TypeAdapter(list[Params]).validate_json(folder.tries.read_bytes())
    except ValidationError as error:
        raise Damaged(f"{folder.tries} is damaged: {error.errors()[0]['msg']}") from error
