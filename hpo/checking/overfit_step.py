"""The overfit check as a step of the preflight: the honest run, its two controls, and what they say together."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from hpo.checking import overfit, overfit_checks
from hpo.checking.made import Made
from hpo.checking.overfit import Control, OverfitRun, RunName
from hpo.checking.overfit_checks import CONTROL_CHECK, OverfitRuns
from hpo.contract.returned import checked_checks
from hpo.study import StudySpec
from hpo.task import Check, Evidence
from hpo.trial.guard import attempt, run_check


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


def run_overfit_check(study: StudySpec, done: Made, pool: Executor, device: str) -> Overfitting | None:
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
