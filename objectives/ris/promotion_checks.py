"""Checks after a promotion: what the sweep's trials show, and how good the winner is on the test split."""

from __future__ import annotations

import math

from hpo import REFERENCE, Check, Evidence, Status
from objectives.ris.conditions import RIVAL, check_limits, condition, skip

SEED_NOISE_M = 0.010  # standard deviation of the default's OSPA over 5 seeds at the cheap fidelity
FIRST_DRAWN = range(1, 8)  # trial 0 is the default


def check_objective_moves(evidence: Evidence) -> Check:
    """G05: the score of the first drawn trials varies by more than seeds do."""
    complete = [trial for trial in evidence.trials if trial.state == "complete"]
    values = [trial.value for trial in complete if trial.number in FIRST_DRAWN and trial.value is not None][:5]
    if len(values) < 3:
        return skip("G05 objective moves", f"only {len(values)} of the first drawn trials were completed")
    span, median = max(values) - min(values), sorted(values)[len(values) // 2]
    share = span / median
    status: Status = "go"
    if share < 0.05 or span < 3 * SEED_NOISE_M:
        status = "no-go"
    elif share < 0.1:
        status = "caution"
    return Check(
        "G05 objective moves",
        status,
        f"{share:.0%} of the median over {len(values)} drawn trials, {span / SEED_NOISE_M:.0f} seed deviations",
        f"5 % (caution to 10 %) and 3 deviations of {SEED_NOISE_M:g} m",
        "hyperparameters that do not reach the score",
    )


def check_search_gains(evidence: Evidence) -> Check:
    """G06: the best trial is better than the default by more than seeds differ."""
    values = {trial.number: trial.value for trial in evidence.trials if trial.state == "complete"}
    complete = {number: value for number, value in values.items() if value is not None}
    if 0 not in complete:
        return skip("G06 search gains", "the default trial was not completed")
    best, default = min(complete.values()), complete[0]
    return condition(
        "G06 search gains",
        best < default - SEED_NOISE_M,
        f"best {best:.3f} m, default {default:.3f} m",
        f"a gain of more than {SEED_NOISE_M:g} m",
        "the space, the number of trials",
    )


def check_trials(evidence: Evidence) -> Check:
    """G07: no trial failed, and all complete ones reported the same number of epochs."""
    if not evidence.trials:
        return skip("G07 trials", "no trials in the evidence")
    failed = [trial.number for trial in evidence.trials if trial.state == "failed"]
    lengths = {trial.epochs for trial in evidence.trials if trial.state == "complete"}
    return condition(
        "G07 trials",
        not failed and len(lengths) <= 1,
        f"{len(failed)} failed; complete ones reported {sorted(lengths)} epochs",
        "none failed; all epochs reported",
        "the reasons in the sweep's table",
    )


def check_winner_limits(evidence: Evidence) -> Check:
    """G13 for the winner."""
    return check_limits(evidence.scores, "learned")


def check_counting(evidence: Evidence) -> Check:
    """G14: the number of sources is learned, and counted better than by AIC."""
    chance = evidence.scores.get("k_chance", math.nan)
    ours = evidence.scores.get("k_acc_clear", math.nan)
    aic = evidence.baselines.get(RIVAL, {}).get("k_acc_clear", math.nan)
    course = [epoch.scores["k_acc_clear"] for epoch in evidence.history if "k_acc_clear" in epoch.scores]
    rising = len(course) < 2 or course[-1] > course[0]
    status: Status = "no-go"
    if ours > chance + 0.02 and rising:
        status = "caution" if ours < aic else "go"
    rise = f"; {course[0]:.2f} -> {course[-1]:.2f} over the run" if len(course) > 1 else ""
    return Check(
        "G14 counting",
        status,
        f"{ours:.2f} at 10 dB and more{rise}",
        f"above {chance + 0.02:.2f} and rising (caution below AIC's {aic:.2f})",
        "the network's count and lam_count",
    )


def check_not_constant(evidence: Evidence) -> Check:
    """G15: estimates spread over the view as the sources do."""
    names = ("spread_phi_deg", "spread_theta_deg", "spread_r_m")
    spreads = {name: evidence.scores.get(name, math.nan) for name in names}
    return condition(
        "G15 not constant",
        all(value >= 0.5 for value in spreads.values()),
        ", ".join(f"{name} {value:.2f}" for name, value in spreads.items()),
        "at least 0.5 of the truth's",
        "a network that ignores its input",
    )


def check_covariance(evidence: Evidence) -> Check:
    """G17: R_pred is better than the identity, and than R_samp below 0 dB."""
    scores = evidence.scores
    if "nmse_pred_noisy" not in scores:
        return skip("G17 covariance", "no scene below 0 dB")
    pred, eye = scores["nmse_pred"], scores["nmse_eye"]
    noisy_pred, noisy_samp = scores["nmse_pred_noisy"], scores["nmse_samp_noisy"]
    return condition(
        "G17 covariance",
        pred < min(0.5, eye) and noisy_pred < noisy_samp,
        f"R_pred {pred:.3f}, identity {eye:.3f}; below 0 dB R_pred {noisy_pred:.3f}, R_samp {noisy_samp:.3f}",
        "R_pred below 0.5 and below the identity, and below R_samp at less than 0 dB",
        "lam_cov, lam_cov_pred",
    )


def check_winner(evidence: Evidence) -> Check:
    """G19: the winner is accurate in clear scenes, and better than MUSIC with AIC by more than both intervals."""
    scores, rival = evidence.scores, evidence.baselines.get(RIVAL, {})
    if "ospa_sem" not in rival:
        return skip("G19 promoted", f"no baseline named {RIVAL}")
    medians = {name: scores.get(f"med_{name}_clear", math.nan) for name in ("phi_deg", "theta_deg", "r_m")}
    accurate = all(median < 1.0 for median in medians.values())
    gap = rival["ospa"] - scores["ospa"]
    apart = gap > 1.96 * (rival["ospa_sem"] + scores["ospa_sem"])
    count = sum(not name.endswith(REFERENCE) for name in evidence.baselines)
    return condition(
        "G19 promoted",
        accurate and apart,
        f"medians at 10 dB and more {medians['phi_deg']:.2f} deg, {medians['theta_deg']:.2f} deg, "
        f"{medians['r_m']:.2f} m; OSPA {scores['ospa']:.3f} m, {RIVAL} {rival['ospa']:.3f} m; {count} baselines",
        f"below 1 deg, 1 deg, 1 m; better than {RIVAL} with intervals apart",
        "the report's errors by SNR",
    )
