"""The fidelity gate as a function, and where `run` has it: does the cheap setting rank like the full one?

Its trials at the cheap fidelity are the first of the sweep, its runs at full fidelity the first of the promotion. Both
reuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial

from hpo.checking.cost import least_share
from hpo.errors import NoGo, Refused
from hpo.formatting import count
from hpo.promotion.gate import (
    FIRST,
    MOST,
    WORTH,
    Gate,
    GatePair,
    is_one_fidelity,
    judge_gate,
    read_gate,
    stages,
    write_gate,
)
from hpo.promotion.gate_runs import train_at_full_fidelity
from hpo.promotion.race import planner, runs_of
from hpo.promotion.selection import default_keep, is_judged, read_selection
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

Affordable = Callable[[Sequence[FrozenTrial]], bool]  # whether the configurations of these trials get their full runs


def always(_: Sequence[FrozenTrial]) -> bool:
    """Without a budget of time, the gate has the runs that it needs."""
    return True


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
    result = _gate(opened, display_for(progress), change, stages(_random_trials(opened)), always)
    assert result is not None
    return result


def gate_in_run(
    opened: Opened, display: Display, change: Change | None, most: int, affordable: Affordable = always
) -> Change | None:
    """Test the cheap setting on at most so many configurations, where that was not done; 0: it is not worth the cost.

    Where the configurations have been trained at the cheap fidelity, `affordable` is asked. Returns the change that is
    still to be made. Raises NoGo where the cheap setting does not rank like the full one, unless `force` is set, which
    is recorded.
    """
    before = None if change else read_gate(opened.folder)
    planned = stages(min(_random_trials(opened), most))
    if before is None and not planned:
        return change
    if before is None:
        result, change = _gate(opened, display, change, planned, affordable), None
    else:
        result = before
        display.gate_ended(opened, result)
    if result is None or result.decision == "pass":
        return change
    if not opened.options.force:
        raise NoGo(f"{result.sentence}; {result.remedy}, or go on with --force")
    write_gate(opened.folder, replace(result, forced=True))
    return change


def gate_worth(opened: Opened) -> int:
    """How many configurations the gate of a study without a budget of time may try; 0 where it costs too much."""
    share = gate_share(opened.study)
    return MOST if share is not None and share <= WORTH and can_be_tested(opened) else 0


def can_be_tested(opened: Opened) -> bool:
    """Whether the study has two fidelities, and no promotion is under way, whose runs the gate would give up."""
    return not is_one_fidelity(opened.study) and not _has_open_promotion(opened)


def gate_share(study: StudySpec) -> float | None:
    """What the gate's first 8 runs cost, as a share of what sweep and promotion do; None where that is not known.

    A run costs its epochs times its training examples. The sweep is counted with all the pruning that is possible.
    """
    if study.full.train is None and study.cheap.train is not None:
        return None  # how many the whole split has is not known
    cheap, full = _cost(study.cheap) * study.cross_validate, _cost(study.full)
    sweep = study.trials * least_share(study) * cheap
    race = planner(study)(study.keep or default_keep(study), study.seeds)
    return FIRST * full / (sweep + runs_of(race) * full)


def _cost(fidelity: Fidelity) -> int:
    return fidelity.epochs * (fidelity.train or 1)  # the whole split at both fidelities counts as one example


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


def _gate(
    opened: Opened, display: Display, change: Change | None, planned: Sequence[int], affordable: Affordable
) -> Gate | None:
    """What the gate came to, which is kept; None where not even its first runs were affordable."""
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

        result = _decide(opened, full_identity, display, stay, planned, affordable)
        if result is not None:
            write_gate(folder, result)
    if result is None:
        display.say(f"gate of {study.name}: left out, since by its trials its full runs would take too long")
    else:
        display.gate_ended(opened, result)
    return result


def _decide(
    opened: Opened,
    full_identity: Mapping[str, str],
    display: Display,
    hold: Callable[[], None],
    planned: Sequence[int],
    affordable: Affordable,
) -> Gate | None:
    """Ask for more configurations until the gate passes or refuses. `planned` are the numbers after which it may.

    Where further ones are not affordable, those that there are decide; None where there are none.
    """
    known: tuple[GatePair, ...] = ()
    for configurations in planned:
        pairs = _pairs(opened, full_identity, configurations, display, hold, affordable)
        if not pairs:
            break
        known = pairs
        result = judge_gate(known, opened.study.direction, last=configurations == planned[-1])
        if result.decision != "open":
            return result
        display.say(f"still open, {result.evidence}")
    return judge_gate(known, opened.study.direction, last=True) if known else None


def _pairs(
    opened: Opened,
    full_identity: Mapping[str, str],
    configurations: int,
    display: Display,
    hold: Callable[[], None],
    affordable: Affordable,
) -> tuple[GatePair, ...]:
    """So many configurations at both fidelities; none where their full runs are not affordable. What was trained before
    is not trained again."""
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
        if not affordable(trials):
            return ()
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
