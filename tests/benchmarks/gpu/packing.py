"""Several workers on one card, as many as their measured memory allows: trials an hour against one at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import optuna
import torch

import hpo
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from tests.benchmarks.gpu.claim import Claim, distance, figure, goal, result, scratch
from tests.benchmarks.gpu.tasks import SEARCHED, searched

GOAL = 4.0
SHARE = 0.9  # of the card's memory that the workers may take together
ROUNDS = 3  # trials of each worker, of which the first pays for its start
MOST_S = 35.0  # after which a sweep begins no new trial
SAME = 0.02  # relative: a kernel may differ from call to call


@dataclass(frozen=True)
class Swept:
    """A sweep's trials an hour after the workers' first ones, and the values by number."""

    an_hour: float
    values: dict[int, float]


@dataclass
class Memory:
    """The most of the card that was in use, in bytes, context included."""

    most: int = 0


def check(device: str) -> Iterator[Claim]:
    for name in SEARCHED:
        study = searched(name, device)
        with watched(device) as memory:
            one = swept(study, 1, device)
        workers = fitting(memory.most, device)
        yield figure(f"{name}: a trial takes {memory.most / 2**20:,.0f} MiB of the card with its context")
        many = swept(study, workers, device)
        ratio = many.an_hour / one.an_hour
        text = f"{name}: one worker {one.an_hour:,.0f} trials an hour, {workers} workers {many.an_hour:,.0f}"
        yield rated(f"{text}: {ratio:.2f} x", ratio, device)
        both = sorted(set(one.values) & set(many.values))
        apart = max(distance(one.values[number], many.values[number]) for number in both)
        yield result(apart < SAME, f"{name}: the values of trials {both} agree within {apart:.1e}")


def rated(text: str, ratio: float, device: str) -> Claim:
    """The ratio beside its goal, which is one for a card."""
    return figure(text) if device == "cpu" else goal(ratio >= GOAL, f"{text} (goal {GOAL:.0f} x)")


def fitting(taken: int, device: str) -> int:
    """How many workers the card holds, and the CPU has cores for; on the CPU two."""
    if device == "cpu":
        return 2
    total = torch.cuda.get_device_properties(0).total_memory
    return max(1, min(len(os.sched_getaffinity(0)), int(SHARE * total / max(taken, 1))))


def swept(study: StudySpec, workers: int, device: str) -> Swept:
    """Sweep with a new folder, and take the rate from the end of the workers' first trials on."""
    study = replace(study, trials=ROUNDS * workers)
    with scratch() as runs:
        hpo.sweep(study, workers=workers, device=device, runs=runs, force=True, timeout=MOST_S)
        storage = RunFolder(runs / study.name).storage
        trials = optuna.load_study(study_name=study.name, storage=storage).trials
    ends = sorted(map(ended, trials))
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    warm = workers if len(ends) > workers else 0  # the first trial of each worker pays for its start
    seconds = (ends[-1] - (ends[warm - 1] if warm else min(starts))).total_seconds()
    return Swept((len(ends) - warm) / seconds * 3600, {trial.number: trial.values[0] for trial in trials})


def ended(trial: optuna.trial.FrozenTrial) -> datetime:
    """When a trial was completed. Raises ValueError where it was not."""
    if trial.state.name != "COMPLETE" or trial.datetime_complete is None:
        raise ValueError(f"trial {trial.number} is {trial.state.name}: {trial.user_attrs.get('reason')}")
    return trial.datetime_complete


@contextmanager
def watched(device: str) -> Iterator[Memory]:
    """Look ten times a second how much of the card is in use: by one process here, which trains in this one."""
    memory, over = Memory(), threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            free, total = torch.cuda.mem_get_info()
            memory.most = max(memory.most, total - free)

    watcher = threading.Thread(target=look)
    if device != "cpu":
        watcher.start()
    yield memory
    over.set()
    if device != "cpu":
        watcher.join()
