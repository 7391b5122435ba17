"""Which hyperparameters mattered, by two measures that ask different questions, and how far to trust the answers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import optuna
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import TrialState

QUANTILE = 0.1  # PED-ANOVA compares the best tenth of the trials with all of them
ENOUGH_TOP = 5  # ... and is stable from about five trials in it (Watanabe et al. 2023, as Optuna documents it)


@dataclass(frozen=True)
class Importance:
    """Shares by one measure, largest first; they sum to 1."""

    measure: str
    question: str
    shares: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()  # parameters that the measure cannot judge
    why_not: str = ""  # there are no shares


@dataclass(frozen=True)
class Importances:
    """Both measures over the same completed trials."""

    measures: tuple[Importance, ...]
    complete: int
    top: int  # trials in the best tenth
    caveats: tuple[str, ...]


def importances(study: optuna.Study, names: list[str], conditional: set[str]) -> Importances:
    """PED-ANOVA and fANOVA shares of the searched parameters. Never raises: what cannot be computed says why."""
    values = [trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    complete, top = len(values), math.ceil(QUANTILE * len(values))
    heard: list[str] = []
    why_not = (
        "it needs 2 completed trials"
        if complete < 2
        else "all completed trials scored alike"
        if len(set(values)) == 1
        else ""
    )
    if why_not:
        none = tuple(Importance(name, "", skipped=tuple(names), why_not=why_not) for name in ("PED-ANOVA", "fANOVA"))
        return Importances(none, complete, top, ())
    measures = (
        _measured(
            study,
            names,
            "PED-ANOVA",
            "What brings a trial into the best tenth?",
            PedAnovaImportanceEvaluator(target_quantile=QUANTILE),
            heard,
        ),
        _measured(
            study,
            names,
            "fANOVA",
            "What moves the score over the whole space?",
            FanovaImportanceEvaluator(seed=0),
            heard,
        ),
    )
    return Importances(measures, complete, top, tuple(_caveats(complete, top, conditional & set(names), heard)))


def _measured(
    study: optuna.Study,
    names: list[str],
    measure: str,
    question: str,
    evaluator: BaseImportanceEvaluator,
    heard: list[str],
) -> Importance:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            shares = {name: float(share) for name, share in get_param_importances(study, evaluator=evaluator).items()}
    except (ValueError, RuntimeError) as error:  # no parameter in all trials, or no variance to share out
        return Importance(measure, question, skipped=tuple(names), why_not=str(error).rstrip("."))
    heard += [
        f"{measure}: {warning.message}"
        for warning in caught
        if not issubclass(warning.category, optuna.exceptions.ExperimentalWarning)
    ]
    skipped = tuple(name for name in names if name not in shares)
    if not shares or not all(map(math.isfinite, shares.values())):
        return Importance(measure, question, skipped=skipped, why_not="no parameter stands in every completed trial")
    ordered = dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    return Importance(measure, question, ordered, skipped)


def _caveats(complete: int, top: int, conditional: set[str], heard: list[str]) -> list[str]:
    found = []
    if top < ENOUGH_TOP:
        found.append(
            f"Take it as a hint: PED-ANOVA compares the best tenth of the completed trials with all of them, which is "
            f"{top} of {complete} here; from {ENOUGH_TOP} of {round(ENOUGH_TOP / QUANTILE)} its order can be relied on."
        )
    if conditional:
        found.append(f"fANOVA skips parameters that not every trial has: {', '.join(sorted(conditional))}.")
    return [*found, *dict.fromkeys(heard)]
