"""Which precision and memory layout make a step faster here, measured in seconds; and whether low precision learns."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

import torch

from hpo.checking.cost import Cost
from hpo.checking.overfit import SEED, FixedSet, OverfitSet, fixed_set
from hpo.data.batch import examples_in
from hpo.data.passes import one_pass
from hpo.engine.evaluation import resolve_device
from hpo.engine.own_training import OwnTraining
from hpo.engine.run import Run
from hpo.engine.totals import StepTotals
from hpo.formatting import count, listed, number
from hpo.recipe import Recipe
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Check, Fidelity, Task
from hpo.trial.guard import attempt

NAME = "speed"
MATTERS = 60.0  # seconds of a sweep; a shorter one gains nothing worth a line
PAYS = 1.1  # a setting is advised where a step is so many times as fast
ROUNDS = 9  # steps that are timed with each setting
LEAST_ROUNDS = 3  # of them, however long a step takes
SECONDS = 3.0  # after which no other round begins
STEPS = 24  # taken on the overfit check's set, in each precision and with each seed
SEEDS = (1, 2)
MAY_LACK = 0.05  # share of what fp32 has learned that a low precision may lack

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Setting:
    """The fields of a recipe that say how a step is computed, and not what it computes."""

    precision: Precision
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.precision} with channels_last" if self.channels_last else self.precision

    def put(self, recipe: Recipe) -> Recipe:
        """The recipe with this setting."""
        return replace(recipe, precision=self.precision, channels_last=self.channels_last)

    def fields(self, before: Setting) -> str:
        """The recipe's fields that differ from `before`, as a study file has them."""
        changed = {name: value for name, value in vars(self).items() if value != getattr(before, name)}
        return ", ".join(f"recipe.{name}={value!r}" for name, value in changed.items())


@dataclass(frozen=True)
class Speeds:
    """How long a step takes: in the study's own setting, and how many times as fast it is in the others."""

    own: Setting
    own_seconds: float
    times_as_fast: Mapping[Setting, float]
    failures: Mapping[Setting, str]  # settings that cannot be run, and why

    @property
    def paying(self) -> list[Setting]:
        """The settings that pay, the fastest first."""
        paying = [setting for setting, times in self.times_as_fast.items() if times >= PAYS]
        return sorted(paying, key=lambda setting: -self.times_as_fast[setting])


@dataclass(frozen=True)
class Learned:
    """The loss on the overfit check's set after a few dozen steps, in a low precision and in fp32, for each seed."""

    precision: Precision
    low: tuple[float, ...]
    fp32: tuple[float, ...]
    start: float  # the mean of the first pass, in fp32

    @property
    def holds(self) -> bool:
        """Whether the low precision learns as well as fp32: what it lacks is little, or no more than a seed changes."""
        little = MAY_LACK * max(0.0, self.start - fmean(self.fp32))
        luck = max(self.fp32) - min(self.fp32)
        return fmean(self.low) - fmean(self.fp32) <= max(little, luck)  # False where a loss is NaN


def matters(study: StudySpec, cost: Cost) -> bool:
    """Whether speed is worth a line: not in a rehearsal, in a sweep of seconds, or where the task trains itself."""
    is_rehearsal = study.cheap == study.smoke
    return cost.sweep_seconds >= MATTERS and not is_rehearsal and not isinstance(study.task, OwnTraining)


def speed_check(study: StudySpec, device: str) -> Check:
    """A line with the time of a step in each precision and memory layout, and the field of the recipe to set.

    It informs, and is never "no-go": a setting that cannot be run is named with its error, and where nothing can be
    measured the check is a "skip". Takes a few seconds. Runs in a worker.
    """
    check = attempt(NAME, partial(_check, study, device))
    return replace(check, status="skip") if check.status == "no-go" else check


def _check(study: StudySpec, device: str) -> Check:
    speeds = measure_speeds(study, device)
    precisions: set[Precision] = {setting.precision for setting in (speeds.own, *speeds.paying)} - {"fp32"}
    learned = {precision: measure_learned(study, precision, device) for precision in sorted(precisions)}
    return Check(NAME, "go", "; ".join(_measured(speeds, learned)), _advice(speeds, learned))


def _measured(speeds: Speeds, learned: Mapping[Precision, Learned]) -> Iterator[str]:
    """What was measured, in words."""
    yield f"a step takes {number(1000 * speeds.own_seconds, 3)} ms in {speeds.own}"
    for setting, times in speeds.times_as_fast.items():
        yield f"{setting} is {times:.2f} times as fast"
    for setting, reason in speeds.failures.items():
        yield f"{setting} cannot be run ({reason})"
    for precision, loss in learned.items():
        yield (
            f"after {STEPS} steps on the overfit set the loss is {_numbers(loss.low)} in {precision} and "
            f"{_numbers(loss.fp32)} in fp32 ({count(len(SEEDS), 'seed')}), from {number(loss.start)}"
        )


