"""Promote: the race at full fidelity, and its verdict."""

from __future__ import annotations

from hpo.formatting import count
from hpo.promotion import promote as promotion
from hpo.promotion.candidate import Tie
from hpo.promotion.looks import confidence
from hpo.promotion.race import runs_of
from hpo.promotion.results import Verdict
from hpo.promotion.runs import SeedsWanted
from hpo.promotion.selection import Selection, Wish, next_selection, require_trials, sweep_trials
from hpo.promotion.test_split import Baseline, score_baselines
from hpo.storage.database import package_changes
from hpo.storage.locks import study_lock
from hpo.storage.transient import failures_as_halted
from hpo.trial.adopting import require_fit
from hpo.trial.adoption import read_adoption
from hpo.trial.guard import quits_as_errors
from hpo.verbs.changes import go_on, require_same_or_accepted, require_same_promotion_or_again
from hpo.verbs.command_log import begin
from hpo.verbs.devices import check_shared
from hpo.verbs.display import Display
from hpo.verbs.failures import failed_runs
from hpo.verbs.news.announcer import Announcer, announced
from hpo.verbs.opening import AnyStudy, Opened, identity_of_promotion, open_study
from hpo.verbs.options import Folder, Options
from hpo.verbs.progress import display_for
from hpo.verbs.watching import in_ledger, say_lines, watcher
from hpo.workers.preparation import prepare_worker


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
        return promote_stage(opened, display, news)


def _require_same_sweep(opened: Opened) -> None:
    """Raise Refused where the sweep asked another question, or where adopted trials do not fit the space."""
    adoption = read_adoption(opened.folder)
    if adoption is None:
        require_same_or_accepted(opened)
    else:
        require_fit(adoption, sweep_trials(opened.study, opened.folder), opened.study)


def promote_stage(
    opened: Opened,
    display: Display,
    news: Announcer,
    wanted: SeedsWanted | None = None,
    baselines: tuple[Baseline, ...] | None = None,
) -> Verdict:
    """The promotion of a study whose sweep may be promoted.

    `wanted` is asked how many seeds the last round has; None: those of the study. `baselines` are the scores of the
    classical methods, where they are known. Raises Refused where the full fidelity has changed and no new promotion was
    asked for.
    """
    study = opened.study
    full_identity = identity_of_promotion(opened, display)
    change = require_same_promotion_or_again(opened, full_identity)
    begin(opened)
    say_lines(display, go_on(opened, change))
    say_lines(display, package_changes(opened.folder, study.name, opened.details))
    wish = Wish(opened.options.more, opened.options.again)
    selection = next_selection(study, opened.folder, wish)
    display.say(f"promotion of {study.name}: {_race_in_words(selection)}")
    say_lines(display, _look_in_words(selection))
    with (
        in_ledger(opened, display) as update_record,
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
            baselines=baselines,
            watch=watcher(runs_of(selection.rounds), update, update_record, news),
        )
    display.promotion_ended(opened, verdict)
    say_lines(display, failed_runs(opened, verdict))
    news.promotion_ended(verdict)
    return verdict


def rivals_stage(opened: Opened, display: Display) -> tuple[Baseline, ...]:
    """The classical methods, tuned and scored before the race: a budget knows then what is left for it."""
    prepare_worker()
    with study_lock(opened.folder) as hold, display.bar("classical methods", opened.study.task.folds) as update:

        def look(note: str) -> None:
            hold()
            update(0, note)

        return score_baselines(opened.study, opened.folder, look)


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
