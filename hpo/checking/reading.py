"""How long training waits for its batches: what never changes and is read in each epoch costs every trial time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

import torch

from hpo.checking.overfit import SEED
from hpo.data.passes import one_pass
from hpo.engine.evaluation import resolve_device
from hpo.engine.run import Run
from hpo.engine.totals import StepTotals
from hpo.formatting import duration
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Check
from hpo.trial.guard import attempt

NAME = "reading"
NOTICED = 0.2  # share of an epoch's training from which on waiting for batches is worth a line
SECONDS = 5.0  # after which no other batch is timed


@dataclass(frozen=True)
class Waiting:
    """How many seconds an epoch's training takes, and how many of them it waits for batches."""

    waits: float
    seconds: float

    @property
    def share(self) -> float:
        return self.waits / self.seconds


def reading_check(study: StudySpec, device: str) -> list[Check]:
    """A line where training waits for its batches a fifth of the time or more; none elsewhere.

    It informs, and is never "no-go": where nothing can be measured the check is a "skip". Takes a few seconds. Runs in
    a worker.
    """
    waiting = attempt(NAME, partial(measure_waiting, study, device))
    if isinstance(waiting, Check):
        return [replace(waiting, status="skip")]
    if waiting.share < NOTICED:
        return []
    seen = (
        f"training waits for its batches {waiting.share:.0%} of the time: "
        f"{duration(waiting.waits)} of {duration(waiting.seconds)} an epoch"
    )
    advice = "read once what never changes (functools.cache), and keep what is costly to make (hpo.made_once)"
    return [Check(NAME, "go", seen, advice, "batches")]


def measure_waiting(study: StudySpec, device: str) -> Waiting:
    """Time the batches and the steps of an epoch of the default configuration at the cheap fidelity.

    The first batch of an epoch is timed by itself, for what is read at the start is waited for there; where an epoch is
    long, a part of the others stands for all of them.
    """
    task, recipe = study.configure({}, study.cheap)
    run = Run(task, recipe, study.cheap, SEED, resolve_device(device))
    run.model.train()
    a_pass = partial(one_pass, task, "train", study.cheap, recipe.batch_size, generator(NAME))
    next(a_pass())  # what is read once in a process has been read
    totals, waits, steps = StepTotals(), list[float](), list[float]()
    began = at = time.perf_counter()
    for batch in a_pass():
        ready = time.perf_counter()
        run.step(run.place(batch), 0, totals)
        if run.device.type == "cuda":
            torch.cuda.synchronize(run.device)
        waits.append(ready - at)
        at = time.perf_counter()
        steps.append(at - ready)
        if at - began > SECONDS:
            break
    steady = steps[1:] or steps  # the first step pays for what later ones find made
    waited = waits[0] + _mean(waits[1:]) * (run.batches - 1)
    return Waiting(waited, waited + _mean(steady) * run.batches)


def _mean(seconds: list[float]) -> float:
    return sum(seconds) / len(seconds) if seconds else 0.0
