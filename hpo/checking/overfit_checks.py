"""What the runs of the overfit check came to: one check each, which says what to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hpo.checking.overfit import Control, OverfitRun
from hpo.direction import Direction
from hpo.formatting import count
from hpo.study import StudySpec
from hpo.task import Check, Status

CONTROL_LAG = 0.25  # share of the honest gain, or of its own way to `go`, that a control must lag behind
GO_SHARE = 0.5  # of the loss of a constant prediction that must be gone, where the task gives no bands
CAUTION_SHARE = 0.2
NOTHING = 0.05  # share of the way to `go` below which nothing was learned
SAME = 1e-6  # relative difference up to which two runs are the same


@dataclass(frozen=True)
class Bands:
    """What is go and what is caution, for the measure of the overfit check."""

    measure: str
    go: float
    caution: float
    direction: Direction

    def verdict(self, value: float) -> Status:
        """ "go", "caution" or "no-go" for a measured value; NaN is "no-go"."""
        if self._reaches(value, self.go):
            return "go"
        if self._reaches(value, self.caution):
            return "caution"
        return "no-go"

    def _reaches(self, value: float, band: float) -> bool:
        return value == band or self.direction.better(value, band)


@dataclass(frozen=True)
class OverfitRuns:
    """The runs that are compared; a control is None where there is nothing to spoil, or where it could not be run."""

    honest: OverfitRun
    shuffled: OverfitRun | None
    zeroed: OverfitRun | None


def bands_of(study: StudySpec, runs: OverfitRuns) -> Bands:
    """The task's own bands, or else shares of the loss that a constant prediction reaches."""
    own = study.task.overfit
    if own.go is not None and own.caution is not None:
        return Bands(own.measure, own.go, own.caution, own.direction)
    constant = _constant_loss(study, runs)
    go, caution = (constant - share * abs(constant) for share in (GO_SHARE, CAUTION_SHARE))
    return Bands("loss", go, caution, Direction.MINIMIZE)


def _constant_loss(study: StudySpec, runs: OverfitRuns) -> float:
    """The loss of the best prediction that looks at no input: of the run with zeroed inputs.

    Of the untrained model, where zeroing the inputs would change the labels too, or cannot be trained.
    """
    separate = bool(study.task.labels) and not set(study.task.labels) & set(study.task.inputs)
    losses = [value for value in runs.zeroed.curve if math.isfinite(value)] if runs.zeroed and separate else []
    return min(losses, default=runs.honest.curve[0])


def check_start(study: StudySpec, honest: OverfitRun) -> Check:
    """The loss of the untrained model is finite, and lies where the task says that it must."""
    loss, limits = honest.start["loss"], study.task.overfit.start
    holds = math.isfinite(loss) and (limits is None or limits[0] <= loss <= limits[1])
    return Check(
        name="loss at start",
        status="go" if holds else "no-go",
        seen=f"{loss:.4g}",
        allowed=f"{limits[0]:g} to {limits[1]:g}" if limits else "finite",
        look_at="the loss, and the scale of the data",
    )


# -- was it learned --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Diagnosis:
    """Why the honest run has not learned the set."""

    remark: str
    look_at: str
    lacks_steps: bool = False


def check_overfit(study: StudySpec, runs: OverfitRuns) -> Check:
    """The honest run learns the fixed set.

    Where the task gives no bands, its goal must not get worse as the loss falls, and a run that lacks steps, and
    nothing else, is a caution: how many steps a task needs is not known before any run.
    """
    honest, bands = runs.honest, bands_of(study, runs)
    status = "no-go" if honest.failure else bands.verdict(honest.curve[-1])
    diagnosis = Diagnosis("", "") if status == "go" else _diagnose(runs, bands)
    if study.task.overfit.go is None:
        worse = _worse_goal(study, runs)
        if worse and not honest.failure:
            status, diagnosis = "no-go", Diagnosis(worse, "what the loss rewards, its sign, and what the goal measures")
        elif diagnosis.lacks_steps:
            status = "caution"
    result = honest.failure or f"{bands.measure} {honest.curve[0]:.4g} -> {honest.curve[-1]:.4g}"
    effort = f"{count(honest.examples, 'example')}, {count(len(honest.history), 'epoch')}, {honest.steps} steps taken"
    bound = "at most" if bands.direction is Direction.MINIMIZE else "at least"
    return Check(
        name="overfit",
        status=status,
        seen="; ".join([f"{result} on {effort}", *filter(None, [diagnosis.remark])]),
        allowed=f"{bands.measure} {bound} {bands.go:.4g}; caution: {bound} {bands.caution:.4g}",
        look_at=diagnosis.look_at,
    )


def _worse_goal(study: StudySpec, runs: OverfitRuns) -> str:
    """That the goal got worse while the loss fell, or lags behind a constant prediction; "" where it does neither."""
    goal, end = study.task.goal, runs.honest.scores
    if end is None:
        return ""
    rivals = {"of the untrained model": runs.honest.start, "with inputs zeroed": runs.zeroed and runs.zeroed.scores}
    for name, scores in rivals.items():
        if scores and study.direction.better(scores[goal], end[goal]):
            return f"but {goal} is {end[goal]:.4g}, worse than {scores[goal]:.4g} {name}"
    return ""


