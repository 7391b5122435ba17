"""The task's own go/no-go conditions: that the bounds hold, that somebody can judge, and that it was worth it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from hpo.task import Check, Evidence, Moment
from objectives.cloak import data
from objectives.cloak.encoders import calibration, critic, identity_of
from objectives.cloak.loss import TOLERANCE
from objectives.cloak.model import RAW_LIMIT

if TYPE_CHECKING:
    from objectives.cloak.task import Cloaking

ROUNDING = 1e-6
GATE = 0.95  # share of varied pictures that a critic must find, and accept
MIN_GRADIENT = 1e-9  # at the first step; at zero change it would be 1e-9, from a random start it is some 1e-4


def checks(task: Cloaking, evidence: Evidence) -> list[Check]:
    """Every condition that the evidence can tell about."""
    found = [*_critics(task), _apart(task), _gradients(task), *_within(task, evidence), *_photographs(task)]
    if len(evidence.history) > 1:
        found.append(_falls(evidence.history))
    if evidence.baselines:
        found += [_identity(evidence.baselines["identity"]), _ahead(evidence)]
    return found


def _within(task: Cloaking, evidence: Evidence) -> Iterator[Check]:
    bounds = {
        "change_max": (task.noise_limit + ROUNDING, "noise beyond its bound"),
        "warp_max": (task.warp_limit + ROUNDING, "a warp beyond its bound"),
        "raw_max": (RAW_LIMIT, "raw parameters where tanh dies: Task.project"),
        "folded": (0.0, "a warp that turns pixels over: task.warp_limit, task.grid"),
    }
    if evidence.stage == "promotion":  # the proof of learning lifts this limit
        bounds[f"visible_{task.perceptual}"] = (task.visible_limit + TOLERANCE, "a change that shows: visible_weight")
        bounds["visible_max"] = (1.5 * task.visible_limit, "a photograph on which the change shows: visible_weight")
    for name, (most, meaning) in bounds.items():
        if name in evidence.scores:
            seen = evidence.scores[name]
            yield Check(
                f"health: {name}", "go" if seen <= most else "no-go", f"{seen:.4g}", f"at most {most:.4g}", meaning
            )


def _critics(task: Cloaking) -> Iterator[Check]:
    for role, name in (("critic", task.critic), ("judge", task.judge)):
        known = calibration(name)
        status = "go" if min(known.first, known.accepted) >= GATE else "no-go"
        yield Check(
            f"{role} recognises faces",
            status,
            f"{name}: nearest {known.first:.2f}, accepted {known.accepted:.2f} at cosine {known.match_threshold:.2f}",
            f"both at least {GATE}, with 1 % false accepts",
            "an encoder that recognises nobody protects nobody: encoders.py",
        )
        untouched = critic(name).untouched()
        yield Check(
            f"{role} does not learn",
            "go" if untouched else "no-go",
            "as loaded" if untouched else "changed",
            "as loaded, no gradient",
            "optimizer groups, requires_grad of the encoder",
        )


def _apart(task: Cloaking) -> Check:
    same = identity_of(task.critic) == identity_of(task.judge)
    return Check(
        "judge is not the critic",
        "no-go" if same else "go",
        f"{task.critic} and {task.judge}",
        "two encoders",
        "task.judge: scores by the critic that was attacked flatter",
    )


def _gradients(task: Cloaking) -> Check:
    """Of both groups at the first step, on two small photographs."""
    small = replace(task, size=48, val_photos=2, test_photos=0)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        model = small.model()
        batch = data.batch_of(small.photographs("val", 2), torch.arange(2), 0)
        sum(small.loss(model, batch, Moment(0, 1, 0, 1)).values()).backward()
    norms = {
        name: float(torch.stack([p.grad.norm() for p in parameters]).norm())
        for name, parameters in small.groups(model).items()
    }
    alive = min(norms.values()) > MIN_GRADIENT
    return Check(
        "gradients at the start",
        "go" if alive else "no-go",
        ", ".join(f"{name} {norm:.1e}" for name, norm in norms.items()),
        f"above {MIN_GRADIENT:.0e}",
        "task.start: at zero change there is no slope",
    )


def _falls(history: tuple[Mapping[str, Any], ...]) -> Check:
    first, last = (epoch.get("scores", epoch)["match_critic"] for epoch in (history[0], history[-1]))
    return Check(
        "the match falls",
        "go" if last < first else "no-go",
        f"{first:.3f} -> {last:.3f}",
        "falls",
        "task.noise_lr, task.grid_lr, task.identity_weight",
    )


def _identity(scores: Mapping[str, float]) -> Check:
    exact = abs(scores["match"] - 1) < 1e-4
    return Check(
        "an unchanged photograph matches itself",
        "go" if exact else "no-go",
        f"{scores['match']:.5f}",
        "1",
        "Critic.embed",
    )


def _ahead(evidence: Evidence) -> Check:
    best = min(evidence.baselines, key=lambda name: evidence.baselines[name]["exposure"])
    ours, theirs = evidence.scores["exposure"], evidence.baselines[best]["exposure"]
    return Check(
        "beats every change that knows no encoder",
        "go" if ours < theirs else "no-go",
        f"{ours:.3f}",
        f"below {theirs:.3f} ({best})",
        "more steps, task.noise_lr, task.grid",
    )


def _photographs(task: Cloaking) -> Iterator[Check]:
    if task.data is None:
        return
    held = task.held()
    different = len(set(held.origins))
    enough = different == len(held.names)
    yield Check(
        "the user's photographs",
        "go" if enough else "caution",
        f"{different} different ones stand for {len(held.names)}",
        "one each; more of them make intervals that mean something",
        "--data",
    )
