"""The task's own go/no-go checks: highlights, proportional output, a 6 x 6 grid, and the methods to beat."""

from __future__ import annotations

from collections.abc import Mapping

from hpo import Check, Epoch, Evidence
from objectives.common.checks import check_lead, go_if

HEADROOM = (0.97, 1.03)  # allowed range of: output light above white / true light above white
MAX_LOST = 0.01  # share of the pixels above white that the output puts below white
MAX_SCALE_ERROR = 1e-4
MAX_GRID_RISE_DB = 2.0  # above Markesteijn's
MAX_ODD_DB = 2.5  # of the control; the texture of the test photograph alone gives 2.0 under interpolation
MIN_LEAD_DB = 1.0
MARKESTEIJN = "markesteijn 3"
PLAIN = "normalised convolution"
RIVAL_SCORES = ("psnr_lin", "psnr_srgb")
LOOK_AT = "a wider network, more epochs, more photographs"  # where a classical method is ahead
MIN_EPOCHS = 4  # fewer say nothing about whether the score changes


def checks(evidence: Evidence, missing: str) -> list[Check]:
    """Every check that the evidence allows. `missing` names the comparison methods that are not installed."""
    results: list[Check] = []
    if "hdr_headroom" in evidence.scores:
        results.append(_check_highlights(evidence.scores))
        results.append(_check_proportional(evidence.scores["scale_error"]))
    if len(evidence.history) >= MIN_EPOCHS:
        results.append(_check_score_changes(evidence.history))
    if evidence.stage == "promotion" and evidence.scores and evidence.baselines:
        results.append(_check_beats_interpolation(evidence))
        results.append(_check_grid_control(evidence.scores))
        if MARKESTEIJN in evidence.baselines:
            results.append(_check_grid(evidence))
        # only a caution: a small network may lose to a classical method, but the report must say so
        results += [check_lead(evidence, score, behind="caution", look_at=LOOK_AT) for score in RIVAL_SCORES]
    if missing:
        results.append(
            Check(
                "all comparison methods are installed",
                "caution",
                missing,
                "all installed",
                "the optional dependency `raw`",
            )
        )
    return results


def _check_highlights(scores: Mapping[str, float]) -> Check:
    low, high = HEADROOM
    kept = low <= scores["hdr_headroom"] <= high and scores["hdr_lost"] < MAX_LOST
    return Check(
        "light above white is kept",
        go_if(kept),
        f"{scores['hdr_headroom']:.3f} of the light, {scores['hdr_lost']:.2%} of the pixels lost",
        f"{low:g} to {high:g}, below {MAX_LOST:.0%}",
        "clipping in the data, the model or the loss",
    )


def _check_proportional(scale_error: float) -> Check:
    return Check(
        "the output is proportional to the light",
        go_if(scale_error <= MAX_SCALE_ERROR),
        f"largest difference {scale_error:.2g}",
        f"at most {MAX_SCALE_ERROR:g}",
        "the model's unit of light",
    )


def _check_score_changes(history: tuple[Epoch, ...]) -> Check:
    """A correction that stays at zero scores exactly what its interpolation scores, in every epoch."""
    values = [epoch.scores["psnr_lin"] for epoch in history]
    stuck = max(values) - min(values) < 1e-6
    return Check(
        "the score changes during training",
        go_if(not stuck),
        f"{values[0]:.2f} dB in every epoch" if stuck else f"{values[0]:.2f} to {values[-1]:.2f} dB",
        "changes",
        "the learning rate, task.act",
    )


def _check_beats_interpolation(evidence: Evidence) -> Check:
    lead = evidence.scores["psnr_lin"] - evidence.baselines[PLAIN]["psnr_lin"]
    return Check(
        "clearly beats interpolation",
        go_if(lead >= MIN_LEAD_DB),
        f"{lead:+.2f} dB",
        f"at least {MIN_LEAD_DB:g} dB above {PLAIN}",
        "more epochs, recipe.lr",
    )


def _check_grid_control(scores: Mapping[str, float]) -> Check:
    quiet = abs(scores["grid_odd_db"]) <= MAX_ODD_DB
    return Check(
        "the grid measurement is reliable",
        "go" if quiet else "caution",
        f"control {scores['grid_odd_db']:+.1f} dB",
        f"within {MAX_ODD_DB:g} dB of 0",
        "photographs whose texture repeats every 6 pixels",
    )


def _check_grid(evidence: Evidence) -> Check:
    grid = evidence.scores["grid_even_db"]
    rise = grid - evidence.baselines[MARKESTEIJN]["grid_even_db"]
    return Check(
        "no 6 x 6 grid",
        go_if(rise <= MAX_GRID_RISE_DB),
        f"{grid:+.1f} dB, {rise:+.1f} dB from Markesteijn",
        f"at most {MAX_GRID_RISE_DB:g} dB above {MARKESTEIJN}",
        "task.gain, task.gain_spread, photographs of other colours or sharpness",
    )
