"""Preflight: before any money is spent, prove that the task can be learned and that what is searched matters."""

from __future__ import annotations

import itertools
import json
import math
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import asdict, dataclass, field
from functools import partial

import torch

from hpo.checking import checks, overfit
from hpo.checking.overfit import OverfitRun
from hpo.engine.training import fit
from hpo.errors import Refused
from hpo.files import write_json
from hpo.formatting import count, duration
from hpo.plain import nulled
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Check, Evidence, Status
from hpo.trial.guard import attempt, failed_check, run_check
from hpo.workers import coordinator, local


@dataclass(frozen=True)
class Cost:
    """What one trial takes, measured, and what the sweep will take from that, with nothing pruned."""

    trial_seconds: float
    sweep_seconds: float
    workers: int
    peak_mb: float  # of the process that it was measured in, or of the device


@dataclass(frozen=True)
class Overfitting:
    """Curves of the measure on the fixed set, from the untrained model on."""

    measure: str
    go: float
    caution: float
    epochs: int
    honest: tuple[float, ...]
    shuffled: tuple[float, ...]
    zeroed: tuple[float, ...]


@dataclass(frozen=True)
class Preflight:
    """The verdict, and what it rests on."""

    status: Status
    identity: Mapping[str, str]  # of code, data, space, ...: a change makes the verdict stale
    checks: tuple[Check, ...]
    seconds: float
    overfit: Overfitting | None = None
    cost: Cost | None = None


@dataclass
class _Findings:
    checks: list[Check] = field(default_factory=list)
    watch: Callable[[Check], None] = lambda check: None

    def add(self, found: Iterable[Check]) -> None:
        for check in found:
            self.checks.append(check)
            self.watch(check)


def preflight(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    *,
    workers: int = 1,
    device: str = "auto",
    watch: Callable[[Check], None] = lambda check: None,
) -> Preflight:
    """Check the study's default configuration and each searched name; store the verdict with the hashes it holds for.

    An exception in the task's own code is a no-go of the check that met it, not the end of the preflight.
    """
    started = time.perf_counter()
    folder.make()
    found = _Findings(watch=watch)
    overfitting, cost = None, None
    pool = coordinator.executor(workers, device=device)
    local.prepare_worker()  # much of what follows is run here, and must be what a worker would see
    try:
        overfitting, cost = _look(study, found, pool, workers, device)
    except BrokenExecutor as error:
        found.add([failed_check("workers", error)])
    except BaseException:
        pool.kill()
        raise
    result = Preflight(
        worst(found.checks), dict(identity), tuple(found.checks), time.perf_counter() - started, overfitting, cost
    )
    write_json(folder.preflight, nulled(asdict(result)))
    return result


def _look(
    study: StudySpec, found: _Findings, pool: Executor, workers: int, device: str
) -> tuple[Overfitting | None, Cost | None]:
    for name, look in (
        ("data", checks.check_batches),
        ("same seed, same batches", checks.check_repeatable),
        ("splits disjoint", checks.check_disjoint),
    ):
        found.add(run_check(name, partial(look, study)))
    if worst(found.checks) == "no-go":
        return None, None  # the rest would only repeat what the data did wrong
    overfitting = _prove(study, found, pool, device)
    run = attempt("smoke run", partial(checks.smoke_run, study, device))
    if isinstance(run, Check):
        found.add([run])
        return overfitting, None
    found.add(run_check("same seed, same run", partial(checks.check_same_run, study, device, run)))
    found.add(run_check("goal is a mean", partial(checks.check_goal, study)))
    found.add(run_check("can be promoted", partial(checks.check_promotable, study)))
    for knob in pool.map(partial(_knob, study, device, run), study.space):
        found.add(knob)
    if worst(found.checks) == "no-go":
        return overfitting, None
    cost = attempt("cost", partial(measure_cost, study, workers, device))
    found.add([cost if isinstance(cost, Check) else _cost_check(study, cost)])
    return overfitting, None if isinstance(cost, Check) else cost


