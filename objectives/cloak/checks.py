"""The task's own go/no-go checks: the bounds hold, the encoders can judge, and the change is worth it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpo import Check, Epoch, Evidence, Status
from objectives.cloak.model import RAW_LIMIT
from objectives.cloak.recognition import Recognition
from objectives.cloak.scores import TOLERANCE
from objectives.common.checks import go_if

ROUNDING = 1e-6
MIN_RECOGNISED = 0.95  # share of varied pictures that an encoder must recognise, and accept
MIN_APART, MIN_APART_AT_ALL = 0.99, 0.9  # share of the pairs of two persons that must not match
MAX_SELF_SEPARATION = 0.2
MIN_GRADIENT = 1e-9  # at the first step; with no change at all it is 1e-9, from a random start about 1e-4


@dataclass(frozen=True)
class EncoderState:
    """An encoder, and the role that it has in the task."""

    role: str  # "critic" or "judge"
    name: str
    identity: str  # encoders with one identity are the same encoder
    recognition: Recognition
    untouched: bool  # its parameters are as they were loaded


@dataclass(frozen=True)
class Bounds:
    """The visibility budget."""

    noise: float
    warp: float
    visible: float
    perceptual: str  # what measures the visible change


@dataclass(frozen=True)
class Setup:
    """What the checks look at besides the evidence."""

    critics: Sequence[EncoderState]
    judge: EncoderState
    bounds: Bounds
    first_gradients: Mapping[str, float]  # norm at the first step, by parameter group
    own_photographs: Sequence[str] | None  # content hash of each photograph held; None where shipped ones are used
    left_out: Sequence[str]  # the user's photographs that cannot be used, and why


def checks(setup: Setup, evidence: Evidence) -> list[Check]:
    """Every check that the evidence allows."""
    results: list[Check] = []
    for encoder in (*setup.critics, setup.judge):
        results.append(_check_recognises(encoder))
        if encoder.recognition.apart is not None:
            results.append(_check_apart(encoder, encoder.recognition.apart))
        results.append(_check_frozen(encoder))
    results.append(_check_different(setup.critics, setup.judge))
    results.append(_check_gradients(setup.first_gradients))
    results.extend(_check_bounds(setup.bounds, evidence))
    if setup.own_photographs is not None:
        results.append(_check_photographs(setup.own_photographs, setup.left_out))
    if len(evidence.history) > 1:
        results.append(_check_separation_grows(evidence.history))
    if evidence.baselines:
        results.append(_check_identity(evidence.baselines["identity"]))
        results.append(_check_beats_baselines(evidence))
    return results


def _check_recognises(encoder: EncoderState) -> Check:
    known = encoder.recognition
    return Check(
        f"{encoder.role} recognises faces",
        go_if(min(known.first, known.accepted) >= MIN_RECOGNISED),
        f"{encoder.name}: nearest {known.first:.2f}, accepted {known.accepted:.2f}",
        f"both at least {MIN_RECOGNISED} of varied pictures",
        "encoders.py: a change means nothing to an encoder that recognises nobody",
    )


def _check_apart(encoder: EncoderState, apart: float) -> Check:
    """A caution where more than 1 % of the pairs match: such an encoder is coarser on these photographs than on those
    that its threshold was chosen on."""
    status: Status = "go" if apart >= MIN_APART else "caution"
    return Check(
        f"{encoder.role} tells persons apart",
        status if apart >= MIN_APART_AT_ALL else "no-go",
        f"{encoder.name}: {apart:.3f} of the pairs of two persons do not match",
        f"at least {MIN_APART}; below {MIN_APART_AT_ALL} is a no-go",
        "larger photographs of faces: --data",
    )


def _check_frozen(encoder: EncoderState) -> Check:
    return Check(
        f"{encoder.role} is not trained",
        go_if(encoder.untouched),
        "as loaded" if encoder.untouched else "changed",
        "as loaded, no gradient",
        "optimizer groups, requires_grad of the encoder",
    )


def _check_different(critics: Sequence[EncoderState], judge: EncoderState) -> Check:
    return Check(
        "critic and judge are different encoders",
        go_if(judge.identity not in {critic.identity for critic in critics}),
        f"{' and '.join(critic.name for critic in critics)}; judged by {judge.name}",
        "a judge that is not attacked",
        "task.judge: scores by the encoder that was attacked are too good",
    )


def _check_gradients(norms: Mapping[str, float]) -> Check:
    return Check(
        "gradients at the first step",
        go_if(min(norms.values()) > MIN_GRADIENT),
        ", ".join(f"{name} {norm:.1e}" for name, norm in norms.items()),
        f"above {MIN_GRADIENT:.0e}",
        "task.start: without any change the gradient vanishes",
    )


def _check_bounds(bounds: Bounds, evidence: Evidence) -> Iterator[Check]:
    limits = {
        "change_max": (bounds.noise + ROUNDING, "noise beyond its bound"),
        "warp_max": (bounds.warp + ROUNDING, "a warp beyond its bound"),
        "raw_max": (RAW_LIMIT, "raw parameters where the slope of tanh vanishes: Task.project"),
        "folded": (0.0, "a warp that folds the picture over: task.warp_limit, task.grid"),
    }
    if evidence.stage == "promotion":  # the overfit check lifts the limit on the visible change
        limits[f"visible_{bounds.perceptual}"] = (bounds.visible + TOLERANCE, "a visible change: task.visible_weight")
        limits["visible_max"] = (1.5 * bounds.visible, "one photograph's visible change: task.visible_weight")
    for name, (limit, look_at) in limits.items():
        if name in evidence.scores:
            value = evidence.scores[name]
            yield Check(
                f"{name} is within its limit", go_if(value <= limit), f"{value:.4g}", f"at most {limit:.4g}", look_at
            )


def _check_photographs(origins: Sequence[str], left_out: Sequence[str]) -> Check:
    different = len(set(origins))
    missing = f"; left out: {'; '.join(left_out)}" if left_out else ""
    return Check(
        "enough of the user's own photographs",
        "go" if different == len(origins) and not left_out else "caution",
        f"{different} different photographs in {len(origins)} places{missing}",
        "a different photograph in each place, each with exactly one face; intervals need many",
        "--data",
    )


def _check_separation_grows(history: tuple[Epoch, ...]) -> Check:
    first, last = history[0].scores["separation_critic"], history[-1].scores["separation_critic"]
    return Check(
        "the separation from the original grows",
        go_if(last > first),
        f"{first:.3f} -> {last:.3f}",
        "grows",
        "task.noise_lr, task.grid_lr, task.identity_weight",
    )


def _check_identity(scores: Mapping[str, float]) -> Check:
    return Check(
        "an unchanged photograph matches itself",
        go_if(abs(scores["separation"]) < MAX_SELF_SEPARATION),
        f"separation {scores['separation']:.4f}",
        f"below {MAX_SELF_SEPARATION}: 0 but for the face that is found anew in the JPEG",
        "Critic.embed, faces.found_again",
    )


def _check_beats_baselines(evidence: Evidence) -> Check:
    best = min(evidence.baselines, key=lambda name: evidence.baselines[name]["exposure"])
    exposure, rival = evidence.scores["exposure"], evidence.baselines[best]["exposure"]
    return Check(
        "beats every change that uses no encoder",
        go_if(exposure < rival),
        f"{exposure:.3f}",
        f"below {rival:.3f} ({best})",
        "more steps, task.noise_lr, task.grid",
    )
