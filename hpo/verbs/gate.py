"""The fidelity gate as a function, and where `run` has it: does the cheap setting rank like the full one?

Its trials at the cheap fidelity are the first of the sweep, its runs at full fidelity the first of the promotion. Both
reuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from hpo.checking.cost import least_share
from hpo.errors import NoGo, Refused
from hpo.formatting import count
from hpo.promotion.gate import FIRST, Gate, GatePair, is_one_fidelity, judge_gate, read_gate, stages, write_gate
from hpo.promotion.gate_runs import train_at_full_fidelity
from hpo.promotion.race import rounds_of, runs_of
from hpo.promotion.selection import KEEP, is_judged, read_selection
from hpo.search.random_trials import train_random_trials
from hpo.search.tries import read_tries
from hpo.storage.database import require_same
from hpo.storage.folder import promotion_name
from hpo.storage.locks import study_lock
from hpo.storage.transient import failures_as_halted
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.changes import Change
from hpo.trial.guard import quits_as_errors
from hpo.trial.provenance import identity_details
from hpo.trial.warm import require_warm
from hpo.verbs.changes import go_on, require_same_or_accepted
from hpo.verbs.command_log import begin
from hpo.verbs.devices import check_shared
from hpo.verbs.display import Display
from hpo.verbs.failures import failures_shown
from hpo.verbs.go import require_go_or_force
from hpo.verbs.opening import AnyStudy, Opened, identity_of_promotion, open_study, require_own_trials
from hpo.verbs.options import Folder, Options
from hpo.verbs.progress import display_for
from hpo.verbs.watching import in_ledger, say_lines
from hpo.workers import coordinator

WORTH = 0.2  # the largest share of a study's cost that `run` spends on the gate


@failures_as_halted()
@quits_as_errors()
def gate(
    study: AnyStudy,
    *,
    workers: int | None = None,
    trials: int | None = None,
    data: Folder | None = None,
    device: str = "auto",
    runs: Folder = "runs",
    storage: str | None = None,
    backend: str = "local",
    scheduler: str | None = None,
    devices: int = 1,
    force: bool = False,
    accept: Collection[str] = (),
    progress: bool | Display = False,
) -> Gate:
    """Train 8 to 24 random configurations at both fidelities, and say whether the cheap one ranks like the full one.

    A refusal is a result, not an error: see `decision`. It is kept in runs/STUDY/gate.json. Raises Refused as `sweep`
    does, and where the sweep has fewer than 8 trials, both fidelities are the same, or a promotion is under way.
    """
    options = Options(
        workers=workers,
        trials=trials,
        data=data,
        device=device,
        runs=runs,
        storage=storage,
        backend=backend,
        scheduler=scheduler,
        devices=devices,
        force=force,
        accept=tuple(accept),
    )
    opened = open_study("gate", study, options, display_for(progress))
    _require_testable(opened)
    require_own_trials(opened.folder)
    require_warm(opened.study, opened.folder, opened.identity)
    check_shared(devices, opened.study, device=device, backend=backend)
    change = require_same_or_accepted(opened)
    if change is None:
        _require_no_open_promotion(opened)
    require_go_or_force(opened)
    return _gate(opened, display_for(progress), change)


def gate_in_run(opened: Opened, display: Display, change: Change | None) -> Change | None:
    """Test the cheap setting, where that was not done and costs little. Returns the change that is still to be made.

    Raises NoGo where it does not rank like the full one, unless `force` is set, which is recorded.
    """
    before = None if change else read_gate(opened.folder)
    if before is None and not _is_worth_it(opened):
        return change
    if before is None:
        result, change = _gate(opened, display, change), None
    else:
        result = before
        display.gate_ended(opened, result)
    if result.decision == "pass":
        return change
    if not opened.options.force:
        raise NoGo(f"{result.sentence}; {result.remedy}, or go on with --force")
    write_gate(opened.folder, replace(result, forced=True))
    return change


def gate_share(study: StudySpec) -> float | None:
    """What the gate's first 8 runs cost, as a share of what sweep and promotion do; None where that is not known.

    A run costs its epochs times its training examples. The sweep is counted with all the pruning that is possible.
    """
    if study.full.train is None and study.cheap.train is not None:
        return None  # how many the whole split has is not known
    cheap, full = _cost(study.cheap) * study.cross_validate, _cost(study.full)
    sweep = study.trials * least_share(study) * cheap
    race = rounds_of(study.keep or KEEP, study.seeds, folds=study.task.folds)
    return FIRST * full / (sweep + runs_of(race) * full)


def _cost(fidelity: Fidelity) -> int:
    return fidelity.epochs * (fidelity.train or 1)  # the whole split at both fidelities counts as one example


def _is_worth_it(opened: Opened) -> bool:
    study, share = opened.study, gate_share(opened.study)
    can_be_tested = (
        bool(stages(_random_trials(opened))) and not is_one_fidelity(study) and not _has_open_promotion(opened)
    )
    return can_be_tested and share is not None and share <= WORTH


def _random_trials(opened: Opened) -> int:
    """How many trials of the sweep may be random draws: what `--try` has given is none."""
    return opened.study.trials - len(read_tries(opened.folder))


def _require_testable(opened: Opened) -> None:
    if is_one_fidelity(opened.study):
        raise Refused("there is nothing to test: `cheap` and `full` are one and the same fidelity")
    trials = _random_trials(opened)
    if not stages(trials):
        raise Refused(f"the gate takes at least {FIRST} trials of the sweep, and this one has {trials}")


def _has_open_promotion(opened: Opened) -> bool:
    selection = read_selection(opened.folder)
    return selection is not None and not is_judged(selection, opened.folder)


def _require_no_open_promotion(opened: Opened) -> None:
    if _has_open_promotion(opened):
        raise Refused(
            f"a promotion of {opened.study.name!r} is under way, whose runs the gate would give up; finish it first: "
            f"{opened.help_command('promote')}"
        )


def _gate(opened: Opened, display: Display, change: Change | None) -> Gate:
    study, folder = opened.study, opened.folder
    full_identity = identity_of_promotion(opened, display)
    if change is None:
        require_same(folder, promotion_name(study.name), full_identity, identity_details(study, "promotion"))
    begin(opened)
    say_lines(display, go_on(opened, change))
    display.say(f"gate of {study.name}: {count(FIRST, 'random configuration')} at both fidelities, more if need be")
    with (
        failures_shown(opened, display),
        in_ledger(opened, display) as update_record,
        study_lock(folder) as hold,
    ):

        def stay() -> None:
            hold()
            update_record()

        result = _decide(opened, full_identity, display, stay)
        write_gate(folder, result)
    display.gate_ended(opened, result)
    return result


def _decide(opened: Opened, full_identity: Mapping[str, str], display: Display, hold: Callable[[], None]) -> Gate:
    """Ask for more configurations until the gate passes or refuses."""
    planned = stages(_random_trials(opened))
    for configurations in planned[:-1]:
        result = judge_gate(_pairs(opened, full_identity, configurations, display, hold), opened.study.direction)
        if result.decision != "open":
            return result
        display.say(f"still open, {result.evidence}")
    pairs = _pairs(opened, full_identity, planned[-1], display, hold)
    return judge_gate(pairs, opened.study.direction, last=True)


def _pairs(
    opened: Opened, full_identity: Mapping[str, str], configurations: int, display: Display, hold: Callable[[], None]
) -> tuple[GatePair, ...]:
    """So many configurations at both fidelities. What was trained before is not trained again."""
    study, folder, options = opened.study, opened.folder, opened.options
    pool = coordinator.executor(opened.workers, opened.on, device=options.device, folder=folder)
    shared_pool = pool if options.devices == 1 else coordinator.executor(1, "inline")
    with display.bar("gate", 2 * configurations) as update:

        def look(done: int) -> None:
            hold()
            update(done, "")

        trials = train_random_trials(
            study, folder, opened.identity, configurations, pool=pool, device=options.device, watch=look
        )
        pairs = train_at_full_fidelity(
            study,
            folder,
            full_identity,
            trials,
            pool=shared_pool,
            device=options.device,
            devices=options.devices,
            watch=lambda done: look(configurations + done),
        )
        look(2 * configurations)
    return pairs