def worst(found: Iterable[Check]) -> Status:
    """The worst status among the checks: "no-go", then "caution", then "go"."""
    statuses = {check.status for check in found}
    return "no-go" if "no-go" in statuses else "caution" if "caution" in statuses else "go"


def require_go(folder: RunFolder, identity: Mapping[str, str], command: str) -> None:
    """Raise Refused unless a preflight of this very code, data and space has not said no-go."""
    if not folder.preflight.exists():
        raise Refused(f"no preflight has been run for this study in {folder.path}; run: {command}")
    try:
        before = json.loads(folder.preflight.read_text())
    except json.JSONDecodeError as error:
        raise Refused(f"{folder.preflight} is damaged ({error}); run: {command}") from error
    stale = sorted(key for key in identity if before["identity"].get(key) != identity[key])
    if stale:
        raise Refused(f"the preflight is stale: {', '.join(stale)} changed since; run: {command}")
    if before["status"] == "no-go":
        failed = ", ".join(check["name"] for check in before["checks"] if check["status"] == "no-go")
        raise Refused(f"the preflight said no-go ({failed}); mend that and run: {command}")


def record_force(folder: RunFolder) -> None:
    """Note beside the verdict that a sweep went past it."""
    if folder.preflight.exists():
        write_json(folder.preflight, {**json.loads(folder.preflight.read_text()), "forced": True})


def _prove(study: StudySpec, found: _Findings, pool: Executor, device: str) -> Overfitting | None:
    """Learn the fixed set by heart, honestly and with both controls."""
    names: tuple[overfit.Control, ...] = ("honest", "shuffled", "zeroed")
    runs = list(pool.map(partial(_overfit, study, device), names))
    honest, *spoiled = runs
    assert honest is not None  # there is always an honest run
    if isinstance(honest, Check):
        found.add([honest])
        return None
    found.add([overfit.check_start(study, honest), overfit.check_overfit(study, honest), overfit.check_finite(honest)])
    if not honest.failure:
        found.add([overfit.check_moves(honest)])
    for name, control in zip(names[1:], spoiled, strict=True):
        found.add([control if isinstance(control, Check) else overfit.check_control(study, name, honest, control)])
    if honest.scores is not None:
        evidence = Evidence("preflight", scores=honest.scores, history=honest.history)
        found.add(run_check("the task's checks", partial(_own_checks, study, evidence)))
    proof = study.task.overfit
    curves = [run.curve if isinstance(run, OverfitRun) else () for run in runs]
    return Overfitting(proof.measure, proof.go, proof.caution, proof.epochs, *curves)


def _own_checks(study: StudySpec, evidence: Evidence) -> list[Check]:
    task, _ = study.configure({}, study.cheap)
    return task.checks(evidence)


def _overfit(study: StudySpec, device: str, control: overfit.Control) -> OverfitRun | Check | None:
    if not {"honest": True, "shuffled": study.task.labels, "zeroed": study.task.inputs}[control]:
        return None
    name = {"honest": "overfit", "shuffled": "labels matter", "zeroed": "input matters"}[control]
    return attempt(name, lambda: overfit.overfit_run(study, control, device))


def _knob(study: StudySpec, device: str, run: Mapping[str, float], name: str) -> list[Check]:
    return run_check(f"reaches: {name}", lambda: [checks.check_knob(study, device, run, name)])


def measure_cost(study: StudySpec, workers: int, device: str) -> Cost:
    """Time the second epoch of a cheap trial: the first one pays for imports and caches."""
    task, recipe = study.configure({}, study.cheap)
    epochs = itertools.islice(fit(task, recipe, study.cheap, seed=1, device=device), 2)
    trial = [progress.seconds for progress in epochs][-1] * study.cheap.epochs
    return Cost(trial, trial * math.ceil(study.trials / workers), workers, _peak_mb())


def _cost_check(study: StudySpec, cost: Cost) -> Check:
    return Check(
        "cost",
        "go",
        f"{duration(cost.trial_seconds)} and {cost.peak_mb:,.0f} MB a trial; the sweep at most "
        f"{duration(cost.sweep_seconds)}, {count(study.trials, 'trial')} on {count(cost.workers, 'worker')}",
        "no limit",
    )


def _peak_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
