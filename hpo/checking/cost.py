"""What a sweep will cost: cheap trials are timed side by side, as many as will run at once."""

from __future__ import annotations

import itertools
import math
import resource
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import optuna
import torch

from hpo import space
from hpo.contract.pruning import HANDOVER_SECONDS, Median
from hpo.engine.own_training import epochs_of
from hpo.formatting import count, duration
from hpo.study import StudySpec
from hpo.task import Check, Fidelity
from hpo.trial.guard import attempt

SOONEST = Median(warmup_epochs=0, startup_trials=1, min_trials=1)  # no pruner that was given can end a trial sooner
PAUSE_AFTER_SECONDS = 10 * HANDOVER_SECONDS  # of training, at least
LEAST_TIMED = 2  # trials that are timed: the default, and at least one that is drawn as the sweep draws its first


@dataclass(frozen=True)
class Cost:
    """The measured cost of a trial, and the range that the cost of the sweep lies in."""

    trial_seconds: float  # of the default configuration
    slowest_seconds: float  # of the slowest trial that was timed
    sweep_least_seconds: float  # where every trial that may be pruned is, as soon as it may be
    sweep_seconds: float  # where none is, and all are as slow as the slowest
    workers: int
    peak_mb: float  # of a worker process, or of the GPU where there is one


@dataclass(frozen=True)
class _Timed:
    """A trial that was timed."""

    seconds: float
    peak_mb: float


def measure_cost(study: StudySpec, workers: int, device: str, pool: Executor) -> Cost | Check:
    """Time trials of the sweep side by side: the default configuration, and others that are drawn at random.

    Returns the failed Check where the default cannot be trained. A drawn configuration that cannot says nothing about
    the cost: a sweep has such trials too.
    """
    drawn = [_drawn(study, number) for number in range(1, max(LEAST_TIMED, workers))]
    jobs = [partial(_time_trial, study, values, device) for values in ({}, *drawn)]
    default, *others = [future.result() for future in [pool.submit(attempt, "cost", job) for job in jobs]]
    if isinstance(default, Check):
        return default
    timed = [default, *(trial for trial in others if isinstance(trial, _Timed))]
    slowest = max(trial.seconds for trial in timed)
    mean = sum(trial.seconds for trial in timed) / len(timed)
    rounds = math.ceil(study.trials / workers)
    return Cost(
        trial_seconds=default.seconds,
        slowest_seconds=slowest,
        sweep_least_seconds=mean * rounds * least_share(study),
        sweep_seconds=slowest * rounds,
        workers=workers,
        peak_mb=max(trial.peak_mb for trial in timed),
    )


def full_seconds(study: StudySpec, workers: int, device: str, pool: Executor) -> float | Check:
    """How long a run at full fidelity takes, by its second epoch, as many side by side as will run at once.

    Where both fidelities say how many examples they train on, an epoch has those of the cheap one and counts for more.
    Returns the failed Check where the default cannot be trained.
    """
    cheap, full = study.cheap, study.full
    share = 1.0
    timed = full
    if cheap.train is not None and full.train is not None:
        share = cheap.train / full.train
        timed = replace(full, train=cheap.train, val=cheap.val)
    job = partial(_epoch_seconds, study, {}, timed, device)
    measured = [future.result() for future in [pool.submit(attempt, "cost", job) for _ in range(workers)]]
    failed = next((result for result in measured if isinstance(result, Check)), None)
    if failed is not None:
        return failed
    seconds = [result for result in measured if not isinstance(result, Check)]
    return sum(seconds) / len(seconds) / share * full.epochs


