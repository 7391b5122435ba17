"""Optuna's two measures of importance, which ask different questions. Both share out 100 % whatever the trials say:
what can be told from chance stands in separation.py."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

QUANTILE = 0.1  # PED-ANOVA compares the best tenth of the trials with all of them
QUESTIONS = {
    "fANOVA": "What moves the score over the whole space?",
    "PED-ANOVA": "What brings a trial into the best tenth?",
}


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
    caveats: tuple[str, ...]


def importances(study: optuna.Study, names: list[str], conditional: set[str]) -> Importances:
    """fANOVA and PED-ANOVA shares of the searched parameters. Never raises: what cannot be computed says why."""
    values = [trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    complete = len(values)
    why_not = _why_not(values)
    if why_not:
        skipped = tuple(Importance(measure, "", skipped=tuple(names), why_not=why_not) for measure in QUESTIONS)
        return Importances(skipped, complete, ())
    measuring = optuna.importance  # Optuna imports it at its first use, and scikit-learn with it, in half a second
    evaluators = {
        "PED-ANOVA": measuring.PedAnovaImportanceEvaluator(target_quantile=QUANTILE),
        "fANOVA": measuring.FanovaImportanceEvaluator(seed=0),
    }
    messages: list[str] = []
    measures = tuple(_measure(study, names, name, evaluators[name], messages) for name in QUESTIONS)
    caveats = _caveats(conditional & set(names))
    return Importances(measures, complete, (*caveats, *dict.fromkeys(messages)))


def _why_not(values: Sequence[float | None]) -> str:
    """Why nothing can be measured from the values of the completed trials; empty where it can."""
    if len(values) < 2:
        return "it needs 2 completed trials"
    return "all completed trials scored alike" if len(set(values)) == 1 else ""


def _measure(
    study: optuna.Study,
    names: list[str],
    measure: str,
    evaluator: optuna.importance.BaseImportanceEvaluator,
    messages: list[str],
) -> Importance:
    """The shares by one measure. What it warns of is added to `messages`."""
    question = QUESTIONS[measure]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            measured = optuna.importance.get_param_importances(study, evaluator=evaluator)
            shares = {name: float(share) for name, share in measured.items()}
    except (ValueError, RuntimeError) as error:  # no parameter in all trials, or no variance to share out
        return Importance(measure, question, skipped=tuple(names), why_not=str(error).rstrip("."))
    messages += [
        f"{measure}: {warning.message}"
        for warning in caught
        if not issubclass(warning.category, optuna.exceptions.ExperimentalWarning)
    ]
    skipped = tuple(name for name in names if name not in shares)
    if not shares or not all(map(math.isfinite, shares.values())):
        return Importance(measure, question, skipped=skipped, why_not="no parameter stands in every completed trial")
    ordered = dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    return Importance(measure, question, ordered, skipped)


def _caveats(conditional: set[str]) -> list[str]:
    if not conditional:
        return []
    return [f"fANOVA skips parameters that not every trial has: {', '.join(sorted(conditional))}."]
