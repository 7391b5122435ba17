"""The task's own go/no-go conditions: signs of health in a run, and the rivals that it must beat.

Each check takes values; none of them knows the task.
"""

from __future__ import annotations

from hpo import Check, Evidence
from objectives.common.checks import HealthyRange, check_lead, check_range
from objectives.lowlight.loss import CRITICAL_SATURATION
from objectives.lowlight.pairs import Pairs

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
LOOK_AT = "more epochs, more photographs, recipe.lr"  # where a classical method is ahead
RIVAL_SCORES = ("score", "psnr_db", "ssim")


def checks(evidence: Evidence, pairs: Pairs | None) -> list[Check]:
    """Every check that the evidence allows. `pairs` are the user's files, if the data is theirs."""
    results = [
        check_range(name, evidence.scores[name], healthy)
        for name, healthy in HEALTHY.items()
        if name in evidence.scores
    ]
    if pairs is not None:
        results.append(_check_files(pairs))
    if evidence.stage == "promotion" and evidence.baselines:
        results += [
            check_lead(evidence, score, behind="no-go", look_at=LOOK_AT)
            for score in RIVAL_SCORES
            if score in evidence.scores
        ]
    return results


def _check_files(pairs: Pairs) -> Check:
    return Check(
        "files have their partners",
        "caution" if pairs.is_doubtful else "go",
        str(pairs),
        "a partner for every file",
        "task.pairing, names of the files",
    )
