"""Preflight: show that the task can be learned and that what is searched matters, before money is spent on a sweep."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import asdict, dataclass, field
from functools import partial
from types import MappingProxyType

from hpo.checking import checks, data, folds, moving, overfit, overfit_checks, own, reading, saved, speed
from hpo.checking.cost import Cost, cheap_check, cost_check, measure_cost, rungs_check
from hpo.checking.overfit import Control, OverfitRun, RunName
from hpo.checking.overfit_checks import CONTROL_CHECK, OverfitRuns
from hpo.contract.returned import checked_checks
from hpo.engine.own_training import OwnTraining
from hpo.errors import Refused
from hpo.files import write_json
from hpo.plain import nulled
from hpo.storage.folder import RunFolder
from hpo.storage.identity import Details, differences, differing_parts, keep_details
from hpo.study import StudySpec
from hpo.task import Check, Evidence, Status
from hpo.trial.guard import attempt, failed_check, run_check
from hpo.trial.provenance import identity_details
from hpo.workers import coordinator
from hpo.workers.local import Backend, Processes
from hpo.workers.logged import Logged
from hpo.workers.loky_private import loading_error


@dataclass(frozen=True)
class Overfitting:
    """The curves of the overfit check: its measure after every epoch, from the untrained model on."""

    measure: str
    go: float
    caution: float
    epochs: int
    honest: tuple[float, ...]
    shuffled: tuple[float, ...]
    zeroed: tuple[float, ...]


@dataclass(frozen=True)
class Preflight:
    """The verdict of a preflight, and what it rests on."""

    status: Status
    identity: Mapping[str, str]  # hashes of code, data, space, ...: a change makes the verdict stale
    checks: tuple[Check, ...]
    seconds: float
    overfit: Overfitting | None = None  # None where the overfit check could not be run
    cost: Cost | None = None  # None where a check failed before it was measured


@dataclass(frozen=True)
class _Measured:
    """What a preflight measures beside its checks."""

    overfitting: Overfitting | None = None
    cost: Cost | None = None


@dataclass(frozen=True)
class Step:
    """A step of a preflight: at work, or with one of the checks that it has made."""

    name: str
    check: Check | None = None  # None: the step begins, or goes on
    seconds: float = 0.0  # since it began; 0 where it begins


@dataclass
class _Checks:
    """The checks made so far. `watch` is called when a step begins, and with each check as soon as it is made."""

    watch: Callable[[Step], None]
    made: list[Check] = field(default_factory=list)
    step: str = ""
    began: float = field(default_factory=time.perf_counter)

    def begin(self, step: str) -> None:
        """Say what is at work from now on."""
        self.step, self.began = step, time.perf_counter()
        self.watch(Step(step))

    def add(self, *new: Check) -> None:
        """Keep checks that the step has made."""
        for check in new:
            self.made.append(check)
            self.watch(Step(self.step, check, time.perf_counter() - self.began))

    def have_failed(self) -> bool:
        return worst_status(self.made) == "no-go"


def preflight(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    *,
    workers: int = 1,
    on: str = "auto",
    device: str = "auto",
    watch: Callable[[Step], None] = lambda _: None,
) -> Preflight:
    """Check the default configuration and every searched hyperparameter, and keep the verdict in the study's folder.

    The checks run where the trials of a sweep would run: in the worker processes of the backend `on`, as
    coordinator.executor takes it. The verdict is kept with the `identity` that it holds for. An exception in the task's
    own code fails the check that met it; the preflight goes on. `watch` is called when a step begins, and with each
    check that is made.
    """
    started = time.perf_counter()
    folder.make()
    done = _Checks(watch)
    measured = _Measured()
    pool = coordinator.executor(workers, on, device=device)
    log = folder.preflight_log.absolute()
    log.unlink(missing_ok=True)  # of the preflight before
    logged, elsewhere = Logged(pool, log), Logged(_elsewhere(pool), log)
    try:
        measured = _run_checks(study, done, logged, elsewhere, workers, device)
    except BrokenExecutor as error:
        done.add(_workers_check(error))
    except BaseException:
        pool.kill()
        raise
    result = Preflight(
        status=worst_status(done.made),
        identity=dict(identity),
        checks=tuple(done.made),
        seconds=time.perf_counter() - started,
        overfit=measured.overfitting,
        cost=measured.cost,
    )
    write_json(folder.preflight, nulled(asdict(result)))
    keep_details(folder, identity, identity_details(study))
    return result


def _run_checks(
    study: StudySpec, done: _Checks, pool: Executor, elsewhere: Executor, workers: int, device: str
) -> _Measured:
    """Run all checks in order. A fault in the data, or in the smoke run, makes the later ones pointless."""
    if isinstance(study.task, OwnTraining):
        done.add(own.unseen(study.task))
        if not own.reads_batches(study.task):
            return _run_training_checks(study, None, done, pool, workers, device)
    foreign = elsewhere.submit(attempt, "every process, same batches", partial(data.field_hashes, study))
    readable = pool.submit(run_check, "data", partial(data.check_splits, study))
    repeatable = pool.submit(run_check, "same seed, same batches", partial(data.check_repeatable, study))
    done.begin("data")
    done.add(*readable.result())
    done.begin("same seed, same batches")
    done.add(*repeatable.result())
    done.begin("folds")
    done.add(*pool.submit(run_check, "folds", partial(folds.check_folds, study)).result())
    done.begin("cross-validation")
    done.add(*pool.submit(run_check, "cross-validation", partial(folds.check_parts, study)).result())
    if done.have_failed():
        return _Measured()
    done.begin("every process, same batches")
    done.add(*_processes_agree(study, foreign.result()))
    if done.have_failed():
        return _Measured()
    is_own = isinstance(study.task, OwnTraining)
    overfitting = None if is_own else _run_overfit_check(study, done, pool, device)
    return _run_training_checks(study, overfitting, done, pool, workers, device)


def _run_training_checks(
    study: StudySpec, overfitting: Overfitting | None, done: _Checks, pool: Executor, workers: int, device: str
) -> _Measured:
    """Run the checks on the smoke run, on what is searched, and on the cost."""
    done.begin("smoke run")
    smoke = pool.submit(attempt, "smoke run", partial(_smoke_checks, study, device)).result()
    if isinstance(smoke, Check):
        done.add(smoke)
        return _Measured(overfitting)
    done.add(*smoke.checks)
    knobs = [pool.submit(_check_affects_training, study, device, smoke.numbers, name) for name in study.space]
    for name, future in zip(study.space, knobs, strict=True):
        done.begin(checks.affects_training(name))
        done.add(*future.result())
    if done.have_failed():
        return _Measured(overfitting)
    done.begin("cost")
    cost = measure_cost(study, workers, device, pool)
    if isinstance(cost, Check):
        done.add(cost)
        return _Measured(overfitting)
    done.add(cost_check(study, cost), *cheap_check(study), *rungs_check(study, cost))
    if speed.matters(study, cost):
        done.begin(speed.NAME)
        done.add(pool.submit(speed.speed_check, study, device).result())
        done.begin(reading.NAME)
        done.add(*pool.submit(reading.reading_check, study, device).result())
    return _Measured(overfitting, cost)


def _workers_check(error: BrokenExecutor) -> Check:
    """The check that met the death of a worker."""
    cause = loading_error(error)
    if not cause:
        return failed_check("workers", error)
    seen = f"a worker process could not load the task: {cause}"
    return Check("workers", "no-go", seen, "no exception", "what the task's file does when a worker imports it")


def worst_status(made: Iterable[Check]) -> Status:
    """The worst status among the checks: "no-go", then "caution", then "go"."""
    statuses = {check.status for check in made}
    if "no-go" in statuses:
        return "no-go"
    return "caution" if "caution" in statuses else "go"


# -- the checks that need more than the study ------------------------------------------------------------------------
def _elsewhere(pool: Backend) -> Executor:
    """A process that orders sets otherwise than this one.

    Every worker process does, unless the user has set PYTHONHASHSEED.
    """
    if isinstance(pool, Processes) and "PYTHONHASHSEED" not in os.environ:
        return pool
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    return coordinator.foreign_process(hash_seed, tuple(sys.path))


def _processes_agree(study: StudySpec, elsewhere: Mapping[str, str] | Check) -> list[Check]:
    if isinstance(elsewhere, Check):  # the task's code has raised there
        return [elsewhere]
    return run_check("every process, same batches", partial(data.check_processes_agree, study, elsewhere))


def _run_overfit_check(study: StudySpec, done: _Checks, pool: Executor, device: str) -> Overfitting | None:
    """Train the fixed set as it is and with both controls, and check what came of it.

    Returns the curves; None where an exception ended the honest run.
    """
    done.begin("overfit")
    names: tuple[RunName, ...] = ("honest", "shuffled", "zeroed")
    honest, shuffled, zeroed = pool.map(partial(_overfit_run, study, device), names)
    assert honest is not None  # every task has an honest run
    if isinstance(honest, Check):
        done.add(honest)
        return None
    runs = OverfitRuns(honest, _run_or_none(shuffled), _run_or_none(zeroed))
    bands = overfit_checks.bands_of(study, runs)
    done.add(overfit_checks.check_start(study, honest))
    done.add(overfit_checks.check_overfit(study, runs))
    done.add(overfit_checks.check_finite(honest))
    if not honest.failure:
        done.add(overfit_checks.check_moves(honest))
    controls: dict[Control, OverfitRun | Check | None] = {"shuffled": shuffled, "zeroed": zeroed}
    for control, run in controls.items():
        done.add(run if isinstance(run, Check) else overfit_checks.check_control(control, honest, run, bands))
    if honest.scores is not None:
        done.begin("the task's checks")
        evidence = Evidence("preflight", scores=honest.scores, history=honest.history)
        done.add(*pool.submit(run_check, "the task's checks", partial(_task_checks, study, evidence)).result())
    return Overfitting(
        measure=bands.measure,
        go=bands.go,
        caution=bands.caution,
        epochs=len(honest.history),
        honest=honest.curve,
        shuffled=runs.shuffled.curve if runs.shuffled else (),
        zeroed=runs.zeroed.curve if runs.zeroed else (),
    )


def _run_or_none(run: OverfitRun | Check | None) -> OverfitRun | None:
    return run if isinstance(run, OverfitRun) else None


def _overfit_run(study: StudySpec, device: str, name: RunName) -> OverfitRun | Check | None:
    """One run of the overfit check; a failed Check where the task's code raised, None where there is nothing to spoil.

    Runs in a worker.
    """
    has_fields = {"honest": True, "shuffled": bool(study.task.labels), "zeroed": bool(study.task.inputs)}
    if not has_fields[name]:
        return None
    check_name = "overfit" if name == "honest" else CONTROL_CHECK[name]
    return attempt(check_name, partial(overfit.overfit_run, study, name, device))


def _task_checks(study: StudySpec, evidence: Evidence) -> list[Check]:
    """The task's own checks on the overfit run."""
    task, _ = study.configure({}, study.cheap)
    return checked_checks(task, task.checks(evidence))


