"""Does the importance name what matters, and nothing where nothing does? Sweeps of the product's sampler and pruner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any

import numpy as np
import optuna

from hpo import space as spaces
from hpo.direction import Direction
from hpo.page.responses import Observation
from hpo.page.separation import separation
from hpo.space import Space, choose, uniform
from hpo.study import StudySpec
from tests.benchmarks.trust.experiment import Experiment, Row
from tests.toy import Toy, toy_study

EPOCHS = 6

def study_of(space: Space, seed: int, trials: int, **more) -> StudySpec:
    names = {name.partition(".")[2]: entry for name, entry in space.items()}
    defaults = []
    for name, entry in names.items():
        distribution = spaces.distribution_of(entry)
        middle = distribution.choices[0] if hasattr(distribution, "choices") else (distribution.low+distribution.high)/2
        defaults.append((name, type(middle), field(default=middle)))
    task = make_dataclass("Planted", defaults, bases=(Toy,), frozen=True)
    return toy_study(task=task(), space=space, seed=seed, trials=trials, **more)


def sweep(study: StudySpec, final: Callable[[Mapping[str, Any]], float], rng: np.random.Generator, forced: Callable[[Mapping[str, Any]], bool] | None = None, epochs=EPOCHS, noise=1.0) -> list[optuna.trial.FrozenTrial]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    stored = optuna.create_study(direction="minimize", pruner=study.pruner())
    stored.enqueue_trial(study.defaults())
    for number in range(study.trials):
        stored.sampler = study.sampler(number)
        trial = stored.ask()
        params = spaces.suggest(trial, study.space, lambda name: study.sampler(trial.number, name))
        end = final(params) + noise * rng.normal()
        best = np.inf
        for epoch in range(epochs):
            best = min(best, end + 3 * (1 - (epoch + 1) / epochs) + 0.3 * rng.normal())
            trial.report(best, epoch)
            stop = forced(params) and epoch == 1 if forced else trial.should_prune()
            if stop:
                stored.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            stored.tell(trial, best)
    return stored.get_trials()


def observed(study, trials):
    return [Observation(t.params, t.value if t.state.name=="COMPLETE" else None, t.intermediate_values, t.number >= study.startup_trials) for t in trials]


def named(study, trials, seed=0):
    return separation(observed(study, trials), {n: spaces.distribution_of(e) for n, e in study.space.items()}, Direction.MINIMIZE, seed=seed)
