"""Several goals: Optuna's sampler sees them all, and the study that is stored keeps the task's goal as its value.

Optuna takes no reports of a study with several values, so it would have no curves, and no trial of it could go on after
a kill. The costs, which are the other goals, stand beside the value, as an attribute of the trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

COSTS = "costs"  # the attribute of a trial that has what its configuration costs, by name


class SeveralGoals(optuna.samplers.BaseSampler):
    """A sampler that proposes as for a study whose values are the value of a trial and some of its costs."""

    def __init__(self, sampler: optuna.samplers.BaseSampler, costs: Sequence[str]) -> None:
        self.sampler, self.costs = sampler, tuple(costs)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        copy = self._with_costs(study)
        return self.sampler.infer_relative_search_space(copy, copy.trials[trial.number])

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        copy = self._with_costs(study)
        return self.sampler.sample_relative(copy, copy.trials[trial.number], search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        copy = self._with_costs(study)
        return self.sampler.sample_independent(copy, copy.trials[trial.number], param_name, param_distribution)

    def reseed_rng(self) -> None:
        self.sampler.reseed_rng()

    def _with_costs(self, study: optuna.Study) -> optuna.Study:
        """A copy of the study, in memory, whose trials have all values under the same numbers."""
        directions = [study.direction, *[optuna.study.StudyDirection.MINIMIZE] * len(self.costs)]
        copy = optuna.create_study(directions=directions, sampler=self.sampler)
        copy.add_trials([self._trial_with_costs(trial) for trial in study.get_trials(deepcopy=False)])
        return copy

    def _trial_with_costs(self, trial: FrozenTrial) -> FrozenTrial:
        state, values = trial.state, None
        costs = trial.user_attrs.get(COSTS, {})
        if state is TrialState.COMPLETE and costs.keys() >= {*self.costs}:
            values = [trial.value, *(costs[name] for name in self.costs)]
        elif state is TrialState.COMPLETE:  # an adopted trial, of which no cost is known
            state = TrialState.FAIL  # which no sampler sees
        return optuna.trial.create_trial(
            state=state,
            values=values,
            params=trial.params,
            distributions=trial.distributions,
            constraints=trial.constraints,
        )