@dataclass(frozen=True)
class _SmokeChecks:
    """The numbers of the smoke run, and the checks on it. The model stays in the process that has trained it."""

    numbers: checks.Numbers
    checks: list[Check]


def _smoke_checks(study: StudySpec, device: str) -> _SmokeChecks:
    """Run the default configuration at the smoke fidelity, and check the run. Raises Diverged. Runs in a worker."""
    if isinstance(study.task, OwnTraining):
        return _SmokeChecks(*own.smoke_checks(study))
    smoke = checks.smoke_run(study, device)
    made = [
        *run_check("same seed, same run", partial(checks.check_same_run, study, device, smoke.numbers)),
        *run_check(saved.NAME, partial(saved.check_saved, study, device, smoke.numbers)),
        *run_check("rows belong to examples", partial(checks.check_rows, study, smoke.model)),
        *run_check(moving.NAME, partial(moving.check_goal_stays, study, smoke.model)),
        *run_check("can be promoted", partial(checks.check_promotable, study, smoke.model)),
    ]
    return _SmokeChecks(smoke.numbers, made)


def _check_affects_training(study: StudySpec, device: str, smoke: checks.Numbers, name: str) -> list[Check]:
    """Check one searched hyperparameter. Runs in a worker."""
    return run_check(checks.affects_training(name), lambda: [checks.check_affects_training(study, device, smoke, name)])


