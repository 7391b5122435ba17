"""Checks of the physics: covariances, estimator and loss floors. They need no trained network.

The scenes are drawn from constant streams, with the task's own scenario.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from hpo import Check, generator
from objectives.ris import probes
from objectives.ris.baseline import ceiling
from objectives.ris.conditions import check_limits, condition
from objectives.ris.covariance import Contract, contract
from objectives.ris.data import Batch, Scenario, generate
from objectives.ris.metrics import judge, summary
from objectives.ris.pipeline import Pipeline
from objectives.ris.probes import Subject

CONTRACT = "trace N' within 1e-4, Hermitian within 1e-5, eigenvalues above -1e-4, sqrt(N') <= ||R|| <= N'"
CEILING = {  # the greatest errors of the estimator on the true covariance
    "med_phi_deg": 0.05,
    "med_theta_deg": 0.05,
    "med_r_m": 0.02,
    "p95_phi_deg": 1.0,
    "p95_theta_deg": 1.0,
}


def check_assertions(pipeline: Pipeline) -> Check:
    """G01: the assertions of the blend are active. `python -O` would remove them."""
    refused = probes.refusals(pipeline.surface.entries)
    return condition(
        "G01 blend assertions",
        all(refused),
        f"{sum(refused)} of {len(refused)} wrong blends refused",
        "all",
        "python -O, or an edited blend()",
    )


def check_covariances(subject: Subject, probe: Batch) -> Iterator[Check]:
    """G09, G10: R_samp, and R_pred and R_blend of an untrained network, keep the contract of a covariance."""
    pipeline = subject.pipeline
    with torch.no_grad():
        sight = pipeline.sight(subject.untrained(), probe.z)
    samp = contract(sight.samp)
    yield condition(
        "G09 R_samp",
        samp.holds and samp.typical >= 0.2,
        _describe(samp),
        CONTRACT + "; median ||R|| at least 0.2 N'",
        "covariance.sample, the snapshots",
    )
    pred, blended = contract(sight.pred), contract(pipeline.blend(sight, subject.training_beta))
    yield condition(
        "G10 R_pred and R_blend",
        pred.holds and blended.holds,
        f"R_pred: {_describe(pred)}. R_blend: {_describe(blended)}",
        CONTRACT,
        "covariance.predicted, covariance.blend",
    )


def check_ceiling(pipeline: Pipeline, probe: Batch) -> Check:
    """G12: on the true covariance, with the number of sources known, the estimator is almost exact."""
    scores = summary(judge(ceiling(probe, pipeline.method), probe, pipeline.view))
    return condition(
        "G12 ceiling",
        all(scores[name] < limit for name, limit in CEILING.items()),
        ", ".join(f"{name} {scores[name]:.2g}" for name in CEILING),
        ", ".join(f"{name} < {limit:g}" for name, limit in CEILING.items()),
        "estimator.py, geometry.py",
    )


def check_ceiling_limits(subject: Subject) -> Check:
    """G13 for the estimator on the true covariance, on scenes of 10 dB and more."""
    pipeline, scenario = subject.pipeline, subject.scenario
    clear_scenario = replace(scenario, snr_lo=10.0, snr_hi=max(10.0, scenario.snr_hi))
    clear = generate(clear_scenario, probes.SCENES, generator("ris", "clear probe"))
    return check_limits(summary(judge(ceiling(clear, pipeline.method), clear, pipeline.view)), "ceiling")


def check_countable(pipeline: Pipeline, scenario: Scenario) -> Check:
    """G14: MDL and AIC can count all sources of the scenario: they count fewer than there are eigenvalues."""
    eigenvalues = min(pipeline.surface.entries, scenario.snapshots)
    most = max(1, min(scenario.k_max, eigenvalues - 1))
    return Check(
        "G14 counting by eigenvalues",
        "go" if most == scenario.k_max else "caution",
        f"at most {most} of {scenario.k_max} sources, from {eigenvalues} eigenvalues",
        f"{scenario.k_max}, from {scenario.k_max + 1} eigenvalues",
        "snapshots, antennas and codes; elsewhere k_conf_thresh = 0 leaves the count to the network",
    )


def check_floors(pipeline: Pipeline, probe: Batch) -> Check:
    """G18: every loss term reaches its floor where the network is right, and the zero matrix has an error of 1."""
    values = probes.oracle_terms(pipeline, probe) | {"zero matrix": probes.error_of_zero(pipeline, probe)}
    floors = dict.fromkeys(values, 0.0) | {"count": probes.label_entropy(pipeline.k_max), "zero matrix": 1.0}
    gaps = {name: value - floors[name] for name, value in values.items()}
    missed = [f"{name} off by {gap:.2g}" for name, gap in gaps.items() if abs(gap) > 1e-3]
    return condition("G18 floors", not missed, ", ".join(missed) or "all at their floors", "within 0.001", "loss.py")


def _describe(measured: Contract) -> str:
    return (
        f"trace {measured.trace:.0e}, Hermitian {measured.hermitian:.0e}, lowest {measured.lowest:.0e}, ||R|| "
        f"{measured.shortest:.2f} sqrt(N') to {measured.longest:.2f} N', median {measured.typical:.2f} N'"
    )
