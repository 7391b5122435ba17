"""The task's own go/no-go conditions: what the residual can reach, signs of health in a run, the rivals to beat.

Each check takes values; none of them knows the task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpo import Check, Epoch, Evidence, Status
from objectives.common.checks import HealthyRange, check_lead, check_range, go_if
from objectives.hdr.frames import FrameSequence
from objectives.hdr.model import HARD_CLAMP, SCALE_RANGE

MAX_UNREACHABLE = 0.01  # share of the pixels in the training holes
MAX_OVERFLOW = 1e-4  # share of pixels: below it, and above 0, a highlight was guessed too bright, which is a caution
MAX_OVERFLOW_IN_TRAINING = 1e-3  # of one epoch: on a few small patches a single pixel is more than MAX_OVERFLOW
MAX_CLAMPED = 1e-3  # share of pixels
HEALTHY = {
    "clamp_rate": HealthyRange(
        0.0, MAX_CLAMPED, "residuals reach the hard clamp: task.abs_max, task.learn_scale, the learning rate"
    ),
    "saturated": HealthyRange(
        0.0, 0.05, "residuals are at their cap: task.abs_max is too small, or the learning rate too high"
    ),
    "largest_delta": HealthyRange(0.0, HARD_CLAMP, "the clamp in the model"),
    "scale": HealthyRange(*SCALE_RANGE, "task.project"),
}
EXPECTED_SCALE = (2.0, 8.0)
SETTLING = 8  # a run may be unsettled in its first 1/SETTLING: while the learning rate rises, and shortly after
MIN_EPOCHS = 3  # a shorter run has no course to judge
MAX_DEFICIT_DB = 0.1  # how far the network may fall below the filled picture that it starts from
NEAR_PERFECT_DB = 40.0  # an error of 1 % of the visible range: above it no improvement is asked for
MIN_FALL = 0.02  # of the loss, over the first half of a run
LOOK_AT = "more epochs, more photographs, recipe.lr"  # where a classical method is ahead
RIVAL_SCORES = ("score", "psnr_mu", "ssim_mu")


def checks(evidence: Evidence, *, unreachable: float, cap: float, sequence: FrameSequence | None) -> list[Check]:
    """Every check that the evidence allows.

    `unreachable` is the share of pixels in the training holes whose residual would have to exceed the cap; `sequence`
    holds the user's frames, if the data is theirs.
    """
    results = [_check_reach(unreachable, cap), *_check_scores(evidence.scores)]
    if sequence is not None:
        results.append(_check_files(sequence))
    if _has_course(evidence.history):
        results += _check_course(evidence.history)
    if evidence.stage == "promotion" and evidence.scores and evidence.baselines:
        results += [check_lead(evidence, score, behind="no-go", look_at=LOOK_AT) for score in RIVAL_SCORES]
    return results


# -- data ------------------------------------------------------------------------------------------------------------
def _check_reach(unreachable: float, cap: float) -> Check:
    """Zeros in holes, or an EPS that is too small, put the target out of reach of any bounded residual."""
    return Check(
        "residual can reach the target",
        go_if(unreachable < MAX_UNREACHABLE),
        f"{unreachable:.2%} of the pixels in the training holes are beyond {cap:g}",
        f"below {MAX_UNREACHABLE:.0%}",
        "how holes are filled (task.base), EPS, task.abs_max",
    )


def _check_files(sequence: FrameSequence) -> Check:
    return Check(
        "frames have all their files",
        "caution" if sequence.incomplete else "go",
        str(sequence),
        "three files for every frame",
        "names and numbers of the files",
    )


# -- the scores of a run ---------------------------------------------------------------------------------------------
def _check_scores(scores: Mapping[str, float]) -> list[Check]:
    results = [check_range(name, scores[name], healthy) for name, healthy in HEALTHY.items() if name in scores]
    if "overflow_rate" in scores:
        results.append(_check_overflow("health: overflow_rate", scores["overflow_rate"], MAX_OVERFLOW))
    if "scale" in scores:
        results.append(_check_scale(scores["scale"]))
    return results


def _check_scale(scale: float) -> Check:
    low, high = EXPECTED_SCALE
    return Check(
        "scale as expected",
        "go" if low <= scale <= high else "caution",
        f"{scale:.3g}",
        f"{low:g} to {high:g}",
        "task.abs_max, task.learn_scale",
    )


def _check_overflow(name: str, rate: float, limit: float) -> Check:
    status: Status = "no-go"
    if rate == 0:
        status = "go"
    elif rate <= limit:
        status = "caution"
    return Check(
        name,
        status,
        f"{rate:.3g} of the pixels",
        f"0 (caution to {limit:g})",
        "task.abs_max, task.alpha, the learning rate",
    )


# -- the course of a run ---------------------------------------------------------------------------------------------
def _has_course(history: Sequence[Epoch]) -> bool:
    """Whether the run is long enough to judge, and its epochs have this task's scores."""
    return len(history) >= MIN_EPOCHS and "overflow_rate" in history[0].scores


def _check_course(history: Sequence[Epoch]) -> list[Check]:
    settling = max(1, len(history) // SETTLING)
    settled = history[settling:]
    overflow = max(epoch.scores["overflow_rate"] for epoch in settled)
    return [
        _check_overflow("no overflow once settled", overflow, MAX_OVERFLOW_IN_TRAINING),
        _check_clamp(settled),
        _check_gain(history[2 * settling :]),
        _check_loss(history),
    ]


def _check_clamp(history: Sequence[Epoch]) -> Check:
    worst = max(epoch.scores["clamp_rate"] for epoch in history)
    return Check(
        "hard clamp idle once settled",
        go_if(worst <= MAX_CLAMPED),
        f"at most {worst:.3g} of the pixels clamped",
        f"at most {MAX_CLAMPED:g}",
        HEALTHY["clamp_rate"].look_at,
    )


def _check_gain(history: Sequence[Epoch]) -> Check:
    """After a quarter of a run the network is better than the filled picture that it starts from, or nearly perfect."""
    gains = [epoch.scores["gain_db"] for epoch in history if epoch.scores["psnr_mu_hole"] < NEAR_PERFECT_DB]
    return Check(
        "never worse than its base",
        go_if(min(gains, default=0.0) >= -MAX_DEFICIT_DB),
        f"{min(gains):+.2f} dB at worst" if gains else f"always above {NEAR_PERFECT_DB:g} dB",
        f"at least {-MAX_DEFICIT_DB:g} dB after a quarter of the run",
        "the learning rate, task.log_weight",
    )


def _check_loss(history: Sequence[Epoch]) -> Check:
    """The loss falls over the first half of a run. Only a caution: a run that starts well has less to gain."""
    first = history[0].loss
    middle = history[len(history) // 2].loss
    return Check(
        "loss falls",
        "go" if middle <= (1 - MIN_FALL) * first else "caution",
        f"{first:.4g} -> {middle:.4g}",
        f"by {MIN_FALL:.0%} over the first half",
        "the learning rate",
    )
