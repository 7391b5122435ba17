"""Sweep: the search at the cheap fidelity."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hpo.contract.optuna_objects import random_note, resume_note
from hpo.formatting import count
from hpo.search import sweep as search
from hpo.search.sweep import TrialsWanted
from hpo.search.tries import tries_left_out
from hpo.storage.database import package_changes
from hpo.storage.transient import failures_as_halted
from hpo.trial.changes import Change
from hpo.trial.guard import quits_as_errors
from hpo.trial.lifecycle import Standing
from hpo.trial.warm import require_warm
from hpo.verbs.changes import go_on, require_same_or_accepted
from hpo.verbs.command_log import begin
from hpo.verbs.display import Display
from hpo.verbs.failures import failures_shown, require_few_faults
from hpo.verbs.go import require_go_or_force
from hpo.verbs.news.announcer import Announcer, announced
from hpo.verbs.opening import AnyStudy, Opened, open_study, require_own_trials
from hpo.verbs.options import Folder, Options
from hpo.verbs.progress import display_for
from hpo.verbs.tries import keep_first, require_tries
from hpo.verbs.watching import in_ledger, say_lines, watcher


@failures_as_halted()
@quits_as_errors()
def sweep(
    study: AnyStudy,
    *,
    smoke: bool = False,
    workers: int | None = None,
    trials: int | None = None,
    timeout: float | None = None,
    tries: Sequence[Mapping[str, Any]] = (),
    data: Folder | None = None,
    device: str = "auto",
    runs: Folder = "runs",
    storage: str | None = None,
    backend: str = "local",
    scheduler: str | None = None,
    force: bool = False,
    accept: Collection[str] = (),
    log: Folder | None = None,
    notify: str | None = None,
    progress: bool | Display = False,
) -> Standing:
    """Search at the cheap fidelity until `trials` trials have ended, those of earlier calls included.

    Raises Refused without a fresh preflight that did not say no-go, unless `force` is set, which is recorded, and
    SweepFailed where no trial was completed, six of the last eight trials failed in one way, or more than a quarter of
    at least four trials failed with an error: what diverged, is infeasible, ran out of memory, lost its worker or went
    over a limit is an answer about a configuration, and does not count.

    A study whose space or code has changed goes on with `accept=["space"]` or `["code"]`, with the trials that still
    fit.

    `tries` are configurations that are trained before what the sampler proposes, each once: `[{"recipe.lr": 0.02}]`.
    What is left out has its default. They count in `trials`, and are refused where the space does not hold them.
    """
    options = Options(
        smoke=smoke,
        workers=workers,
        trials=trials,
        timeout=timeout,
        tries=tuple(tries),
        data=data,
        device=device,
        runs=runs,
        storage=storage,
        backend=backend,
        scheduler=scheduler,
        force=force,
        accept=tuple(accept),
        log=log,
        notify=notify,
    )
    opened = open_study("sweep", study, options, display_for(progress))
    require_own_trials(opened.folder)
    require_warm(opened.study, opened.folder, opened.identity)
    change = require_same_or_accepted(opened)
    tries = require_tries(opened)
    require_go_or_force(opened)
    display = display_for(progress)
    with announced(opened, display) as news:
        keep_first(opened, tries)
        return sweep_stage(opened, display, news, change)


def sweep_stage(
    opened: Opened, display: Display, news: Announcer, change: Change | None, wanted: TrialsWanted | None = None
) -> Standing:
    """The sweep of a study in which nothing is left to refuse. `wanted` is asked before each trial how many there are
    in all; None: those of the study. Raises SweepFailed as `sweep` does."""
    study = opened.study
    begin(opened)
    say_lines(display, go_on(opened, change))
    say_lines(
        display,
        package_changes(opened.folder, study.name, opened.details),
        tries_left_out(study, opened.folder),
        random_note(study.search, study.space),
        resume_note(study.search, study.pruning),
    )
    workers = count(opened.workers, "worker") if opened.workers else "all workers of the cluster"
    display.say(f"sweep of {study.name}: {count(study.trials, 'trial')}, {workers}")
    with (
        failures_shown(opened, display),
        in_ledger(opened, display) as update_record,
        display.bar("sweep", study.trials) as update,
    ):
        standing = search.sweep(
            study,
            opened.folder,
            opened.identity,
            workers=opened.workers,
            on=opened.on,
            timeout=opened.options.timeout,
            device=opened.options.device,
            wanted=wanted,
            watch=watcher(study.trials, update, update_record, news),
        )
    display.sweep_ended(opened, standing)
    news.sweep_ended(standing)
    require_few_faults(opened, display, standing)
    return standing