def cost_check(study: StudySpec, cost: Cost) -> Check:
    """What a trial and the sweep cost, in words."""
    slowest = "" if cost.slowest_seconds == cost.trial_seconds else f" to {duration(cost.slowest_seconds)}"
    trial = f"{duration(cost.trial_seconds)}{slowest} and {cost.peak_mb:,.0f} MB a trial"
    least, most = duration(cost.sweep_least_seconds), duration(cost.sweep_seconds)
    seconds = f"about {most}" if least == most else f"{least} to {most}"
    sweep = f"{count(study.trials, 'trial')} on {count(cost.workers, 'worker')}"
    seen, minutes = f"{trial}; the sweep {seconds}, {sweep}", study.limit.minutes
    if minutes is None:
        return Check("cost", "go", seen, "no limit")
    allowed = f"{duration(60 * minutes)} a trial (limit.minutes)"
    if cost.slowest_seconds <= 60 * minutes:
        return Check("cost", "go", seen, allowed)
    return Check("cost", "caution", seen, allowed, "the limit, which would end such a trial, or the cheap fidelity")


def cheap_check(study: StudySpec) -> list[Check]:
    """A line where the cheap fidelity saves epochs instead of data; none where it does not.

    Measured by replay of learning curves, at 12 and at 24 full trainings: a quarter of the data, or half the side, with
    all epochs, leads to better winners than a third of the epochs.
    """
    cheap, full = study.cheap, study.full
    saves_data = cheap.size != full.size or cheap.train != full.train
    if saves_data or cheap.epochs == full.epochs:
        return []
    seen = f"saves epochs ({cheap.epochs} of {full.epochs}) and no data"
    advice = "a quarter of the data, or half the size, with all epochs, most often finds better configurations"
    return [Check("cheap fidelity", "go", seen, advice)]


def rungs_check(study: StudySpec, cost: Cost) -> list[Check]:
    """A line where trials pause after so little work that the pauses cost more than a tenth of it; none elsewhere."""
    if study.first_rung is None:
        return []
    epochs, epoch_seconds = study.cheap.epochs, cost.trial_seconds / study.cheap.epochs
    if study.first_rung * epoch_seconds >= PAUSE_AFTER_SECONDS:
        return []
    least = math.ceil(PAUSE_AFTER_SECONDS / epoch_seconds)
    seen = f"{duration(study.first_rung * epoch_seconds)} before the first pause; a pause costs {HANDOVER_SECONDS} s"
    advice = f"pruning=Rungs(first={least})" if least < epochs / 2 else "pruning=Median()"
    return [Check("rungs", "caution", seen, f"at least {duration(PAUSE_AFTER_SECONDS)}", advice)]


def _drawn(study: StudySpec, number: int) -> dict[str, Any]:
    """A configuration of the space, at random."""
    draws = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
    return space.suggest(draws.ask(), study.space)


def _time_trial(study: StudySpec, values: Mapping[str, Any], device: str) -> _Timed:
    """Time the second epoch of a cheap trial: the first one pays for imports and caches. Runs in a worker.

    Where a cheap trial has a single epoch, that one is timed.
    """
    epoch_seconds = _epoch_seconds(study, values, study.cheap, device)
    return _Timed(epoch_seconds * study.cheap.epochs * study.cross_validate, _peak_mb())


def _epoch_seconds(study: StudySpec, values: Mapping[str, Any], fidelity: Fidelity, device: str) -> float:
    task, recipe = study.configure(values, fidelity)
    epochs = itertools.islice(epochs_of(task, recipe, fidelity, seed=1, device=device), 2)
    return [progress.seconds for progress in epochs][-1]


def least_share(study: StudySpec) -> float:
    """The least share of its epochs that a sweep can take: every trial is pruned that may be, as soon as it may be."""
    if study.pruning is None or study.is_ladder:  # a ladder takes what is left for further trials
        return 1.0
    rule = study.pruning if isinstance(study.pruning, Median) else SOONEST
    whole = min(study.trials, max(1, rule.startup_trials))
    pruned = study.trials - whole
    epochs = study.cheap.epochs
    pruned_epochs = min(rule.warmup(epochs) + 1, epochs)  # until a trial may be pruned
    return (whole + pruned * pruned_epochs / epochs) / study.trials


def _peak_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
