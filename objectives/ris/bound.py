"""The Cramer-Rao bound of the ideal scenario, which has neither gain errors nor coherent sources.

Shapes: B scenes, K sources, R = N' entries.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objectives.ris.data import Batch
from objectives.ris.sensing import Sensing


def deviations(batch: Batch, sense: Sensing) -> Tensor:
    """Least standard deviation of an unbiased estimate of phi (deg), theta (deg) and r (m), [B, K, 3].

    NaN where there is no source. For real (u, v, rho) of every source, with the powers unknown,
    F = (2 L / sigma^2) Re[(D^H P_perp D) o (S^T (x) 1_3x3)] and S = P A^H R^-1 A P.

    Source: Stoica, Larsson & Gershman 2001, The stochastic CRB for array processing: a textbook derivation.
    """
    q, mask, power = batch.q.double(), batch.mask > 0, batch.power.double()
    a = (sense.steer(q) * mask[..., None]).mT  # [B, R, K]
    slope = (sense.slopes(q) * mask[..., None, None]).mT.flatten(1, 2)  # [B, 3K, R]
    noise = batch.noise.double()
    bends = slope.conj() @ _complement(a, mask) @ slope.mT
    spread = _signal(a, power, noise).mT.repeat_interleave(3, 1).repeat_interleave(3, 2)
    fisher = (2 * batch.z.shape[-1] / noise)[:, None, None] * (bends * spread).real
    missing = (~mask).repeat_interleave(3, 1)
    covariance = torch.linalg.inv(fisher + torch.diag_embed(missing.double()))
    blocks = torch.stack([covariance[:, 3 * k : 3 * k + 3, 3 * k : 3 * k + 3] for k in range(q.shape[1])], 1)
    turn = _to_polar_slopes(q)
    variance = (turn @ blocks @ turn.mT).diagonal(dim1=-2, dim2=-1)
    scale = q.new_tensor([180 / math.pi, 180 / math.pi, 1.0])
    return torch.where(mask[..., None], variance.clamp_min(0).sqrt() * scale, torch.nan)


def _complement(a_BRK: Tensor, mask_BK: Tensor) -> Tensor:
    """The projector away from the sources, [B, R, R]."""
    gram = a_BRK.mH @ a_BRK + torch.diag_embed((~mask_BK).to(a_BRK.dtype))
    eye = torch.eye(a_BRK.shape[-2], device=a_BRK.device, dtype=a_BRK.dtype)
    return eye - a_BRK @ torch.linalg.solve(gram, a_BRK.mH)


def _signal(a_BRK: Tensor, power_BK: Tensor, noise_B: Tensor) -> Tensor:
    """S = P A^H R^-1 A P with R = A P A^H + sigma^2 I, [B, K, K]."""
    loaded = a_BRK * power_BK[:, None]
    eye = torch.eye(a_BRK.shape[-2], device=a_BRK.device, dtype=a_BRK.dtype)
    cov = loaded @ a_BRK.mH + noise_B[:, None, None] * eye
    return loaded.mH @ torch.linalg.solve(cov, loaded)


def _to_polar_slopes(q: Tensor) -> Tensor:
    """d (phi, theta, r) / d (u, v, rho), [..., 3, 3]."""
    u, v, rho = q.unbind(-1)
    rho = torch.where(rho > 0, rho, torch.ones_like(rho))
    cos_theta = (1 - v**2).sqrt()
    across = (1 - u**2 - v**2).clamp_min(1e-12).sqrt()  # cos(theta) cos(phi)
    zero = torch.zeros_like(u)
    rows = (
        torch.stack((1 / across, u * v / (1 - v**2) / across, zero), -1),
        torch.stack((zero, 1 / cos_theta, zero), -1),
        torch.stack((zero, zero, -1 / rho**2), -1),
    )
    return torch.stack(rows, -2)
