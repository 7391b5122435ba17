"""The loss terms, and how their weights change in a run.

Every term is at least 0 and reaches a known floor where the network is right. No term differentiates through an
eigendecomposition, whose gradient has poles at equal eigenvalues. The scores, with units, are in metrics.py.
Shapes: B scenes, G cells, K sources, R = N' entries.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hpo import Moment, phase, stage
from objectives.ris.data import Batch
from objectives.ris.features import Grid, nearest
from objectives.ris.geometry import in_front
from objectives.ris.model import Cells
from objectives.ris.sensing import Sensing, Surface, power

BLOB = 0.75  # standard deviation of a source's target, in cells
SMOOTHING = 0.05  # of the labels of the source count
STENCIL = 0.6 * 2  # half-width of the peak stencil, in units of 1/n_h and 1/n_v
STRUCTURE = {
    "warmup": {"sub": 0.02, "peak": 0.05},
    "main": {"sub": 0.05, "peak": 0.10},
    "final": {"sub": 0.07, "peak": 0.12},
}
CURRICULUM = (
    {"cov": 0.5, "ang": 1.0, "rng": 0.3, "count": 0.3},
    {"cov": 1.0, "ang": 1.0, "rng": 1.0, "count": 0.6},
    {"cov": 1.0, "ang": 1.0, "rng": 1.0, "count": 1.0},
)


def structure(at: Moment, *, phased: bool) -> dict[str, float]:
    """Weights of the two structure terms in each phase of a run; not phased: those of the main phase throughout."""
    return STRUCTURE[phase(at) if phased else "main"]


def curriculum(at: Moment, *, on: bool) -> dict[str, float]:
    """Factors of the other terms in each third of a run; off: those of the last third throughout."""
    return CURRICULUM[stage(at, (1 / 3, 1 / 3, 1 / 3))] if on else CURRICULUM[-1]


def covariance_error(cov: Tensor, true: Tensor) -> Tensor:
    """||R - R_true||_F^2 / ||R_true||_F^2, [B]: 0 for R_true, 1 for the zero matrix."""
    return power(cov - true).sum((-2, -1)) / power(true).sum((-2, -1))


def heat_target(batch: Batch, grid: Grid, points_G3: Tensor) -> Tensor:
    """Power shares of the sources, each spread around its place by a Gaussian, [B, G]; sums to 1."""
    axes = points_G3.reshape(grid.planes, grid.nv, grid.nu, 3)
    centres = (axes[0, 0, :, 0], axes[0, :, 0, 1], axes[:, 0, 0, 2])
    blobs = []
    for axis, centre in enumerate(centres):
        away = (batch.q[..., axis, None] - centre) / (BLOB * grid.cell[axis])
        blobs.append(torch.softmax(-(away**2) / 2, -1))
    target = torch.einsum("bk,bkp,bkv,bku->bpvu", batch.power, blobs[2], blobs[1], blobs[0])
    return target.flatten(1)


def heat(logits_BG: Tensor, target_BG: Tensor) -> Tensor:
    """KL(target || softmax(logits))."""
    entropy = torch.special.xlogy(target_BG, target_BG).sum(-1)
    return (entropy - (target_BG * logits_BG.log_softmax(-1)).sum(-1)).mean()


def position(q_BG3: Tensor, batch: Batch, grid: Grid) -> tuple[Tensor, Tensor]:
    """Errors of direction and range at the cell of each true source, means over sources.

    The error of direction is the Huber loss of (u, v) in cells, that of range the Huber loss of log r.
    """
    cell_BK = nearest(grid, batch.q)
    at_BK3 = q_BG3.gather(1, cell_BK[..., None].expand(-1, -1, 3))
    size = at_BK3.new_tensor(grid.cell[:2])
    away = (at_BK3 - batch.q)[..., :2] / size
    direction = F.huber_loss(away, torch.zeros_like(away), reduction="none", delta=1.0).sum(-1)
    present = batch.mask > 0
    ratio = torch.where(present, at_BK3[..., 2] / batch.q[..., 2].clamp_min(1e-9), 1.0).log()
    distance = F.huber_loss(ratio, torch.zeros_like(ratio), reduction="none", delta=0.2)
    return _over_sources(direction, batch.mask), _over_sources(distance, batch.mask)


def count(logits_BK: Tensor, count_B: Tensor) -> Tensor:
    """Cross-entropy of the number of sources, with smoothed labels."""
    return F.cross_entropy(logits_BK, count_B - 1, label_smoothing=SMOOTHING)


def outside(cov: Tensor, batch: Batch, sense: Sensing) -> Tensor:
    """Share of ||R||_F^2 outside the true signal subspace, mean over scenes: 0 where the sources span R's range."""
    away = _complement(sense.unit(batch.q), batch.mask)
    kept = away @ cov @ away
    return (power(kept).sum((-2, -1)) / power(cov).sum((-2, -1)).clamp_min(1e-20)).mean()


