"""The four stages of a study, and all of them in order, as functions. `hpo VERB` calls the same ones.

Each takes a study (the value, the path of its file, or a name in ./studies) and the options of the command line as
keywords. Each raises the errors of hpo.errors, keeps the study's log of commands, and brings the experiment ledger up
to date where there is a folder experiments/ beside the folder of runs. Nothing is printed unless `progress` is True, or
a Display that prints. `log` is a file that gets a line for each trial that ends, and `notify` a command that is started
for each event, with its JSON document on standard input (docs/notify.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.checking import preflight as checking
from hpo.checking.preflight import Preflight
from hpo.contract.optuna_objects import random_note, resume_note
from hpo.errors import NoGo, StoppedEarly, SweepFailed
from hpo.formatting import count, out_of
from hpo.ledger.keeping import entered
from hpo.page.report import write_report
from hpo.promotion import promote as promotion
from hpo.promotion.candidate import Tie
from hpo.promotion.looks import confidence
from hpo.promotion.race import runs_of
from hpo.promotion.results import Verdict
from hpo.promotion.runs import SeedsWanted
from hpo.promotion.selection import Selection, Wish, next_selection, require_trials, sweep_trials
from hpo.search import sweep as search
from hpo.search.sweep import TrialsWanted
from hpo.search.tries import tries_left_out
from hpo.storage.database import package_changes
from hpo.storage.folder import RunFolder
from hpo.storage.summary import Summary
from hpo.storage.transient import failures_as_halted
from hpo.trial.adopting import require_fit
from hpo.trial.adoption import read_adoption
from hpo.trial.changes import Change
from hpo.trial.guard import quits_as_errors
from hpo.trial.lifecycle import Standing
from hpo.trial.warm import Params, require_warm
from hpo.verbs.adopt import report_adopted
from hpo.verbs.budget import Budget, scheduled
from hpo.verbs.changes import go_on, require_same_or_accepted, require_same_promotion_or_again
from hpo.verbs.command_log import begin
from hpo.verbs.devices import check_shared, places
from hpo.verbs.display import Display, Update, progress_note
from hpo.verbs.failures import failures_shown, require_few_faults
from hpo.verbs.gate import gate_in_run
from hpo.verbs.go import passed_before, require_go_or_force
from hpo.verbs.news.announcer import Announcer, announced
from hpo.verbs.opening import (
    AnyStudy,
    Opened,
    adoption_of,
    identity_of_promotion,
    open_results,
    open_study,
    require_own_trials,
)
from hpo.verbs.options import Folder, Options, require_unplanned
from hpo.verbs.progress import display_for
from hpo.verbs.tries import keep_first, require_tries


@failures_as_halted()
@quits_as_errors()
def preflight(
    study: AnyStudy,
    *,
    smoke: bool = False,
    workers: int | None = None,
    data: Folder | None = None,
    device: str = "auto",
    runs: Folder = "runs",
    progress: bool | Display = False,
) -> Preflight:
    """Prove that the task can be learned before money is spent.

    A no-go is a result, not an error: see `status`. The result is kept in runs/STUDY/preflight.json.
    """
    options = Options(smoke=smoke, workers=workers, data=data, device=device, runs=runs)
    opened = open_study("preflight", study, options, display_for(progress))
    return _preflight(opened, display_for(progress))


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
        return _sweep(opened, display, news, change)


@failures_as_halted()
@quits_as_errors()
def promote(
    study: AnyStudy,
    *,
    smoke: bool = False,
    workers: int | None = None,
    keep: int | None = None,
    seeds: int | None = None,
    more: int | None = None,
    again: bool = False,
    tie: Tie = "default",
    data: Folder | None = None,
    device: str = "auto",
    runs: Folder = "runs",
    storage: str | None = None,
    backend: str = "local",
    scheduler: str | None = None,
    devices: int = 1,
    log: Folder | None = None,
    notify: str | None = None,
    progress: bool | Display = False,
) -> Verdict:
    """Let the best configurations and the default race at full fidelity, and say whether one beats the default.

    `keep` is how many start beside the default, and `seeds` how often each trains in the last round. Where no lead is
    sure the default stands; `tie="leader"` exports the leader then. `more=N` trains the default and the leader of the
    last verdict on N further seeds, and `again=True` begins a new promotion on fresh seeds; it is needed where the
    study's full fidelity was changed, and the promotion that is there is kept then. Both read the test split once
    more, as does a promotion of another plan or of a sweep that has gone on; the intervals are wider for that.

    The verdict is kept in runs/STUDY/verdict.json, the winner's weights and card in runs/STUDY/winner. Raises Refused
    where the sweep has completed no trial, and with `more` where there is no verdict yet.
    """
    options = Options(
        smoke=smoke,
        workers=workers,
        keep=keep,
        seeds=seeds,
        more=more,
        again=again,
        tie=tie,
        data=data,
        device=device,
        runs=runs,
        storage=storage,
        backend=backend,
        scheduler=scheduler,
        devices=devices,
        log=log,
        notify=notify,
    )
    opened = open_study("promote", study, options, display_for(progress))
    check_shared(devices, opened.study, device=device, backend=backend)
    _require_same_sweep(opened)
    go_on(opened, None)  # an interrupted command may have left the sweep on the way to its next generation
    require_trials(opened.study, opened.folder, opened.help_command("sweep"))
    display = display_for(progress)
    with announced(opened, display) as news:
        return _promote(opened, display, news)


@failures_as_halted()
@quits_as_errors()
def report(
    study: AnyStudy,
    *,
    smoke: bool = False,
    data: Folder | None = None,
    runs: Folder = "runs",
    progress: bool | Display = False,
) -> Path:
    """Write runs/STUDY/report.html, which opens with no network, and return its path.

    Raises Refused where nothing has been run.
    """
    adoption = adoption_of(study, runs)
    if adoption is not None and adoption.task is None:
        return report_adopted(RunFolder(Path(runs) / adoption.name), adoption, display_for(progress))
    opened = open_results("report", study, Options(smoke=smoke, data=data, runs=runs))
    return _report(opened, display_for(progress))


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
    what preflight measures, and corrected by what trials and runs really take. There is no gate then. Raises Refused
    where the budget is too short. Called again after an interruption, it has the whole budget again.
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
        require_unplanned(options, opened.study)
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
    if passed_before(opened):
        display.say(f"preflight of {opened.study.name}: passed before, and nothing has changed since")
    else:
        _require_passed_or_force(_preflight(opened, display), opened)
    keep_first(opened, tries)
    if budget is not None:
        return _run_in_time(opened, display, news, change, budget)
    try:
        change = gate_in_run(opened, display, change)
        standing = _sweep(opened, display, news, change)
    except SweepFailed:
        _report(opened, display)  # it shows what the trials failed with
        raise
    if standing.timed_out:
        raise StoppedEarly(_unpromoted(opened, standing))
    verdict = _promote(opened, display, news)
    _report(opened, display)
    return verdict


def _run_in_time(opened: Opened, display: Display, news: Announcer, change: Change | None, budget: Budget) -> Verdict:
    """Sweep, promote and report in what is left of the budget. The first report shows how long the last one takes."""
    schedule = scheduled(opened, budget)
    opened = replace(opened, study=schedule.planned(sweep_trials(opened.study, opened.folder)))
    display.say(schedule.sentence)
    try:
        _sweep(opened, display, news, change, schedule.trials_wanted)
    except SweepFailed:
        _report(opened, display)  # it shows what the trials failed with
        raise
    budget.measure_report(lambda: _report(opened, display))
    opened = replace(opened, study=schedule.with_race())
    display.say(schedule.race_sentence)
    verdict = _promote(opened, display, news, schedule.seeds_wanted)
    _report(opened, display)
    return verdict


def _unpromoted(opened: Opened, standing: Standing) -> str:
    progress = f"{out_of(standing.done, standing.trials)} trials"
    return (
        f"--timeout has ended the sweep of {opened.study.name} after {progress}, so nothing is promoted yet; the same "
        f"command goes on, and this one promotes what there is: {opened.help_command('promote')}"
    )


def _require_same_sweep(opened: Opened) -> None:
    """Raise Refused where the sweep asked another question, or where adopted trials do not fit the space."""
    adoption = read_adoption(opened.folder)
    if adoption is None:
        require_same_or_accepted(opened)
    else:
        require_fit(adoption, sweep_trials(opened.study, opened.folder), opened.study)


def _require_passed_or_force(result: Preflight, opened: Opened) -> None:
    if result.status != "no-go":
        return
    if not opened.options.force:
        failed = ", ".join(check.name for check in result.checks if check.status == "no-go")
        raise NoGo(f"the preflight of {opened.study.name} said no-go ({failed}); mend that and run it again")
    checking.record_force(opened.folder)


def _preflight(opened: Opened, display: Display) -> Preflight:
    begin(opened)
    with display.steps("preflight") as show:
        result = checking.preflight(
            opened.study,
            opened.folder,
            opened.identity,
            workers=opened.workers or places(opened.options.device),
            on=opened.on if opened.options.backend != "dask" else "local",
            device=opened.options.device,
            watch=show,
        )
    display.preflight_ended(opened, result)
    return result


def _sweep(
    opened: Opened, display: Display, news: Announcer, change: Change | None, wanted: TrialsWanted | None = None
) -> Standing:
    study = opened.study
    begin(opened)
    _say(go_on(opened, change), display)
    workers = count(opened.workers, "worker") if opened.workers else "all workers of the cluster"
    _say(package_changes(opened.folder, study.name, opened.details), display)
    _say(tries_left_out(study, opened.folder), display)
    _say(random_note(study.search, study.space), display)
    _say(resume_note(study.search, study.pruning), display)
    display.say(f"sweep of {study.name}: {count(study.trials, 'trial')}, {workers}")
    with (
        failures_shown(opened, display),
        _in_ledger(opened, display) as update_record,
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
            watch=_told(study.trials, update, update_record, news),
        )
    display.sweep_ended(opened, standing)
    news.sweep_ended(standing)
    require_few_faults(opened, display, standing.done)
    return standing


def _told(total: int, update: Update, update_record: Callable[[], None], news: Announcer) -> Callable[[Summary], None]:
    """What is called with each summary: bar, record of the ledger and announcements follow it."""

    def look(now: Summary) -> None:
        update(min(now.done, total), progress_note(now), now.seconds_left)
        update_record()
        news.update(now)

    return look


def _say(line: str, display: Display) -> None:
    if line:
        display.say(line)


def _promote(opened: Opened, display: Display, news: Announcer, wanted: SeedsWanted | None = None) -> Verdict:
    study = opened.study
    full_identity = identity_of_promotion(opened, display)
    change = require_same_promotion_or_again(opened, full_identity)
    begin(opened)
    _say(go_on(opened, change), display)
    _say(package_changes(opened.folder, study.name, opened.details), display)
    wish = Wish(opened.options.more, opened.options.again)
    selection = next_selection(study, opened.folder, wish)
    display.say(f"promotion of {study.name}: {_race_in_words(selection)}")
    _say(_look_in_words(selection), display)
    with (
        _in_ledger(opened, display) as update_record,
        display.bar("promote", runs_of(selection.rounds)) as update,
    ):
        verdict = promotion.promote(
            study,
            opened.folder,
            full_identity,
            workers=opened.workers,
            on=opened.on,
            device=opened.options.device,
            devices=opened.options.devices,
            wish=wish,
            tie=opened.options.tie,
            wanted=wanted,
            watch=_told(runs_of(selection.rounds), update, update_record, news),
        )
    display.promotion_ended(opened, verdict)
    news.promotion_ended(verdict)
    return verdict


def _race_in_words(selection: Selection) -> str:
    """Who starts, and how often they train in each round."""
    rounds = [
        f"{race_round.others} x {count(len(race_round.seeds), 'seed')}" if race_round.others else "the default alone"
        for race_round in selection.rounds
    ]
    return f"the default and {' > '.join(rounds)}, {count(runs_of(selection.rounds), 'run')}"


def _look_in_words(selection: Selection) -> str:
    """That the test split is read again; "" the first time."""
    if selection.look == 1:
        return ""
    return (
        f"this is look {selection.look} at the test split, so its intervals are of "
        f"{100 * confidence(selection.look):.4g} %, wider than those of the look before"
    )


def _report(opened: Opened, display: Display) -> Path:
    begin(opened)
    with _in_ledger(opened, display):
        path = write_report(opened.study, opened.folder).resolve()
    display.report_written(path)
    return path


def _in_ledger(opened: Opened, display: Display) -> AbstractContextManager[Callable[[], None]]:
    """Keep the study's record up to date, where there is a ledger beside the folder of runs (see `entered`)."""
    return entered(opened.folder, say=display.say, warn=display.warn)