# -- the verdict that is kept ----------------------------------------------------------------------------------------
def require_go(
    folder: RunFolder, identity: Mapping[str, str], command: str, details: Details = MappingProxyType({})
) -> None:
    """Raise Refused unless the study's folder holds the verdict of a preflight of this identity, and it is not no-go.

    `command` is what the message tells the user to run.
    """
    if not folder.preflight.exists():
        raise Refused(f"no preflight has been run for this study in {folder.path}; run: {command}")
    try:
        verdict = json.loads(folder.preflight.read_text())
    except json.JSONDecodeError as error:
        raise Refused(f"{folder.preflight} is damaged ({error}); run: {command}") from error
    before = {part: verdict["identity"].get(part) for part in identity}
    changed = differing_parts(before, identity)
    if changed:
        lines = "; ".join(differences(folder, before, identity, details))
        raise Refused(f"the preflight is stale: {', '.join(changed)} changed since ({lines}); run: {command}")
    if verdict["status"] == "no-go":
        failed = ", ".join(check["name"] for check in verdict["checks"] if check["status"] == "no-go")
        raise Refused(f"the preflight said no-go ({failed}); fix that, then run: {command}")


def record_force(folder: RunFolder) -> None:
    """Note in the kept verdict that a sweep was run in spite of it."""
    if folder.preflight.exists():
        write_json(folder.preflight, {**json.loads(folder.preflight.read_text()), "forced": True})
