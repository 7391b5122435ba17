"""Near-field localisation of K unknown sources through a reconfigurable intelligent surface (RIS).

A base station sees the sources only through a planar surface of N elements. The surface steps through the same P codes
in each of L snapshots. A scene, whitened and compressed, is z [N', L]. From z the task estimates K, and azimuth,
elevation and range of each source.

    z -> R_samp -> network -> R_pred -> R_blend = (1 - beta) R_pred + beta R_samp
      -> MUSIC over (u, v, 1/r) -> range scan -> Newton -> near-field ML -> {phi, theta, r}; K from the network

Goal: OSPA of the whole pipeline with a cutoff of 1 m (m, lower is better). Units: m and rad; deg where a name says so.
`size` is the number of elements on the longer side of the surface.

Sources: Gast, Le Magoarou & Shlezinger 2025 (arXiv 2504.00599) for surrogate covariances in the near field;
Begriche et al. 2013 (arXiv 1303.1725) for the exact near-field manifold; Schuhmacher et al. 2008 for OSPA.
"""

from hpo import Fidelity
from objectives.ris.task import RIS

SMOKE = Fidelity(
    size=6,
    train=192,
    val=64,
    test=64,
    epochs=3,
    fixed={
        "task.n_h": 6,
        "task.n_v": 6,
        "task.antennas": 8,
        "task.codes": 9,
        "task.k_max": 2,
        "task.r_min": 0.8,
        "task.r_max": 4.0,
        "task.snr_lo": -5.0,
        "task.sigma_psi": 0.2,
        "task.feat_u": 18,
        "task.feat_v": 10,
        "task.scan_u": 41,
        "task.scan_v": 25,
        "task.scan_planes": 3,
        "task.range_grid": 61,
        "task.width": 8,
        "task.blocks": 1,
        "task.factors": 16,
    },
)
CHEAP = Fidelity(size=8, train=1280, val=256, epochs=10)
_FULL = {
    "task.jitter": 0.05,
    "task.curriculum": True,
    "task.range_grid": 241,
    "task.nf_mle_iters": 3,
}
FULL = Fidelity(size=8, train=4096, val=512, test=1024, epochs=20, fixed=_FULL | {"recipe.ema": 0.99})
FULL_CPU_LONG = Fidelity(size=8, train=8192, val=1024, test=2048, epochs=40, fixed=_FULL | {"recipe.ema": 0.995})
_GPU = {
    "task.n_h": 12,
    "task.n_v": 12,
    "task.codes": 18,
    "task.snapshots": 16,
    "task.k_max": 5,
    "task.r_max": 10.0,
    "task.snr_lo": -5.0,
    "task.snr_hi": 20.0,
    "task.feat_u": 36,
    "task.feat_v": 21,
    "task.feat_planes": 4,
    "task.scan_u": 91,
    "task.scan_v": 53,
    "task.width": 64,
    "task.blocks": 4,
    "task.factors": 64,
}
CHEAP_GPU = Fidelity(size=12, train=8_000, val=1_600, epochs=28, fixed=_GPU)
FULL_GPU = Fidelity(
    size=12,
    train=80_000,
    val=16_000,
    test=8_000,
    epochs=160,
    fixed=_GPU | _FULL | {"recipe.ema": 0.999, "recipe.patience": 20},
)

__all__ = ["CHEAP", "CHEAP_GPU", "FULL", "FULL_CPU_LONG", "FULL_GPU", "RIS", "SMOKE"]
