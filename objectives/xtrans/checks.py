"""The task's own go/no-go conditions: light above white, proportion, a grid, and the rivals to beat."""

from __future__ import annotations

from hpo.task import REFERENCE, Check, Evidence

HEADROOM = (0.97, 1.03)  # light made above white, over what there was
MAX_LOST = 0.01  # share of the light above white that falls below
MAX_SCALE_ERROR = 1e-4
MAX_GRID_RISE_DB = 2.0  # above Markesteijn's
MAX_ODD_DB = 2.5  # the null itself: what a picture's own texture may give (2.0 on the test photograph's interpolation)
MIN_LEAD_DB = 1.0
STEADY = "markesteijn 3"
PLAIN = "normalised convolution"
FIRST_EPOCHS = 3


def checks(evidence: Evidence, missing: str) -> list[Check]:
    """Every condition that the evidence can tell about. `missing` says what cannot be compared with here."""
    scores, found = evidence.scores, []
    if "hdr_headroom" in scores:
        found += [_headroom(scores), _proportional(scores["scale_error"])]
    if len(evidence.history) > FIRST_EPOCHS and "psnr_lin" in evidence.history[0]:
        found.append(_alive([epoch["psnr_lin"] for epoch in evidence.history]))
    if evidence.stage == "promotion" and scores and evidence.baselines:
        found += [
            _ahead_of_plain(evidence),
            *_grid(evidence),
            *(_ahead(evidence, name) for name in ("psnr_lin", "psnr_srgb")),
        ]
    if missing:
        found.append(Check("every demosaicer to compare with", "caution", missing, "all installed", "the extra raw"))
    return found


def _headroom(scores) -> Check:
    low, high = HEADROOM
    holds = low <= scores["hdr_headroom"] <= high and scores["hdr_lost"] < MAX_LOST
    return Check(
        "light above white is kept",
        _status(holds),
        f"{scores['hdr_headroom']:.3f} of it, {scores['hdr_lost']:.2%} lost",
        f"{low:g} to {high:g}, below {MAX_LOST:.0%}",
        "what is clipped: data, model, loss",
    )


def _proportional(error: float) -> Check:
    return Check(
        "four times the light, four times the picture",
        _status(error <= MAX_SCALE_ERROR),
        f"{error:.2g} off",
        f"at most {MAX_SCALE_ERROR:g}",
        "the model's unit of light",
    )


def _alive(values: list[float]) -> Check:
    """A residual that died scores exactly what its interpolation does, epoch after epoch, and looks like a result."""
    stuck = max(values) - min(values) < 1e-6
    return Check(
        "the correction is alive",
        _status(not stuck),
        "the score never moved" if stuck else f"{values[0]:.2f} to {values[-1]:.2f} dB",
        "changes",
        "the learning rate, task.act",
    )


def _ahead_of_plain(evidence: Evidence) -> Check:
    lead = evidence.scores["psnr_lin"] - evidence.baselines[PLAIN]["psnr_lin"]
    return Check(
        "clearly beats interpolation",
        _status(lead >= MIN_LEAD_DB),
        f"{lead:+.2f} dB",
        f"at least {MIN_LEAD_DB:g} dB above {PLAIN}",
        "more epochs, recipe.lr",
    )


def _grid(evidence: Evidence) -> list[Check]:
    scores = evidence.scores
    found = [
        Check(
            "the grid's null is quiet",
            "go" if abs(scores["grid_odd_db"]) <= MAX_ODD_DB else "caution",
            f"{scores['grid_odd_db']:+.1f} dB",
            f"within {MAX_ODD_DB:g} dB",
            "the photographs: texture that repeats with the tile",
        )
    ]
    if STEADY in evidence.baselines:
        rise = scores["grid_even_db"] - evidence.baselines[STEADY]["grid_even_db"]
        found.append(
            Check(
                "no 6 x 6 grid",
                _status(rise <= MAX_GRID_RISE_DB),
                f"{scores['grid_even_db']:+.1f} dB, {rise:+.1f} dB from Markesteijn",
                f"at most {MAX_GRID_RISE_DB:g} dB above {STEADY}",
                "task.gain, task.gain_spread, photographs of other colours or sharpness",
            )
        )
    return found


def _ahead(evidence: Evidence, score: str) -> Check:
    """A caution where a classical method is ahead: a small network may be, and must say so."""
    rivals = {name: scores[score] for name, scores in evidence.baselines.items() if not name.endswith(REFERENCE)}
    best = max(rivals, key=rivals.__getitem__)
    return Check(
        f"beats every classical method in {score}",
        "go" if evidence.scores[score] > rivals[best] else "caution",
        f"{evidence.scores[score]:.2f} dB",
        f"above {rivals[best]:.2f} dB ({best})",
        "a wider network, more epochs, more photographs",
    )


def _status(holds: bool) -> str:
    return "go" if holds else "no-go"
