"""The task's own go/no-go conditions: signs of health in a run, and the rivals that it must beat.

Each check takes values; none of them knows the task.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpo import REFERENCE, Check, Evidence
from objectives.lowlight.loss import CRITICAL_SATURATION
from objectives.lowlight.pairs import Pairs


@dataclass(frozen=True)
class HealthyRange:
    """Where a score must lie, both ends included, and what it means if it does not."""

    low: float
    high: float
    meaning: str


HEALTHY = {
    "output_std": HealthyRange(
        0.02, 1.0, "a constant picture: the learning rate is too high, or the colour heads have diverged"
    ),
    "alpha": HealthyRange(0.0, 0.95, "curves at their bound: learning rate of the curve estimator (task.curve_lr)"),
    "mask": HealthyRange(
        0.05, 0.95, "one branch has taken over: task.mask_frozen, task.mask_lr, the weight of mask_mean"
    ),
    "saturation": HealthyRange(CRITICAL_SATURATION, 1.0, "a grey picture: task.color_factor"),
    "skipped": HealthyRange(0.0, 0.0, "pictures whose score is not finite"),
}
RIVAL_SCORES = ("score", "psnr_db", "ssim")


def checks(evidence: Evidence, pairs: Pairs | None) -> list[Check]:
    """Every check that the evidence allows. `pairs` are the user's files, if the data is theirs."""
    results = [_check_range(name, evidence.scores[name]) for name in HEALTHY if name in evidence.scores]
    if pairs is not None:
        results.append(_check_files(pairs))
    if evidence.stage == "promotion" and evidence.baselines:
        results += [_check_lead(evidence, score) for score in RIVAL_SCORES if score in evidence.scores]
    return results


def _check_range(name: str, value: float) -> Check:
    healthy = HEALTHY[name]
    return Check(
        f"health: {name}",
        "go" if healthy.low <= value <= healthy.high else "no-go",
        f"{value:.3g}",
        f"{healthy.low:g} to {healthy.high:g}",
        healthy.meaning,
    )


def _check_files(pairs: Pairs) -> Check:
    return Check(
        "files have their partners",
        "caution" if pairs.is_doubtful else "go",
        str(pairs),
        "a partner for every file",
        "task.pairing, names of the files",
    )


def _check_lead(evidence: Evidence, score: str) -> Check:
    """The network against the best classical method in one score."""
    rivals = {name: scores[score] for name, scores in evidence.baselines.items() if not name.endswith(REFERENCE)}
    best = max(rivals, key=rivals.__getitem__)
    return Check(
        f"beats every classical method in {score}",
        "go" if evidence.scores[score] > rivals[best] else "no-go",
        f"{evidence.scores[score]:.3f}",
        f"above {rivals[best]:.3f} ({best})",
        "more epochs, more photographs, recipe.lr",
    )
