"""What would make a step of the search tiers faster on a card: resident data, torch.compile, CUDA graphs.

Steps a second of one process, against the engine as it is. The losses must agree.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from hpo.engine.evaluation import resolve_device
from hpo.engine.run import Run
from hpo.engine.totals import StepTotals
from tests.benchmarks.gpu.claim import Claim, distance, figure, result, synchronize
from tests.benchmarks.gpu.tasks import SEARCHED, searched

TIMED_S, WARM_STEPS = 3.0, 5
SAME = 0.05  # relative distance of the first steps' mean loss: another order of sums, and other dropout
COMPILED = {  # ways to compile the model
    "torch.compile": {"mode": "default"},
    "torch.compile with CUDA graphs": {"mode": "reduce-overhead"},
}
ON_CPU = {"torch.compile without a compiler": {"backend": "eager"}}


@dataclass(frozen=True)
class Speed:
    """Steps a second, and the mean loss of the first steps."""

    rate: float
    loss: float


def check(device: str) -> Iterator[Claim]:
    for name in SEARCHED:
        run = fresh(name, device)
        eager = timed(run, streamed(run), device)
        yield figure(f"{name}: {eager.rate:.1f} steps/s as it is")
        run = fresh(name, device)
        resident = [run.place(batch) for batch in run._training_batches(0)]
        yield from compared(name, "resident data", eager, timed(run, itertools.cycle(resident), device))
        for way, settings in (ON_CPU if device == "cpu" else COMPILED).items():
            run = fresh(name, device)
            run.model.compile(**settings)
            try:
                fast = timed(run, streamed(run), device)
            except Exception as error:  # a compiler that cannot do it costs a gain, and no result
                yield figure(f"{name}, {way}: cannot be compiled ({type(error).__name__})")
            else:
                yield from compared(name, way, eager, fast)


def fresh(name: str, device: str) -> Run:
    """A run of the default configuration at the search tier, ready for its first step."""
    study = searched(name, device)
    task, recipe = study.configure({}, study.cheap)
    run = Run(task, recipe, study.cheap, 1, resolve_device(device))
    run.model.train()
    return run


def streamed(run: Run) -> Iterator[NamedTuple]:
    """The batches of epoch after epoch, each brought to the device when it is needed."""
    for epoch in itertools.count():
        yield from map(run.place, run._training_batches(epoch))


def timed(run: Run, batches: Iterable[NamedTuple], device: str) -> Speed:
    """Take steps for some seconds after the first ones, which are not counted."""
    first, rest, source = StepTotals(), StepTotals(), iter(batches)
    for batch in itertools.islice(source, WARM_STEPS):
        run.step(batch, 0, first)
    synchronize(device)
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < TIMED_S:
        run.steps = WARM_STEPS  # the schedule would come to its end, where nothing is trained
        run.step(next(source), 0, rest)
        synchronize(device)
        steps += 1
    return Speed(steps / (time.perf_counter() - began), first.mean_loss)


def compared(name: str, way: str, eager: Speed, fast: Speed) -> Iterator[Claim]:
    yield figure(f"{name}, {way}: {fast.rate:.1f} steps/s, {fast.rate / eager.rate:.2f} x")
    apart = distance(fast.loss, eager.loss)
    yield result(apart < SAME, f"{name}, {way}: the first losses agree within {apart:.1e}")
