"""Preflight: show that the task can be learned and that what is searched matters, before money is spent on a sweep."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import asdict, dataclass
from functools import partial

from hpo.checking import data, folds, moving, own, promotable, reading, repeatable, saved, searched, smoke, speed
from hpo.checking.cost import Cost, cheap_check, cost_check, measure_cost, rungs_check
from hpo.checking.made import Made, Step, worst_status
from hpo.checking.numbers import Numbers
from hpo.checking.overfit_step import Overfitting, run_overfit_check
from hpo.engine.own_training import OwnTraining
from hpo.files import write_json
from hpo.plain import nulled
from hpo.storage.folder import RunFolder
from hpo.storage.identity import keep_details
from hpo.study import StudySpec
from hpo.task import Check, Status
from hpo.trial.guard import attempt, failed_check, run_check
from hpo.trial.provenance import identity_details
from hpo.workers import coordinator
from hpo.workers.local import Backend, Processes
from hpo.workers.logged import Logged
from hpo.workers.loky_private import loading_error


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
    done = Made(watch)
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
    study: StudySpec, done: Made, pool: Executor, elsewhere: Executor, workers: int, device: str
) -> _Measured:
    """Run all checks in order. A fault in the data, or in the smoke run, makes the later ones pointless."""
    if isinstance(study.task, OwnTraining):
        done.add(own.unseen(study.task))
        if not own.reads_batches(study.task):
            return _run_training_checks(study, None, done, pool, workers, device)
    foreign = elsewhere.submit(attempt, "every process, same batches", partial(repeatable.field_hashes, study))
    readable = pool.submit(run_check, "data", partial(data.check_splits, study))
    repeated = pool.submit(run_check, "same seed, same batches", partial(repeatable.check_repeatable, study))
    done.begin("data")
    done.add(*readable.result())
    done.begin("same seed, same batches")
    done.add(*repeated.result())
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
    overfitting = None if is_own else run_overfit_check(study, done, pool, device)
    return _run_training_checks(study, overfitting, done, pool, workers, device)


def _run_training_checks(
    study: StudySpec, overfitting: Overfitting | None, done: Made, pool: Executor, workers: int, device: str
) -> _Measured:
    """Run the checks on the smoke run, on what is searched, and on the cost."""
    done.begin("smoke run")
    trained = pool.submit(attempt, "smoke run", partial(_smoke_checks, study, device)).result()
    if isinstance(trained, Check):
        done.add(trained)
        return _Measured(overfitting)
    done.add(*trained.checks)
    knobs = [pool.submit(_check_affects_training, study, device, trained.numbers, name) for name in study.space]
    for name, future in zip(study.space, knobs, strict=True):
        done.begin(searched.affects_training(name))
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
    return run_check("every process, same batches", partial(repeatable.check_processes_agree, study, elsewhere))


@dataclass(frozen=True)
class _SmokeChecks:
    """The numbers of the smoke run, and the checks on it. The model stays in the process that has trained it."""

    numbers: Numbers
    checks: list[Check]


def _smoke_checks(study: StudySpec, device: str) -> _SmokeChecks:
    """Run the default configuration at the smoke fidelity, and check the run. Raises Diverged. Runs in a worker."""
    if isinstance(study.task, OwnTraining):
        return _SmokeChecks(*own.smoke_checks(study))
    run = smoke.smoke_run(study, device)
    made = [
        *run_check("same seed, same run", partial(smoke.check_same_run, study, device, run.numbers)),
        *run_check(saved.NAME, partial(saved.check_saved, study, device, run.numbers)),
        *run_check("rows belong to examples", partial(smoke.check_rows, study, run.model)),
        *run_check(moving.NAME, partial(moving.check_goal_stays, study, run.model)),
        *run_check("can be promoted", partial(promotable.check_promotable, study, run.model)),
    ]
    return _SmokeChecks(run.numbers, made)


def _check_affects_training(study: StudySpec, device: str, numbers: Numbers, name: str) -> list[Check]:
    """Check one searched hyperparameter. Runs in a worker."""
    return run_check(
        searched.affects_training(name), lambda: [searched.check_affects_training(study, device, numbers, name)]
    )