def _advice(speeds: Speeds, learned: Mapping[Precision, Learned]) -> str:
    """The fields of the recipe to set, in words."""
    sound = [setting for setting in speeds.paying if _learns(setting, learned)]
    if sound:
        return f"{sound[0].fields(speeds.own)}: {speeds.times_as_fast[sound[0]]:.2f} times as fast"
    if not _learns(speeds.own, learned):
        return f"recipe.precision='fp32': {speeds.own.precision} learns less"
    if speeds.paying:
        return f"the recipe stays: {speeds.paying[0].precision} is faster and learns less"
    return "the recipe stays: nothing is faster"


def _numbers(losses: tuple[float, ...]) -> str:
    return listed([number(loss) for loss in losses])


def _learns(setting: Setting, learned: Mapping[Precision, Learned]) -> bool:
    return setting.precision == "fp32" or learned[setting.precision].holds


# -- the time of a step ----------------------------------------------------------------------------------------------
def measure_speeds(study: StudySpec, device: str) -> Speeds:
    """Time steps of the default configuration on one batch of the cheap fidelity, with all settings in turn.

    Every setting takes a step in each round, so a machine that is slow for a while is so for all of them.
    """
    task, recipe = study.configure({}, study.cheap)
    own = Setting(recipe.precision, recipe.channels_last)
    batch = next(one_pass(task, "train", study.cheap, recipe.batch_size, generator(NAME)))
    start = partial(_warm_run, task, recipe, study.cheap, batch, device)
    runs, failures = {own: start(own)}, {}
    for setting in _others(own, runs[own]):
        run = attempt(NAME, partial(start, setting))
        if isinstance(run, Check):
            failures[setting] = run.seen
        else:
            runs[setting] = run
    rounds = _rounds(runs, batch)
    ratios = {setting: median(times[own] / times[setting] for times in rounds) for setting in runs if setting != own}
    return Speeds(own, median(times[own] for times in rounds), ratios, failures)


def _others(own: Setting, run: Run) -> list[Setting]:
    """The settings to compare with. The layout matters to images alone, and so to models with weights of four axes."""
    has_images = any(parameter.dim() == 4 for parameter in run.model.parameters())
    layouts = (False, True) if has_images else (own.channels_last,)
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    settings = [Setting(precision, layout) for precision in precisions for layout in layouts]
    return [setting for setting in settings if setting != own]


def _warm_run(
    task: Task[Any], recipe: Recipe, fidelity: Fidelity, batch: NamedTuple, device: str, setting: Setting
) -> Run:
    """A run on this batch alone that has taken its first step, which pays for what later ones find made."""
    examples = examples_in(batch)
    only = replace(fidelity, train=examples, val=examples, epochs=ROUNDS + 1)
    run = Run(OverfitSet(task, [batch]), setting.put(recipe), only, SEED, resolve_device(device))
    run.model.train()
    _step_seconds(run, batch, 0)
    return run


def _rounds(runs: Mapping[Setting, Run], batch: NamedTuple) -> list[dict[Setting, float]]:
    """The seconds of a step with each setting, round by round."""
    rounds: list[dict[Setting, float]] = []
    began = time.perf_counter()
    for number_of_step in range(1, ROUNDS + 1):
        if len(rounds) >= LEAST_ROUNDS and time.perf_counter() - began > SECONDS:
            break
        rounds.append({setting: _step_seconds(run, batch, number_of_step) for setting, run in runs.items()})
    return rounds


def _step_seconds(run: Run, batch: NamedTuple, epoch: int) -> float:
    started = time.perf_counter()
    run.step(run.place(batch), epoch, StepTotals())
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    return time.perf_counter() - started


# -- whether a low precision learns ----------------------------------------------------------------------------------
def measure_learned(study: StudySpec, precision: Precision, device: str) -> Learned:
    """Take a few dozen steps on the overfit check's set, from the same weights and seeds in both precisions."""
    fixed = fixed_set(study)
    fp32, low = (
        [_losses(fixed, replace(fixed.recipe, precision=each), seed, device) for seed in SEEDS]
        for each in ("fp32", precision)
    )
    return Learned(
        precision,
        low=tuple(losses[-1] for losses in low),
        fp32=tuple(losses[-1] for losses in fp32),
        start=fmean(losses[0] for losses in fp32),
    )


def _losses(fixed: FixedSet, recipe: Recipe, seed: int, device: str) -> list[float]:
    """The mean loss of each pass over the set. Steps that were skipped do not count; NaN where all of a pass were."""
    passes = max(2, math.ceil(STEPS / len(fixed.batches)))
    fidelity = replace(fixed.fidelity, epochs=passes)
    run = Run(OverfitSet(fixed.task, fixed.batches), recipe, fidelity, seed, resolve_device(device))
    return [run.train_pass(epoch).mean_loss for epoch in range(passes)]
