"""The task's own go/no-go conditions: what the residual can reach, signs of health in a run, the rivals to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpo.task import REFERENCE, Check, Evidence
from objectives.hdr.model import HARD_CLAMP, SCALE_RANGE

MAX_UNREACHABLE = 0.01  # share of the training holes' pixels
MAX_OVERFLOW = 1e-4  # share of pixels; less, and more than none, is a highlight that was guessed too bright: a caution
MAX_PASSING = 1e-3  # in one epoch on the way: on a few small patches a single pixel is more than MAX_OVERFLOW
BOUNDS = {  # score: lowest, highest, and where to look outside
    "clamp_rate": (0.0, 1e-3, "the fail-safe is at work: task.abs_max, task.learn_scale, the learning rate"),
    "saturated": (0.0, 0.05, "the residual is at its cap: task.abs_max is too small, or the learning rate too high"),
    "largest_delta": (0.0, HARD_CLAMP, "the clamp in the model"),
    "scale": (*SCALE_RANGE, "task.project"),
}
EXPECTED_SCALE = (2.0, 8.0)
SETTLES = 8  # a run may be unsettled in its first 1/8: while the learning rate rises, and just after
MAX_HURT_DB = 0.1  # below the filled picture that the network began with
NEAR_PERFECT_DB = 40.0  # an error of 1 % of what is seen: from here on nobody asks for more


def checks(evidence: Evidence, unreachable: float, cap: float, frames: str | None) -> list[Check]:
    """Every condition that the evidence can tell about. `unreachable` is the share of the training holes' pixels whose
    residual would have to exceed the cap; `frames` says what was found in a user's folder."""
    found = [_reachable(unreachable, cap)] + [
        _within(name, evidence.scores[name]) for name in BOUNDS if name in evidence.scores
    ]
    if "overflow_rate" in evidence.scores:
        found.append(_overflow("health: overflow_rate", evidence.scores["overflow_rate"], MAX_OVERFLOW))
    if "scale" in evidence.scores:
        found.append(_expected(evidence.scores["scale"]))
    if frames:
        found.append(
            Check(
                "frames of files",
                "caution" if "incomplete" in frames else "go",
                frames,
                "every frame has its three files",
                "names and numbers of the files",
            )
        )
    if len(evidence.history) > 2 and "overflow_rate" in evidence.history[0]:
        settled = max(1, len(evidence.history) // SETTLES)
        worst = max(epoch["overflow_rate"] for epoch in evidence.history[settled:])
        found += [
            _overflow("no overflow once settled", worst, MAX_PASSING),
            _stays_clamped_out(evidence.history[settled:]),
            _never_hurts(evidence.history[2 * settled :]),
            _falls(evidence.history),
        ]
    if evidence.stage == "promotion" and evidence.scores and evidence.baselines:
        found += [_ahead(evidence, name) for name in ("score", "psnr_mu", "ssim_mu")]
    return found


def _reachable(unreachable: float, cap: float) -> Check:
    """Zeros in holes, or an eps that is too small, put the target where no bounded residual can go."""
    return Check(
        "residual can reach the target",
        _status(unreachable < MAX_UNREACHABLE),
        f"{unreachable:.2%} of the training holes' pixels are beyond {cap:g}",
        f"below {MAX_UNREACHABLE:.0%}",
        "how holes are filled (task.base), EPS, task.abs_max",
    )


def _within(name: str, value: float) -> Check:
    low, high, look_at = BOUNDS[name]
    return Check(f"health: {name}", _status(low <= value <= high), f"{value:.3g}", f"{low:g} to {high:g}", look_at)


def _expected(scale: float) -> Check:
    low, high = EXPECTED_SCALE
    return Check(
        "scale as expected",
        "go" if low <= scale <= high else "caution",
        f"{scale:.3g}",
        f"{low:g} to {high:g}",
        "task.abs_max, task.learn_scale",
    )


def _overflow(name: str, rate: float, most: float) -> Check:
    status = "go" if rate == 0 else "caution" if rate <= most else "no-go"
    return Check(
        name,
        status,
        f"{rate:.3g} of the pixels",
        f"0 (caution to {most:g})",
        "task.abs_max, task.alpha, the learning rate",
    )


def _stays_clamped_out(history: Sequence[Mapping[str, float]]) -> Check:
    worst, bound = max(epoch["clamp_rate"] for epoch in history), BOUNDS["clamp_rate"][1]
    return Check(
        "fail-safe at rest once settled",
        _status(worst <= bound),
        f"clamped at most {worst:.3g}",
        f"at most {bound:g}",
        BOUNDS["clamp_rate"][2],
    )


def _never_hurts(history: Sequence[Mapping[str, float]]) -> Check:
    """After a quarter of a run the network improves on its base, or is nearly perfect."""
    gains = [epoch["gain_db"] for epoch in history if epoch["psnr_mu_hole"] < NEAR_PERFECT_DB]
    return Check(
        "never worse than its base",
        _status(min(gains, default=0.0) >= -MAX_HURT_DB),
        f"{min(gains):+.2f} dB at worst" if gains else f"always above {NEAR_PERFECT_DB:g} dB",
        f"at least {-MAX_HURT_DB:g} dB after a quarter of the run",
        "the learning rate, task.log_weight",
    )


def _falls(history: Sequence[Mapping[str, float]]) -> Check:
    """Over the first half of a run, by 2 % at least. A caution: a run that began well has less to fall."""
    first, middle = history[0]["loss"], history[len(history) // 2]["loss"]
    return Check(
        "loss falls",
        "go" if middle <= 0.98 * first else "caution",
        f"{first:.4g} -> {middle:.4g}",
        "by 2 % over the first half",
        "the learning rate",
    )


def _ahead(evidence: Evidence, score: str) -> Check:
    """The network against the best classical method in one score."""
    rivals = {name: scores[score] for name, scores in evidence.baselines.items() if not name.endswith(REFERENCE)}
    best = max(rivals, key=rivals.__getitem__)
    return Check(
        f"beats every classical method in {score}",
        _status(evidence.scores[score] > rivals[best]),
        f"{evidence.scores[score]:.3f}",
        f"above {rivals[best]:.3f} ({best})",
        "more epochs, more photographs, recipe.lr",
    )


def _status(holds: bool) -> str:
    return "go" if holds else "no-go"
