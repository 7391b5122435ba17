"""The gate's runs at full fidelity. They are runs of the promotion, which reuses those of the same configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from optuna.trial import FrozenTrial

from hpo.promotion.candidate import DEFAULT, Candidate, RunKey
from hpo.promotion.gate import GatePair
from hpo.promotion.race import Round
from hpo.promotion.runs import PromotionRuns, run_candidate, run_on_devices
from hpo.promotion.selection import Selection
from hpo.storage.database import value_of
from hpo.storage.folder import RunFolder
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.workers import coordinator
from hpo.workers.local import Backend


def train_at_full_fidelity(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    trials: Sequence[FrozenTrial],
    *,
    pool: Backend,
    device: str,
    devices: int = 1,
    watch: Callable[[int], None],
) -> tuple[GatePair, ...]:
    """Train the configurations of the sweep's trials once at full fidelity, and return their values at both fidelities.

    A run's test scores are kept for a promotion; nothing here looks at them. Hold the study's lock. `watch` is called
    with how many runs have ended about once a second.
    """
    candidates = tuple(_candidate(study, trial) for trial in trials)
    others = len(candidates) - 1
    once_each = Round(others, seeds=(0,))
    selection = Selection(candidates, keep=others, seeds=1, sweep_trials=len(trials), rounds=(once_each,))
    source = retry_storage(lambda: PromotionRuns(study, selection, folder, identity, device=device))
    run = run_candidate if devices == 1 else partial(run_on_devices, devices)
    coordinator.drive(source, run, pool=pool, watch=lambda: watch(retry_storage(source.standing).done))
    runs = source.finished()
    values = [runs[RunKey(candidate.key, 0)].value for candidate in candidates]
    return tuple(
        GatePair(
            name=candidate.name,
            key=candidate.key,
            trial=trial.number,
            cheap=value_of(trial),
            full=value,
        )
        for candidate, trial, value in zip(candidates, trials, values, strict=True)
    )


def _candidate(study: StudySpec, trial: FrozenTrial) -> Candidate:
    name = DEFAULT if trial.params == study.defaults() else f"trial {trial.number}"
    return Candidate(name, dict(trial.params), trial.number, value_of(trial))
