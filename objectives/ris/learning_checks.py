"""Checks of a training run: the overfit run's loss and curve, finite numbers, gradients."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from hpo import Check, Evidence, Status
from objectives.ris import probes
from objectives.ris.baseline import Classical
from objectives.ris.conditions import RIVAL, condition, skip
from objectives.ris.data import Batch, scenes
from objectives.ris.metrics import judge
from objectives.ris.probes import Subject


def check_overfit(evidence: Evidence) -> Check:
    """G02: the loss falls on a small fixed set. The preflight adds two controls."""
    loss = evidence.scores.get("loss", math.nan)
    first = evidence.history[0].loss if evidence.history else math.nan
    status: Status = "no-go"
    if loss <= 1.0 and loss < 0.3 * first:
        status = "go" if loss < 0.5 else "caution"
    return Check(
        "G02 overfit",
        status,
        f"loss {loss:.3f}, {loss / first:.2f} of the first epoch's",
        "below 0.5 (caution to 1.0), and below 0.3 of the first epoch's",
        "labels, scales, and the preflight's two controls",
    )


def check_overfit_score(subject: Subject, evidence: Evidence) -> Check:
    """G02: on the scenes of the overfit run the network is better than MUSIC on their samples."""
    ours = evidence.scores.get("ospa", math.nan)
    if math.isnan(ours):
        return skip("G02 overfit score", "no OSPA in the evidence")
    count, pipeline = subject.overfit_samples, subject.pipeline
    fixed = scenes(subject.scenario, "train", count).take(torch.arange(count))
    music = Classical(fixed, pipeline.method).music("aic").fine
    rival = float(judge(music, fixed, pipeline.view).ospa_m.mean())
    return condition(
        "G02 overfit score",
        ours < rival,
        f"OSPA {ours:.3f} m",
        f"below {rival:.3f} m, that of {RIVAL} on the same scenes",
        "the estimator, beta",
    )


def check_overfit_curve(evidence: Evidence) -> Check:
    """G03: the overfit run's loss falls almost always."""
    losses = [epoch.loss for epoch in evidence.history]
    rises = [after / before - 1 for before, after in pairwise(losses) if after > before]
    largest = max(rises, default=0)
    return condition(
        "G03 overfit curve",
        len(rises) <= 3 and largest <= 0.1,
        f"{len(rises)} rises, the largest {largest:.1%}",
        "at most 3, none above 10 %",
        "the learning rate",
    )


def check_finite(evidence: Evidence) -> Check:
    """G04: every batch is one step, with finite losses and gradients."""
    if not evidence.history:
        return skip("G04 finite", "no history")
    losses = sum(not math.isfinite(epoch.loss) for epoch in evidence.history)
    skipped = sum(epoch.steps_skipped for epoch in evidence.history)
    elements = sum(sum(epoch.nonfinite.values()) for epoch in evidence.history)
    status: Status = "go"
    if losses or skipped:
        status = "no-go"
    elif elements:
        status = "caution"
    return Check(
        "G04 finite",
        status,
        f"{losses} losses not finite, {skipped} steps skipped, {elements} gradient elements made finite",
        "none; every batch is one step",
        "divisions, logarithms and roots near 0",
    )


def check_gradient_norm(evidence: Evidence) -> Check:
    """G11: gradients are neither tiny nor huge."""
    norms = sorted(epoch.grad_norm for epoch in evidence.history)
    median = norms[len(norms) // 2] if norms else math.nan
    return condition(
        "G11 gradient norm",
        1e-4 <= median <= 1e2,
        f"median {median:.3g} before clipping",
        "1e-4 to 1e2",
        "the scale of the loss terms",
    )


def check_terms_live(subject: Subject, probe: Batch) -> Check:
    """G11: every loss term of an untrained network has a value and a gradient."""
    measured = probes.liveness(subject, probe)
    dead = [name for name, (value, slope) in measured.items() if not (value > 0 and slope > 0)]
    return condition(
        "G11 loss terms live",
        not dead,
        f"dead: {', '.join(dead) or 'none'}",
        "value and gradient above 0",
        "an index, a mask, or a detach in that term",
    )
