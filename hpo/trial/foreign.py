"""What a trial that was not run by hpo says, in the terms of hpo. Whatever Optuna can store is expected here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from hpo.direction import Direction
from hpo.space import Choice, Distribution

ADOPTED = "adopted"  # the key, in attributes and identities, by which an adopted trial is known
REASONS = ("reason", "fail_reason", "error", "exception")  # where people, and Optuna before version 3, kept one
SAMPLERS = {  # what samplers and pruners leave in the storage, which keeps no name of theirs
    "tpe:": "TPESampler",
    "gp:": "GPSampler",
    "cma:": "CmaEsSampler",
    "grid_id": "GridSampler",
    "qmc:": "QMCSampler",
    "NSGA": "an NSGA sampler",
    "BaseGASampler:": "a genetic sampler",
    "completed_rung_": "SuccessiveHalvingPruner or HyperbandPruner",
}


def plain_choice(value: Any) -> Choice:
    """A value that hpo can show and compare: what is no finite number, string, boolean or None becomes text."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def plain_params(trial: FrozenTrial) -> dict[str, Choice]:
    """The parameters of a trial."""
    return {name: plain_choice(value) for name, value in trial.params.items()}


def searched_space(trials: Iterable[FrozenTrial]) -> dict[str, Distribution]:
    """What the trials searched, in the order in which they began to: where ranges differed, all of them together."""
    space: dict[str, Distribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            ours = _plain_distribution(distribution)
            space[name] = _together(space[name], ours) if name in space else ours
    return space


def _plain_distribution(distribution: Any) -> Distribution:
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution(tuple(dict.fromkeys(map(plain_choice, distribution.choices))))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution


def _together(before: Distribution, now: Distribution) -> Distribution:
    """A distribution with all values of both."""
    if before == now:
        return before
    if isinstance(before, CategoricalDistribution) or isinstance(now, CategoricalDistribution):
        return CategoricalDistribution(tuple(dict.fromkeys((*_choices(before), *_choices(now)))))
    low, high, log = min(before.low, now.low), max(before.high, now.high), before.log and now.log
    if isinstance(before, IntDistribution) and isinstance(now, IntDistribution):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _choices(distribution: Distribution) -> tuple[Choice, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return distribution.low, distribution.high


def direction_and_goal(study: optuna.Study) -> tuple[Direction, str]:
    """Which way the goal improves, and what it is called: "value" where the study has no name for it."""
    names = study.metric_names
    return Direction(study.direction.name.lower()), names[0] if names else "value"


def reason_of(trial: FrozenTrial) -> str:
    """Why a trial failed or was pruned, where that was kept; Optuna itself logs it and keeps nothing."""
    for attributes in (trial.user_attrs, trial.system_attrs):
        for key in REASONS:
            if attributes.get(key):
                return str(attributes[key])
    return ""


def curve_of(trial: FrozenTrial) -> dict[int, float]:
    """What a trial reported, by its own steps, without what is no finite number."""
    reported = sorted(trial.intermediate_values.items())
    return {step: float(value) for step, value in reported if value is not None and math.isfinite(value)}


def value_of(trial: FrozenTrial, direction: Direction) -> float | None:
    """The value of a completed trial; else the best that it reported. None where there is no finite one."""
    if trial.state is optuna.trial.TrialState.COMPLETE:
        return trial.value if trial.value is not None and math.isfinite(trial.value) else None
    return direction.best(curve_of(trial).values()) if curve_of(trial) else None


def seconds_of(trial: FrozenTrial) -> float | None:
    """From its start to its end."""
    return trial.duration.total_seconds() if trial.duration is not None else None


def tools_of(trials: Iterable[FrozenTrial]) -> list[str]:
    """The samplers and pruners that left traces in the trials."""
    keys = {key for trial in trials for key in trial.system_attrs}
    return [name for prefix, name in SAMPLERS.items() if any(key.startswith(prefix) for key in keys)]


def their_attributes(trial: FrozenTrial) -> dict[str, Any]:
    """What the trial's program noted of it; of an adopted one also the parameters that were set aside."""
    if ADOPTED not in trial.user_attrs:
        return dict(trial.user_attrs)
    record = trial.user_attrs[ADOPTED]
    return {**record["set_aside"], **record["attributes"]}


def attribute_text(attributes: Mapping[str, Any]) -> str:
    """Attributes in one line."""
    return ", ".join(
        f"{key} = {value if isinstance(value, str) else json.dumps(value)}" for key, value in attributes.items()
    )
