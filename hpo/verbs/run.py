"""Run: preflight, gate, sweep, promote and report, in this order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hpo.errors import StoppedEarly, SweepFailed
from hpo.formatting import out_of
from hpo.promotion.candidate import Tie
from hpo.promotion.results import Verdict
from hpo.promotion.selection import sweep_trials
from hpo.storage.transient import failures_as_halted
from hpo.trial.changes import Change
from hpo.trial.guard import quits_as_errors
from hpo.trial.lifecycle import Standing
from hpo.trial.warm import Params, require_warm
from hpo.verbs.budget import scheduled
from hpo.verbs.changes import require_same_or_accepted
from hpo.verbs.clock import Budget
from hpo.verbs.devices import check_shared
from hpo.verbs.display import Display
from hpo.verbs.gate import gate_in_run, gate_worth
from hpo.verbs.go import passed_before, require_passed_or_force
from hpo.verbs.news.announcer import Announcer, announced
from hpo.verbs.opening import AnyStudy, Opened, open_study, require_own_trials
from hpo.verbs.options import Folder, Options, require_unplanned
from hpo.verbs.plan_words import kept_line, plan_lines, race_line
from hpo.verbs.preflight import preflight_stage
from hpo.verbs.progress import display_for
from hpo.verbs.promote import promote_stage, rivals_stage
from hpo.verbs.report import report_stage
from hpo.verbs.sweep import sweep_stage
from hpo.verbs.tries import keep_first, require_tries
from hpo.verbs.watching import say_lines


@failures_as_halted()
@quits_as_errors()
def run(
    study: AnyStudy,
    *,
    smoke: bool = False,
    workers: int | None = None,
    trials: int | None = None,
    timeout: float | None = None,
    budget: str | None = None,
    tries: Sequence[Mapping[str, Any]] = (),
    keep: int | None = None,
    seeds: int | None = None,
    tie: Tie = "default",
    data: Folder | None = None,
    device: str = "auto",
    runs: Folder = "runs",
    storage: str | None = None,
    backend: str = "local",
    scheduler: str | None = None,
    devices: int = 1,
    force: bool = False,
    accept: Collection[str] = (),
    log: Folder | None = None,
    notify: str | None = None,
    progress: bool | Display = False,
) -> Verdict:
    """Preflight, sweep, promote and report, in this order; called again, go on where it stopped.

    The gate comes before the sweep where it costs at most a fifth of sweep and promotion. Raises NoGo after a preflight
    that says no-go and after a gate that refuses, unless `force` is set, which is recorded; SweepFailed as `sweep`
    does: then nothing is promoted, and the report is written; and StoppedEarly where `timeout` ends the sweep before
    its trials are done: what was not searched through is not promoted unasked.

    With `budget` ("2h"), or that of the study, all of it ends in that time: trials, `keep` and `seeds` are planned from
    what preflight measures, and corrected by what trials and runs really take. The gate is part of the plan where its
    first runs take at most a fifth of the time. Raises Refused where the budget is too short. Called again after an
    interruption, it has the whole budget again.
    """
    clock = Budget.of(budget)
    options = Options(
        smoke=smoke,
        workers=workers,
        trials=trials,
        timeout=timeout,
        budget=budget,
        tries=tuple(tries),
        keep=keep,
        seeds=seeds,
        tie=tie,
        data=data,
        device=device,
        runs=runs,
        storage=storage,
        backend=backend,
        scheduler=scheduler,
        devices=devices,
        force=force,
        accept=tuple(accept),
        log=log,
        notify=notify,
    )
    opened = open_study("run", study, options, display_for(progress))
    clock = clock or Budget.of(opened.study.budget)
    if clock is not None:
        require_unplanned(options)
    require_own_trials(opened.folder)
    require_warm(opened.study, opened.folder, opened.identity)
    check_shared(devices, opened.study, device=device, backend=backend)
    change = require_same_or_accepted(opened)
    tries = require_tries(opened)
    display = display_for(progress)
    with announced(opened, display) as news:
        return _run(opened, display, news, change, tries, clock)


def _run(
    opened: Opened,
    display: Display,
    news: Announcer,
    change: Change | None,
    tries: Sequence[Params],
    budget: Budget | None,
) -> Verdict:
    """All stages in order: the core of `hpo run`."""
    if passed_before(opened):
        display.say(f"preflight of {opened.study.name}: passed before, and nothing has changed since")
    else:
        require_passed_or_force(preflight_stage(opened, display), opened)
    keep_first(opened, tries)
    if budget is not None:
        return _run_in_time(opened, display, news, change, budget)
    with _report_of_failure(opened, display):
        change = gate_in_run(opened, display, change, gate_worth(opened))
        standing = sweep_stage(opened, display, news, change)
    if standing.timed_out:
        raise StoppedEarly(_unpromoted(opened, standing))
    verdict = promote_stage(opened, display, news)
    report_stage(opened, display)
    return verdict


def _run_in_time(opened: Opened, display: Display, news: Announcer, change: Change | None, budget: Budget) -> Verdict:
    """Sweep, promote and report in what is left of the budget. The first report shows how long the last one takes."""
    schedule = scheduled(opened, budget, change)
    opened = replace(opened, study=schedule.planned(sweep_trials(opened.study, opened.folder)))
    budget.end_stage("preflight")
    say_lines(display, *plan_lines(schedule))
    with _report_of_failure(opened, display):
        change = gate_in_run(_to_the_end(opened), display, change, schedule.plan.gate, schedule.affords_gate)
        if schedule.plan.gate:
            budget.end_stage("gate")
        sweep_stage(opened, display, news, change, schedule.trials_wanted)
        budget.end_stage("sweep")
    budget.measure_report(lambda: report_stage(opened, display))
    budget.end_stage("reports")
    baselines = None
    if budget.rivals:
        baselines, budget.rivals = rivals_stage(opened, display), 0.0
        budget.end_stage("classical methods")
    opened = replace(opened, study=schedule.with_race(sweep_trials(opened.study, opened.folder)))
    display.say(race_line(schedule))
    verdict = promote_stage(opened, display, news, schedule.seeds_wanted, baselines)
    budget.end_stage("promotion")
    report_stage(opened, display)
    budget.end_stage("reports")
    display.say(kept_line(budget))
    return verdict


def _to_the_end(opened: Opened) -> Opened:
    """With a budget a study comes to its verdict also where the gate refuses: that is reached at full fidelity."""
    return replace(opened, options=replace(opened.options, force=True))


@contextmanager
def _report_of_failure(opened: Opened, display: Display) -> Iterator[None]:
    """Write the report where the sweep fails: it shows what the trials failed with."""
    try:
        yield
    except SweepFailed:
        report_stage(opened, display)
        raise


def _unpromoted(opened: Opened, standing: Standing) -> str:
    progress = f"{out_of(standing.done, standing.trials)} trials"
    return (
        f"--timeout has ended the sweep of {opened.study.name} after {progress}, so nothing is promoted yet; the same "
        f"command goes on, and this one promotes what there is: {opened.help_command('promote')}"
    )
