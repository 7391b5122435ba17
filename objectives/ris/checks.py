"""The task's own go/no-go conditions, G01 to G20. What a stage cannot show is skipped, and says why.

The physics is probed on scenes of the task's own, drawn from constant streams, with an untrained network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from hpo.seeds import generator
from hpo.task import REFERENCE, Check, Evidence, Status
from objectives.ris import probes
from objectives.ris.baseline import Classical, ceiling
from objectives.ris.covariance import Contract, contract
from objectives.ris.data import Batch, generate, scenes
from objectives.ris.metrics import judge, summary

if TYPE_CHECKING:
    from objectives.ris.task import RIS

PROBES = 128  # scenes
SEED_NOISE_M = 0.010  # standard deviation of the cheap default's OSPA over 5 seeds
RIVAL = "MUSIC, AIC"


def preflight(task: RIS, evidence: Evidence) -> list[Check]:
    """What can be shown before anything is searched."""
    probe = generate(task.scenario, PROBES, generator("ris", "probe"))
    return [
        assertions(task),
        overfit(evidence),
        overfit_score(task, evidence),
        overfit_curve(evidence),
        finite(evidence),
        *_covariances(task, probe),
        *gradients(task, evidence, probe),
        reach(task, probe),
        ceiling_edges(task, probe),
        floors(task, probe),
        *_skipped(
            {
                "G05": "promotion shows it",
                "G06": "promotion shows it",
                "G07": "promotion shows it",
                "G08": "mixed precision is the recipe's, and off in these studies",
                "G14": "promotion shows it",
                "G15": "promotion shows it",
                "G16": "the preflight's own check: splits disjoint",
                "G17": "needs scenes that were not trained on",
                "G19": "promotion shows it",
                "G20": "promotion re-scores what inference alone reads",
            }
        ),
    ]


def promotion(evidence: Evidence) -> list[Check]:
    """What the sweep and the winner show."""
    return [
        *movement(evidence),
        completeness(evidence),
        finite(evidence),
        edges(evidence),
        counting(evidence),
        not_constant(evidence),
        covariance_quality(evidence),
        promoted(evidence),
        *_skipped(
            {
                "G01": "the preflight's",
                "G02": "the preflight's",
                "G03": "the preflight's",
                "G08": "mixed precision is the recipe's, and off in these studies",
                "G09": "the preflight's",
                "G10": "the preflight's",
                "G11": "the preflight's",
                "G12": "the preflight's",
                "G16": "the preflight's own check: splits disjoint",
                "G18": "the preflight's",
                "G20": "the promotion's own checks: re-scored",
            }
        ),
    ]


# -- before anything is searched -------------------------------------------------------------------------------------
def assertions(task: RIS) -> Check:
    """The assertions at the blend are there: `python -O` would take them away."""
    refused = probes.refusals(task.surface.entries)
    return _check(
        "G01 blend assertions",
        all(refused),
        f"{sum(refused)} of {len(refused)} wrong blends refused",
        "all",
        "python -O, or an edited blend()",
    )


def overfit(evidence: Evidence) -> Check:
    """The loss on scenes learned by heart; the preflight runs the two controls."""
    score = evidence.scores.get("loss", math.nan)
    first = evidence.history[0]["loss"] if evidence.history else math.nan
    fell = score < 0.3 * first
    status: Status = "no-go" if not (score <= 1.0 and fell) else "go" if score < 0.5 else "caution"
    return Check(
        "G02 overfit",
        status,
        f"loss {score:.3f}, {score / first:.2f} of the first epoch's",
        "below 0.5 (caution to 1.0), and 0.3 of the first epoch's",
        "labels, scales, and the preflight's two controls",
    )


def overfit_score(task: RIS, evidence: Evidence) -> Check:
    """On the scenes that it has learned by heart, the network beats MUSIC on their samples."""
    ours = evidence.scores.get("ospa", math.nan)
    if math.isnan(ours):
        return _skip("G02 overfit score", "no OSPA in the evidence")
    count = task.overfit.samples
    fixed = scenes(task.scenario, "train", count).take(torch.arange(count))
    music = Classical(fixed, task.method).music("aic")["fine"]
    rival = float(judge(music, fixed, task.view).ospa_m.mean())
    return _check(
        "G02 overfit score",
        ours < rival,
        f"OSPA {ours:.3f} m",
        f"below {rival:.3f} m, that of {RIVAL} on the same scenes",
        "the estimator, beta",
    )


def overfit_curve(evidence: Evidence) -> Check:
    curve = [epoch["loss"] for epoch in evidence.history]
    rises = [after / before - 1 for before, after in zip(curve, curve[1:], strict=False) if after > before]
    seen = f"{len(rises)} rises, the largest {max(rises, default=0):.1%}"
    return _check(
        "G03 overfit curve",
        len(rises) <= 3 and max(rises, default=0) <= 0.1,
        seen,
        "at most 3, none above 10 %",
        "the learning rate",
    )


def finite(evidence: Evidence) -> Check:
    if not evidence.history:
        return _skip("G04 finite", "no history")
    bad = sum(not math.isfinite(epoch["loss"]) for epoch in evidence.history)
    skipped = sum(epoch.get("steps_skipped", 0) for epoch in evidence.history)
    sanitised = sum(sum(epoch.get("nonfinite", {}).values()) for epoch in evidence.history)
    status: Status = "no-go" if bad or skipped else "caution" if sanitised else "go"
    return Check(
        "G04 finite",
        status,
        f"{bad} losses not finite, {skipped} steps skipped, {sanitised} gradient elements made finite",
        "none; every batch is one step",
        "divisions, logarithms and roots near 0",
    )


def _covariances(task: RIS, probe: Batch) -> Iterator[Check]:
    """R_samp, and R_pred and R_blend of an untrained network, keep the contract of a covariance."""
    with torch.no_grad():
        seen = task.sight(probes.untrained(task), probe.z)
    samp = contract(seen.samp)
    yield _check(
        "G09 R_samp",
        samp.holds and samp.typical >= 0.2,
        _measured(samp),
        _CONTRACT + "; median ||R|| from 0.2 N'",
        "covariance.sample, the snapshots",
    )
    pred, blended = contract(seen.pred), contract(task.blended(seen, task.beta))
    yield _check(
        "G10 R_pred and R_blend",
        pred.holds and blended.holds,
        f"R_pred: {_measured(pred)}. R_blend: {_measured(blended)}",
        _CONTRACT,
        "covariance.predicted, blend",
    )


def gradients(task: RIS, evidence: Evidence, probe: Batch) -> Iterator[Check]:
    """Gradients of a sensible size, and no term that is dead from the start."""
    norms = sorted(epoch["grad_norm"] for epoch in evidence.history)
    middle = norms[len(norms) // 2] if norms else math.nan
    yield _check(
        "G11 gradient norm",
        1e-4 <= middle <= 1e2,
        f"median {middle:.3g} before clipping",
        "1e-4 to 1e2",
        "the scale of the loss terms",
    )
    dead = [name for name, (value, slope) in probes.liveness(task, probe).items() if not (value > 0 and slope > 0)]
    yield _check(
        "G11 loss terms live",
        not dead,
        f"dead: {', '.join(dead) or 'none'}",
        "value and gradient above 0",
        "an index, a mask, or a detach in that term",
    )


def reach(task: RIS, probe: Batch) -> Check:
    """On the true covariance, with the number known, the estimator is as good as exact."""
    scores = summary(judge(ceiling(probe, task.method), probe, task.view))
    allowed = {"med_phi_deg": 0.05, "med_theta_deg": 0.05, "med_r_m": 0.02, "p95_phi_deg": 1.0, "p95_theta_deg": 1.0}
    seen = ", ".join(f"{name} {scores[name]:.2g}" for name in allowed)
    return _check(
        "G12 ceiling",
        all(scores[name] < limit for name, limit in allowed.items()),
        seen,
        ", ".join(f"{name} < {limit:g}" for name, limit in allowed.items()),
        "estimator.py, geometry.py",
    )


def ceiling_edges(task: RIS, probe: Batch) -> Check:
    clear = generate(
        replace(task.scenario, snr_lo=10.0, snr_hi=max(10.0, task.snr_hi)), PROBES, generator("ris", "clear probe")
    )
    return _pegs(summary(judge(ceiling(clear, task.method), clear, task.view)), "ceiling")


def floors(task: RIS, probe: Batch) -> Check:
    """Every loss term reaches its floor where the network is right; the zero matrix has an error of 1."""
    values = probes.oracle_terms(task, probe)
    zero = probes.error_of_zero(task, probe)
    least = dict.fromkeys(values, 0.0) | {"count": probes.label_entropy(task.k_max)}
    off = {name: value - least[name] for name, value in values.items() if abs(value - least[name]) > 1e-3}
    off |= {"zero matrix": zero - 1} if abs(zero - 1) > 1e-3 else {}
    seen = ", ".join(f"{name} off by {gap:.2g}" for name, gap in off.items()) or "all at their floors"
    return _check("G18 floors", not off, seen, "within 0.001", "loss.py")


# -- after the sweep and the promotion -------------------------------------------------------------------------------
def movement(evidence: Evidence) -> Iterator[Check]:
    """The objective moves when the configuration does, and the search gained more than noise."""
    done = [trial for trial in evidence.trials if trial["state"] == "complete"]
    first = [trial["value"] for trial in done if 1 <= trial["number"] <= 7][:5]
    if len(first) < 3:
        yield _skip("G05 objective moves", f"{len(first)} of the first drawn trials were completed")
    else:
        span, middle = max(first) - min(first), sorted(first)[len(first) // 2]
        share = span / middle
        status: Status = "no-go" if share < 0.05 or span < 3 * SEED_NOISE_M else "caution" if share < 0.1 else "go"
        yield Check(
            "G05 objective moves",
            status,
            f"{share:.0%} of the median over {len(first)} drawn trials, {span / SEED_NOISE_M:.0f} seed deviations",
            f"5 % (caution to 10 %) and 3 deviations of {SEED_NOISE_M:g} m",
            "knobs that do not reach the score",
        )
    default = next((trial["value"] for trial in done if trial["number"] == 0), None)
    if default is None:
        yield _skip("G06 search gains", "the default trial was not completed")
        return
    best = min(trial["value"] for trial in done)
    yield _check(
        "G06 search gains",
        best < default - SEED_NOISE_M,
        f"best {best:.3f} m, default {default:.3f} m",
        f"a gain of more than {SEED_NOISE_M:g} m",
        "the space, the number of trials",
    )


def completeness(evidence: Evidence) -> Check:
    if not evidence.trials:
        return _skip("G07 trials", "no trials in the evidence")
    failed = [trial["number"] for trial in evidence.trials if trial["state"] in ("failed", "fail")]
    lengths = {trial["epochs"] for trial in evidence.trials if trial["state"] == "complete"}
    seen = f"{len(failed)} failed; complete ones reported {sorted(lengths)} epochs"
    return _check(
        "G07 trials",
        not failed and len(lengths) <= 1,
        seen,
        "none failed; all epochs reported",
        "the reasons in the sweep's table",
    )


def edges(evidence: Evidence) -> Check:
    return _pegs(evidence.scores, "learned")


def counting(evidence: Evidence) -> Check:
    """The number of sources is learned, and better than by AIC."""
    scores, chance = evidence.scores, evidence.scores.get("k_chance", math.nan)
    ours = scores.get("k_acc_clear", math.nan)
    aic = evidence.baselines.get(RIVAL, {}).get("k_acc_clear", math.nan)
    course = [value for epoch in evidence.history if (value := _score(epoch, "k_acc_clear")) is not None]
    grew = len(course) < 2 or course[-1] > course[0]
    status: Status = "no-go" if not (ours > chance + 0.02 and grew) else "caution" if ours < aic else "go"
    rise = f"; {course[0]:.2f} -> {course[-1]:.2f} over the run" if len(course) > 1 else ""
    return Check(
        "G14 counting",
        status,
        f"{ours:.2f} at 10 dB and more{rise}",
        f"above {chance + 0.02:.2f} and rising (caution below AIC's {aic:.2f})",
        "the count head and lam_count",
    )


def not_constant(evidence: Evidence) -> Check:
    names = ("spread_phi_deg", "spread_theta_deg", "spread_r_m")
    seen = {name: evidence.scores.get(name, math.nan) for name in names}
    return _check(
        "G15 not constant",
        all(value >= 0.5 for value in seen.values()),
        ", ".join(f"{name} {value:.2f}" for name, value in seen.items()),
        "at least 0.5 of the truth's",
        "a network that ignores its input",
    )


def covariance_quality(evidence: Evidence) -> Check:
    s = evidence.scores
    if "nmse_pred_noisy" not in s:
        return _skip("G17 covariance", "no scene below 0 dB")
    holds = s["nmse_pred"] < min(0.5, s["nmse_eye"]) and s["nmse_pred_noisy"] < s["nmse_samp_noisy"]
    return _check(
        "G17 covariance",
        holds,
        f"R_pred {s['nmse_pred']:.3f}, identity {s['nmse_eye']:.3f}; below 0 dB "
        f"R_pred {s['nmse_pred_noisy']:.3f}, R_samp {s['nmse_samp_noisy']:.3f}",
        "below 0.5, below the identity, and below R_samp where it is noisy",
        "lam_cov, lam_cov_pred",
    )


def promoted(evidence: Evidence) -> Check:
    """The winner is accurate where it can be, and better than MUSIC with AIC beyond both intervals."""
    s, rival = evidence.scores, evidence.baselines.get(RIVAL, {})
    if "ospa_sem" not in rival:
        return _skip("G19 promoted", f"no baseline named {RIVAL}")
    rivals = [name for name in evidence.baselines if not name.endswith(REFERENCE)]
    sharp = all(s.get(f"med_{name}_clear", math.inf) < 1.0 for name in ("phi_deg", "theta_deg", "r_m"))
    gap = rival["ospa"] - s["ospa"]
    apart = gap > 1.96 * (rival["ospa_sem"] + s["ospa_sem"])
    return _check(
        "G19 promoted",
        sharp and apart,
        f"medians at 10 dB and more {s.get('med_phi_deg_clear', math.nan):.2f} deg, "
        f"{s.get('med_theta_deg_clear', math.nan):.2f} deg, {s.get('med_r_m_clear', math.nan):.2f} m; OSPA "
        f"{s['ospa']:.3f} m against {rival['ospa']:.3f} m, {len(rivals)} baselines",
        f"below 1 deg, 1 deg, 1 m; better than {RIVAL} with intervals apart",
        "the report's errors by SNR",
    )


# -- small parts -----------------------------------------------------------------------------------------------------
_CONTRACT = "trace N' within 1e-4, Hermitian within 1e-5, eigenvalues above -1e-4, sqrt(N') <= ||R|| <= N'"


def _measured(seen: Contract) -> str:
    return (
        f"trace {seen.trace:.0e}, Hermitian {seen.hermitian:.0e}, lowest {seen.lowest:.0e}, ||R|| "
        f"{seen.shortest:.2f} sqrt(N') to {seen.longest:.2f} N', median {seen.typical:.2f} N'"
    )


def _pegs(scores: Mapping[str, Any], who: str) -> Check:
    name = f"G13 estimates at a limit, {who}"
    if "peg_clear" not in scores:
        return _skip(name, "no scene at 10 dB and more")
    seen, border = scores["peg_clear"], scores["border_clear"]
    return _check(
        name,
        seen <= border + 0.02,
        f"{seen:.1%} at 10 dB and more, {border:.1%} of the sources",
        "at most 2 % more than the sources",
        "the box that Newton and ML are clamped to",
    )


def _score(epoch: Mapping[str, Any], name: str) -> float | None:
    """A score of one epoch; the scores lie beside the loss, or one level deeper."""
    return epoch.get(name, epoch.get("scores", {}).get(name))


def _check(name: str, holds: bool, seen: str, allowed: str, look_at: str) -> Check:
    return Check(name, "go" if holds else "no-go", seen, allowed, look_at)


def _skip(name: str, reason: str) -> Check:
    return Check(name, "skip", reason, "-")


def _skipped(reasons: Mapping[str, str]) -> Iterator[Check]:
    for name, reason in reasons.items():
        yield _skip(name, reason)