def _diagnose(runs: OverfitRuns, bands: Bands) -> Diagnosis:
    honest = runs.honest
    if honest.failure:
        return Diagnosis("", "divisions, logarithms and roots near 0; the learning rate")
    if runs.zeroed is not None and not runs.zeroed.failure and _is_same(honest, runs.zeroed):
        return Diagnosis("the same with zeroed inputs", _BLIND["zeroed"])
    gain = bands.direction.lead(honest.curve[-1], honest.curve[0])
    if not gain > NOTHING * bands.direction.lead(bands.go, honest.curve[0]):
        return Diagnosis("almost nothing was learned", "the learning rate, frozen groups, and what the loss rewards")
    if runs.shuffled is not None and _is_level(honest, runs.shuffled, bands):
        if _is_same(honest, runs.shuffled):
            return Diagnosis("the same with shuffled labels", _BLIND["shuffled"])
        return Diagnosis("inputs and labels seem not to belong together", _UNRELATED["shuffled"])
    return Diagnosis(
        f"it was learning: {count(honest.steps, 'step')} may be too few",
        "Overfit: more epochs, smaller batches or a higher learning rate; the size of the model; the bands",
        lacks_steps=True,
    )


def _is_level(honest: OverfitRun, spoiled: OverfitRun, bands: Bands) -> bool:
    """Whether the control has come nearly as far as the honest run in as many epochs."""
    if spoiled.failure:
        return False
    epoch = min(len(spoiled.curve), len(honest.curve)) - 1
    gain = bands.direction.lead(honest.curve[epoch], honest.curve[0])
    lag = bands.direction.lead(honest.curve[epoch], spoiled.curve[epoch])
    return bool(lag < CONTROL_LAG * gain)


def _is_same(honest: OverfitRun, spoiled: OverfitRun) -> bool:
    """Whether training has not noticed what was spoiled."""
    pairs = zip(honest.history, spoiled.history, strict=False)
    return all(math.isclose(a.loss, b.loss, rel_tol=SAME, abs_tol=1e-12) for a, b in pairs)


def check_finite(honest: OverfitRun) -> Check:
    """No step is skipped, and no gradient has to be made finite."""
    skipped = sum(epoch.steps_skipped for epoch in honest.history)
    parameters = sorted({name for epoch in honest.history for name in epoch.nonfinite})
    holds = skipped == 0 and not parameters and not honest.failure
    counted = f"{count(skipped, 'step')} skipped; non-finite gradients in {', '.join(parameters) or 'none'}"
    return Check(
        name="finite everywhere",
        status="go" if holds else "no-go",
        seen=honest.failure or counted,
        allowed="0 steps skipped; none",
        look_at="divisions, logarithms and roots near 0",
    )


def check_moves(honest: OverfitRun) -> Check:
    """Training changes every trainable parameter."""
    seen = "all"
    if honest.frozen:
        seen = f"all but {len(honest.frozen)}, which model() froze"
    if honest.unmoved:
        seen = f"unmoved: {', '.join(honest.unmoved[:5])}"
    return Check(
        name="every parameter moves",
        status="no-go" if honest.unmoved else "go",
        seen=seen,
        allowed="all that can be trained",
        look_at="detach(), groups() and rates(), layers that forward() does not use",
    )


# -- does what was spoiled matter ------------------------------------------------------------------------------------
CONTROL_CHECK: Mapping[Control, str] = {"shuffled": "labels matter", "zeroed": "input matters"}
_BLIND: Mapping[Control, str] = {
    "shuffled": "a loss that does not look at the labels",
    "zeroed": "a model that does not look at its input",
}
_UNRELATED: Mapping[Control, str] = {
    "shuffled": "how each input gets its label (one of them sorted, shuffled or shifted alone); a loss that mixes "
    "examples, where shapes broadcast",
    "zeroed": "whether the inputs say anything about the labels; how each input gets its label",
}


def check_control(control: Control, honest: OverfitRun, spoiled: OverfitRun | None, bands: Bands) -> Check:
    """The control lags well behind the honest run after as many epochs, so what was spoiled matters.

    "Well behind" is CONTROL_LAG of what the honest run has gained, or of what the control still lacks to `go`,
    whichever is less. The honest gain alone would not do: where the mean label explains most of the loss, both runs
    gain almost the same. `spoiled` is None where the task names no such fields.
    """
    name = CONTROL_CHECK[control]
    if spoiled is None:
        return Check(name, "skip", "the task names no such fields", "worse than the honest run")
    if spoiled.failure:
        seen = f"{control}: cannot be trained ({spoiled.failure})"
        return Check(name, "go", seen, "worse than the honest run")
    epoch = min(len(spoiled.curve), len(honest.curve)) - 1
    start, honest_value, spoiled_value = honest.curve[0], honest.curve[epoch], spoiled.curve[epoch]
    gain = bands.direction.lead(honest_value, start)
    if not gain > 0:
        return Check(name, "skip", "the honest run did not improve", "worse than the honest run")
    lack = bands.direction.lead(bands.go, spoiled_value)
    lag = bands.direction.lead(honest_value, spoiled_value)
    least_lag = CONTROL_LAG * min(gain, max(lack, 0.0))
    return Check(
        name=name,
        status="go" if lack > 0 and lag >= least_lag else "no-go",
        seen=f"{control}: {bands.measure} {spoiled_value:.4g} after {epoch} epochs, honest {honest_value:.4g}",
        allowed=f"worse by at least {least_lag:.3g}" if lack > 0 else f"does not reach {bands.go:g}",
        look_at=(_BLIND if _is_same(honest, spoiled) else _UNRELATED)[control],
    )
