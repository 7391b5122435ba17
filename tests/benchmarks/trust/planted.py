"""A sweep over a planted world: everything that `hpo sweep` does, in memory, with curves that are known beforehand.

The trials are asked for, pruned, followed and told by the product's own functions; only training is left out, and what
lies between processes. tests/test_planted.py compares it with a real sweep, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from hpo.contract.pruning import Median
from hpo.epoch import Epoch
from hpo.search.proposal import begin_trial, draw, next_given
from hpo.search.sweep import require_different_failures
from hpo.space import Space, uniform
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.lifecycle import conclude
from hpo.trial.objective import outcome_of, report_epochs
from hpo.trial.record import Outcome
from tests.epochs import epoch
from tests.toy import INPUTS, Toy

optuna.logging.set_verbosity(optuna.logging.WARNING)

Curve = Callable[[Mapping[str, Any], int], Sequence[float]]  # parameters and number of a trial -> a value each epoch
Failure = Callable[[Mapping[str, Any]], str]  # parameters of a trial -> why it kills its worker; empty: it does not


@dataclass(frozen=True)
class Planted(Toy):
    """Fields that a planted world can search. What they do is the world's own affair; no model has them."""

    a: float = 0.5
    b: float = 0.5
    c: float = 0.5
    d: float = 0.5
    e: float = 0.5
    f: float = 0.5
    g: float = 0.5
    h: float = 0.5
    i: float = 0.5
    j: float = 0.5
    kind: str = "plain"
    width: int = 16
    batch: int = 16


@dataclass(frozen=True)
class World:
    """What is true of a planted world. The smallest value is the best."""

    curve: Curve
    failure: Failure = lambda params: ""


def planted_study(
    space: Space | None = None, *, seed: int = 0, trials: int = 24, epochs: int = 1, **changes: Any
) -> StudySpec:
    """A study of `Planted` that searches `space`, by default a and b in [0, 1]; `changes` are its other fields."""
    fidelity = Fidelity(size=INPUTS, train=16, val=16, epochs=epochs)
    fields: dict[str, Any] = {
        "name": "planted",
        "task": Planted(),
        "space": space or {"task.a": uniform(0, 1), "task.b": uniform(0, 1)},
        "smoke": fidelity,
        "cheap": fidelity,
        "full": fidelity,
        "seed": seed,
        "trials": trials,
        "pruning": Median() if epochs > 1 else None,
    }
    return StudySpec(**{**fields, **changes})


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended, with its outcomes by trial number."""

    study: optuna.Study
    outcomes: tuple[Outcome, ...]

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Its trials, as a storage has them."""
        return self.study.get_trials(deepcopy=False)


def sweep_planted(spec: StudySpec, world: World) -> Swept:
    """Run the study's trials, one after the other. Raises SweepFailed as a real sweep does while it runs."""
    study = optuna.create_study(direction=spec.direction.value, pruner=spec.pruner())
    firsts, outcomes = {0: spec.defaults()}, list[Outcome]()
    for _ in range(spec.trials):
        if all(outcome.state != "complete" for outcome in outcomes):
            require_different_failures(outcomes)
        trials = study.get_trials(deepcopy=False)
        trial = begin_trial(study, spec, trials, next_given(trials, firsts, {}))
        outcome = _trained(trial, spec, world)
        conclude(study, trial, outcome, "sweep")
        outcomes.append(outcome)
    return Swept(study, tuple(outcomes))


def _trained(trial: optuna.Trial, spec: StudySpec, world: World) -> Outcome:
    params = draw(trial, spec)
    reason = world.failure(params)
    if reason:
        return Outcome("failed", reason=reason)
    epochs = _epochs(world.curve(params, trial.number), spec)
    return outcome_of(report_epochs(trial, epochs, spec.cheap.epochs, spare=spec.spares(trial.number)))


def _epochs(curve: Sequence[float], spec: StudySpec) -> Iterator[Epoch]:
    """The curve as the engine yields it, with the best value so far."""
    for number in range(len(curve)):
        best_epoch = spec.direction.best(range(number + 1), key=curve.__getitem__)
        scores = {spec.task.goal: curve[number]}
        yield epoch(number, loss=curve[number], scores=scores, best=curve[best_epoch], best_epoch=best_epoch)
