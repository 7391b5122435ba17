"""The first trials of a sweep, trained to their end: what the fidelity gate compares with runs at full fidelity.

They are trials of the sweep like any other, under the same numbers and with the same seeds, so the sweep goes on from
them. Only two things differ while the gate asks for them: nothing is pruned, and all are drawn at random.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.errors import SweepFailed
from hpo.formatting import count
from hpo.plain import fingerprint
from hpo.search.proposal import TRY, begun
from hpo.search.sweep import SweepTrials
from hpo.storage.folder import RunFolder
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.trial.ask_tell import Question
from hpo.trial.lifecycle import state_of
from hpo.trial.objective import run_trial
from hpo.workers import coordinator
from hpo.workers.local import Backend

DRAWN = "drawn at random"  # the attribute of a trial that was drawn after those that every sweep draws at random
TRIES = 3  # times as many configurations are tried at most, where some of them fail
NEVER = sys.maxsize


def train_random_trials(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    configurations: int,
    *,
    pool: Backend,
    device: str,
    watch: Callable[[int], None],
) -> list[FrozenTrial]:
    """Train trials of the sweep until so many different configurations are completed, and return those.

    The first is the default, the others are drawn at random. Hold the study's lock. `watch` is called with how many
    are completed about once a second. Raises SweepFailed where two of three configurations fail.
    """

    def open_source() -> RandomTrials:
        return RandomTrials(study, folder, identity, configurations=configurations, device=device)

    source = retry_storage(open_source)
    coordinator.drive(source, run_trial, pool=pool, watch=lambda: watch(len(source.completed())))
    completed = source.completed()
    if len(completed) < configurations:
        raise SweepFailed(
            f"the gate needs {count(configurations, 'different configuration')} that can be trained; after "
            f"{count(source.tried, 'configuration')} there are {len(completed)}"
        )
    return completed


class RandomTrials(SweepTrials):
    """Trials of a sweep until the first `configurations` random configurations are completed.

    One that the sweep has pruned is trained once more, as a new trial: to leave it out would leave out the worst. One
    that failed is left out, and so is what `study.warm` and `--try` give, which is no random draw.
    """

    def __init__(
        self,
        study: StudySpec,
        folder: RunFolder,
        identity: Mapping[str, str],
        *,
        configurations: int,
        device: str = "auto",
    ) -> None:
        super().__init__(study, folder, identity, device=device)
        self.configurations = configurations
        self.random_anyway = max(1, study.random_trials)  # trials that every sweep begins with
        self.warm = frozenset(self.firsts) - {0}
        self.spec = replace(study, pruning=None, search=None, startup_trials=NEVER, trials=NEVER, stop_after=None)

    def begin(self, trials: Sequence[FrozenTrial]) -> optuna.Trial | None:
        wanted = self._wanted(trials)
        pruned = next(
            (
                of_key[0]
                for of_key in wanted.values()
                if all(state_of(trial) in ("pruned", "paused") for trial in of_key)
            ),
            None,
        )
        if pruned is None and not self._may_draw(trials, wanted):
            return None
        if pruned is not None:
            self.firsts[begun(trials)] = dict(pruned.params)
        trial = super().begin(trials)
        if trial is not None and TRY not in trial.user_attrs:
            trial.set_user_attr(DRAWN, True)
        return trial

    def question(self, trial: optuna.Trial) -> Question:
        question = super().question(trial)
        return replace(question, attributes={DRAWN: True}) if DRAWN in trial.user_attrs else question

    @property
    def tried(self) -> int:
        """How many random configurations have been tried so far."""
        return len(self._random(self.trials()))

    def completed(self) -> list[FrozenTrial]:
        """The completed trial of each configuration that is wanted, in the order in which they were drawn."""
        completed = []
        for of_key in self._wanted(self.trials()).values():
            completed += [trial for trial in of_key if trial.state is TrialState.COMPLETE][:1]
        return completed

    def _may_draw(self, trials: Sequence[FrozenTrial], wanted: Mapping[str, Sequence[FrozenTrial]]) -> bool:
        is_enough = len(wanted) >= self.configurations
        return not is_enough and len(self._random(trials)) < TRIES * self.configurations

    def _wanted(self, trials: Sequence[FrozenTrial]) -> dict[str, list[FrozenTrial]]:
        """The trials of the first configurations that have not failed, by configuration."""
        by_key = self._random(trials)
        sound = {key: of_key for key, of_key in by_key.items() if all(state_of(trial) != "failed" for trial in of_key)}
        return dict(list(sound.items())[: self.configurations])

    def _random(self, trials: Sequence[FrozenTrial]) -> dict[str, list[FrozenTrial]]:
        """The trials that were drawn at random, by configuration, in the order in which each was first drawn."""
        by_key: dict[str, list[FrozenTrial]] = {}
        for trial in trials:
            is_drawn = trial.number not in self.warm and TRY not in trial.user_attrs
            is_random = is_drawn and (trial.number < self.random_anyway or DRAWN in trial.user_attrs)
            if is_random and trial.state is not TrialState.WAITING:
                by_key.setdefault(fingerprint(dict(trial.params)), []).append(trial)
        return by_key
