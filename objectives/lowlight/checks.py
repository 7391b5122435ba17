"""The task's own go/no-go conditions: signs of health in a run, and the rivals that it must beat."""

from __future__ import annotations

from hpo.task import REFERENCE, Check, Evidence
from objectives.lowlight.loss import CRITICAL_SATURATION
from objectives.lowlight.pairs import Pairs

BOUNDS = {  # score: lowest, highest, and what it means to lie outside
    "output_std": (0.02, 1.0, "a constant picture: the learning rate is too high, or the colour heads have run away"),
    "alpha": (0.0, 0.95, "curves at their bound: learning rate of the curve estimator (task.curve_lr)"),
    "mask": (0.05, 0.95, "one branch has taken over: task.mask_frozen, task.mask_lr, the weight of mask_mean"),
    "saturation": (CRITICAL_SATURATION, 1.0, "a grey picture: task.color_factor"),
    "skipped": (0.0, 0.0, "pictures whose score is not finite"),
}


def checks(evidence: Evidence, pairs: Pairs | None) -> list[Check]:
    """Every condition that the evidence can tell about."""
    found = [_within(name, evidence.scores[name]) for name in BOUNDS if name in evidence.scores]
    if pairs:
        status = "caution" if pairs.unmatched else "go"
        found.append(Check("pairs of files", status, str(pairs), "every file has its partner", "task.pairing, names"))
    return found + [
        _ahead(evidence, name)
        for name in ("score", "psnr_db", "ssim")
        if evidence.stage == "promotion" and name in evidence.scores and evidence.baselines
    ]


def _within(name: str, value: float) -> Check:
    low, high, meaning = BOUNDS[name]
    status = "go" if low <= value <= high else "no-go"
    return Check(f"health: {name}", status, f"{value:.3g}", f"{low:g} to {high:g}", meaning)


def _ahead(evidence: Evidence, score: str) -> Check:
    """The network against the best classical method in one score."""
    rivals = {name: scores[score] for name, scores in evidence.baselines.items() if not name.endswith(REFERENCE)}
    best = max(rivals, key=rivals.__getitem__)
    status = "go" if evidence.scores[score] > rivals[best] else "no-go"
    return Check(
        f"beats every classical method in {score}",
        status,
        f"{evidence.scores[score]:.3f}",
        f"above {rivals[best]:.3f} ({best})",
        "more epochs, more photographs, recipe.lr",
    )
