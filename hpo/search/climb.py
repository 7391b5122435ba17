"""The ladder on Optuna's trials: their curves, and the next step as a trial that is begun or sent on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.search.avoid import failure_classifier, safest
from hpo.search.ladder import Begin, Curve, GoOn, Way
from hpo.search.points import drawn_params
from hpo.search.proposal import TRY, Given, begun
from hpo.seeds import derive
from hpo.storage.optuna_private import fix_params, live_trial, trial_id
from hpo.study import StudySpec
from hpo.trial.lifecycle import state_of
from hpo.trial.pausing import PAUSED_AT, WAY, spent
from hpo.trial.sealed import UNTIL


def curves_of(trials: Sequence[FrozenTrial], spec: StudySpec, given: Collection[int]) -> list[Curve]:
    """The curves of all trials that have begun. `given` are the numbers of trials that were not drawn."""
    return [_curve(trial, spec, given) for trial in trials if trial.state is not TrialState.WAITING]


def _curve(trial: FrozenTrial, spec: StudySpec, given: Collection[int]) -> Curve:
    state = state_of(trial)
    return Curve(
        number=trial.number,
        way=_way(trial, given),
        costs=() if state == "failed" else _costs(trial, spec),
        spent=spent(trial),
        is_paused=state == "paused",
        is_complete=state == "complete",
    )


def _way(trial: FrozenTrial, given: Collection[int]) -> Way:
    """How a trial came to be. Those that the fidelity gate has begun are drawn, and run straight to the end."""
    if trial.number in given or TRY in trial.user_attrs:
        return "given"
    way: Way = trial.user_attrs.get(WAY, "straight")
    return way


def _costs(trial: FrozenTrial, spec: StudySpec) -> tuple[float, ...]:
    """Its best so far after each epoch, up to its last pause or, where it has ended, all of it."""
    curve = [-spec.direction.sign * trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
    if trial.state is TrialState.RUNNING:
        return tuple(curve[: trial.user_attrs.get(PAUSED_AT, 0)])
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        curve += [-spec.direction.sign * trial.value] * (spec.cheap.epochs - len(curve))
    return tuple(curve)


def begin_climb(
    study: optuna.Study, spec: StudySpec, trials: Sequence[FrozenTrial], step: Begin, given: Given | None
) -> optuna.Trial:
    """Begin a trial. Its configuration and its way are stored in one step, so that a kill leaves all of it or none."""
    attributes = {WAY: step.way, UNTIL: step.epochs}
    if given is not None and step.way == "given":
        params = given.params
        attributes |= given.attributes
    else:
        params = _drawn(spec, trials, step, begun(trials))
    study.enqueue_trial(dict(params), user_attrs=attributes)
    study.sampler = optuna.samplers.RandomSampler(seed=0)  # there is nothing left to draw
    return study.ask()


def _drawn(spec: StudySpec, trials: Sequence[FrozenTrial], step: Begin, number: int) -> dict[str, Any]:
    """The configuration that is drawn for the trial of this number, unless that would probably fail: then another."""

    def propose(attempt: int) -> dict[str, Any]:
        seed = derive(spec.seed, "attempt", attempt) if attempt else spec.seed
        return drawn_params(step.draw, spec.space, seed, number, trials, spec.direction)

    classifier = failure_classifier(spec.space, trials)
    return propose(0) if classifier is None else safest(spec.space, classifier, propose)


def begin_again(
    study: optuna.Study, spec: StudySpec, orphan: FrozenTrial, trials: Sequence[FrozenTrial], step: Begin
) -> None:
    """Give a trial its configuration and its way that had begun and has neither: a storage that was rebuilt knows only
    what was written down before the kill."""
    if not orphan.params and step.way != "given":
        fix_params(study, orphan, _drawn(spec, trials, step, orphan.number))
    trial = live_trial(study, trial_id(orphan))
    trial.set_user_attr(WAY, step.way)
    trial.set_user_attr(UNTIL, step.epochs)  # the last step counts: where it is lacking, all of this is done again


def send_on(study: optuna.Study, trials: Sequence[FrozenTrial], step: GoOn) -> optuna.Trial:
    """Send a paused trial on, to its next rung. From now on it runs, until it pauses or ends."""
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    trial = live_trial(study, trial_id(next(trial for trial in trials if trial.number == step.number)))
    trial.set_user_attr(UNTIL, step.epochs)
    return trial
