"""The errors of the classical chain in the ideal scenario, beside the bound: `python -m objectives.ris.physics`.

Medians over scenes of the absolute errors of azimuth (deg), elevation (deg) and range (m), with a known number of
sources. MDL and AIC are not told the number. The bound's median is 0.6745 of its standard deviation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from hpo import generator
from objectives.ris.bound import deviations
from objectives.ris.covariance import eigenpairs, sample, truth
from objectives.ris.data import Batch, generate
from objectives.ris.estimator import Method, Order, estimate, order
from objectives.ris.metrics import judge
from objectives.ris.sensing import sensing
from objectives.ris.task import RIS

MEDIAN = 0.6745  # of |x| for a standard normal x
SNRS_DB = (-10.0, -5.0, 0.0, 10.0, 20.0)


def ideal(task: RIS) -> RIS:
    """The task without gain errors and coherent sources."""
    return replace(task, sigma_psi=0.0, sigma_gain_db=0.0, p_coh=0.0)


def scene_batch(task: RIS, snr_db: float, n: int) -> Batch:
    """n scenes at one SNR, the same at every call."""
    return generate(task.scenario, n, generator("ris", "physics", f"{snr_db:g}"), snr_db=snr_db)


def medians(task: RIS, batch: Batch, method: Method, *, true_covariance: bool = False) -> Tensor:
    """Median errors of phi (deg), theta (deg), r (m) over matched pairs, [3], for a known number of sources."""
    sense = sensing(task.surface, torch.device("cpu"), torch.float64)
    samp = sample(batch.z.to(torch.complex128))
    exact = batch._replace(q=batch.q.double(), power=batch.power.double())
    cov = truth(exact, sense) if true_covariance else samp
    estimates = estimate(cov, cov, batch.source_count, method, task.k_max)
    error = judge(estimates, batch, task.view).error.flatten(0, 1)
    return error[~error.isnan().any(-1)].quantile(0.5, dim=0)


def bound_medians(task: RIS, batch: Batch) -> Tensor:
    """The medians that belong to the bound, [3]."""
    sense = sensing(task.surface, torch.device("cpu"), torch.float64)
    bound = deviations(batch, sense).flatten(0, 1)
    return MEDIAN * bound[~bound.isnan().any(-1)].quantile(0.5, dim=0)


def order_accuracy(task: RIS, batch: Batch, rule: Order) -> float:
    """Share of the scenes whose number of sources is right."""
    value_Bn, _ = eigenpairs(batch.z.to(torch.complex128))
    count_B = order(value_Bn, batch.z.shape[1], batch.z.shape[2], task.k_max, rule)
    return float((count_B == batch.source_count).double().mean())


def table(task: RIS, n: int, snrs_db: Iterable[float]) -> Iterable[str]:
    """Markdown rows: SNR, MUSIC, MUSIC + 2 ML iterations, the bound, accuracy of MDL and AIC."""
    yield "| SNR (dB) | MUSIC: phi, theta (deg), r (m) | + NF-MLE (2) | bound | MDL / AIC |"
    yield "|---|---|---|---|---|"
    music, polished = replace(task.method, nf_mle_iters=0), replace(task.method, nf_mle_iters=2)
    for snr_db in snrs_db:
        batch = scene_batch(task, snr_db, n)
        cells = [medians(task, batch, music), medians(task, batch, polished), bound_medians(task, batch)]
        mdl, aic = order_accuracy(task, batch, "mdl"), order_accuracy(task, batch, "aic")
        yield f"| {snr_db:g} | {' | '.join(map(_shown, cells))} | {mdl:.2f} / {aic:.2f} |"


def compressed(task: RIS, n: int) -> Iterable[str]:
    """Rows for fewer measurements than elements: median phi (deg) at 10 dB, and on the true covariance."""
    yield "| PM of N = 64 | MUSIC | + NF-MLE (2) | on R_true |"
    yield "|---|---|---|---|"
    for codes in (1, 2, 3):
        few = replace(task, codes=codes)
        batch = scene_batch(few, 10.0, n)
        music, polished = replace(few.method, nf_mle_iters=0), replace(few.method, nf_mle_iters=2)
        errors = [
            medians(few, batch, music),
            medians(few, batch, polished),
            medians(few, batch, music, true_covariance=True),
        ]
        yield f"| {codes * few.antennas} | " + " | ".join(f"{float(error[0]):.3f}" for error in errors) + " |"


def _shown(error: Tensor) -> str:
    phi, theta, r = error.tolist()
    return f"{phi:.3f} {theta:.3f} {r:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="The errors of the classical chain in the ideal scenario, beside the bound."
    )
    parser.add_argument("--scenes", type=int, default=256, help="scenes per row (default: 256)")
    parser.add_argument("--compressed", action="store_true", help="show fewer measurements than elements instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = ideal(RIS())
    rows = compressed(task, options.scenes) if options.compressed else table(task, options.scenes, SNRS_DB)
    for row in rows:
        print(row, flush=True)


if __name__ == "__main__":
    main()