def contrast(cov: Tensor, batch: Batch, sense: Sensing, surface: Surface) -> Tensor:
    """Cross-entropy of the MVDR spectrum at each true source against its eight neighbours in (u, v).

    It is small where the spectrum has a peak at the source.
    """
    step = batch.q.new_tensor([STENCIL / surface.n_h, STENCIL / surface.n_v, 0.0])
    shift = torch.tensor([0.0, -1.0, 1.0])
    stencil_S2 = torch.cartesian_prod(shift, shift).to(step)  # the centre first
    around_BKS3 = batch.q[:, :, None] + F.pad(stencil_S2, (0, 1)) * step
    b_BKSR = sense.unit(in_front(around_BKS3))
    eye = torch.eye(cov.shape[-1], device=cov.device, dtype=cov.dtype)
    b_BRM = b_BKSR.flatten(1, 2).mT
    inverse = (b_BRM.conj() * torch.linalg.solve(cov + 0.1 * eye, b_BRM)).sum(1).real  # of the spectrum
    spectrum_BKS = -inverse.clamp_min(1e-12).log().unflatten(1, b_BKSR.shape[1:3])
    return _over_sources(-(spectrum_BKS / 0.5).log_softmax(-1)[..., 0], batch.mask)


def terms(
    cells: Cells,
    q_BG3: Tensor,
    pred: Tensor,
    blended: Tensor,
    true: Tensor,
    batch: Batch,
    *,
    grid: Grid,
    points_G3: Tensor,
    sense: Sensing,
    surface: Surface,
) -> dict[str, Tensor]:
    """All loss terms, without their weights."""
    direction, distance = position(q_BG3, batch, grid)
    return {
        "cov": covariance_error(blended, true).mean(),
        "cov_pred": covariance_error(pred, true).mean(),
        "heat": heat(cells.logits, heat_target(batch, grid, points_G3)),
        "ang": direction,
        "rng": distance,
        "count": count(cells.count_logits, batch.source_count),
        "sub": outside(blended, batch, sense),
        "peak": contrast(blended, batch, sense, surface),
    }


def _complement(b_BKR: Tensor, mask_BK: Tensor) -> Tensor:
    """I - A (A^H A)^-1 A^H over the present sources, [B, R, R]. It depends on labels only, so it has no gradient."""
    a_BRK = (b_BKR * mask_BK[..., None]).mT
    gram = a_BRK.mH @ a_BRK + torch.diag_embed((1 - mask_BK).to(a_BRK.dtype))
    eye = torch.eye(a_BRK.shape[-2], device=a_BRK.device, dtype=a_BRK.dtype)
    return eye - a_BRK @ torch.linalg.solve(gram, a_BRK.mH)


def _over_sources(value_BK: Tensor, mask_BK: Tensor) -> Tensor:
    return (value_BK * mask_BK).sum() / mask_BK.sum()
