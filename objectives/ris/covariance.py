"""Covariances of the samples, of the truth and of the network; blending, loading, and the contract of them all.

Shapes: B scenes, K sources, R = N' entries, L snapshots, F factors. Every covariance is scaled to trace N' by one
function, so its Frobenius norm lies in [sqrt(N'), N'].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from objectives.ris.data import Batch
from objectives.ris.sensing import Sensing


class Contract(NamedTuple):
    """How far a stack of covariances is from what each must be. Worst cases over the stack, and a median."""

    trace: float  # |tr / N' - 1|
    hermitian: float  # max |R - R^H|
    lowest: float  # smallest eigenvalue
    shortest: float  # smallest ||R||_F / sqrt(N'): at least 1
    longest: float  # largest ||R||_F / N': at most 1
    typical: float  # median ||R||_F / N'
    finite: bool

    @property
    def holds(self) -> bool:
        tight = self.trace < 1e-4 and self.hermitian < 1e-5 and self.lowest > -1e-4
        return self.finite and tight and self.shortest > 1 - 1e-3 and self.longest < 1 + 1e-3


def tracenorm(cov: Tensor) -> Tensor:
    """The Hermitian part, scaled to trace N'. An all-zero matrix stays all zero."""
    cov = (cov + cov.mH) / 2
    trace = cov.diagonal(dim1=-2, dim2=-1).real.sum(-1)
    return cov * (cov.shape[-1] / trace.clamp_min(1e-20))[..., None, None]


def sample(z_BRL: Tensor) -> Tensor:
    """R_samp, [B, R, R], from the snapshots. Their mean is not removed."""
    return tracenorm(z_BRL @ z_BRL.mH / z_BRL.shape[-1])


def truth(batch: Batch, sense: Sensing) -> Tensor:
    """R_true = sum_k p_k b_k b_k^H of the nominal manifold: no noise, no coherence, no gain errors."""
    b_BKR = sense.steer(batch.q)
    return tracenorm((b_BKR * batch.power[..., None]).mT @ b_BKR.conj())


def predicted(weight_BF: Tensor, unit_BFR: Tensor) -> Tensor:
    """R_pred = N' sum_f w_f b_f b_f^H + (1 - sum_f w_f) I for unit-norm b_f.

    It is Hermitian, positive semidefinite and of trace N' by construction.
    """
    entries = unit_BFR.shape[-1]
    factor_BRF = unit_BFR.mT * (entries * weight_BF).clamp_min(1e-20).sqrt()[:, None]
    rest_B = 1 - weight_BF.sum(-1)
    eye = torch.eye(entries, device=unit_BFR.device, dtype=unit_BFR.dtype)
    return factor_BRF @ factor_BRF.mH + rest_B[:, None, None] * eye


def blend(pred: Tensor, samp: Tensor, beta: float) -> Tensor:
    """(1 - beta) R_pred + beta R_samp, scaled to trace N'. No gradient passes to the samples.

    The assertions are permanent: without them, a mismatch between R_pred and R_samp shows only as a score that does not
    improve. Raises FloatingPointError where the result is not finite.
    """
    assert pred.dim() == 3, f"R_pred must be [B, N', N']; got {tuple(pred.shape)}"
    assert pred.shape[-1] == pred.shape[-2], f"R_pred must be square; got {tuple(pred.shape)}"
    assert pred.shape == samp.shape, f"R_pred {tuple(pred.shape)} and R_samp {tuple(samp.shape)} must agree in shape"
    assert pred.is_complex(), f"R_pred must be complex; got {pred.dtype}"
    assert samp.is_complex(), f"R_samp must be complex; got {samp.dtype}"
    assert pred.device == samp.device, f"covariances must share a device; got {pred.device}, {samp.device}"
    assert 0 <= beta <= 1, f"beta must lie in [0, 1]; got {beta}"
    blended = tracenorm((1 - beta) * pred + beta * samp.detach())
    if not torch.isfinite(torch.view_as_real(blended)).all():
        raise FloatingPointError("the blended covariance must be finite; R_pred or R_samp is not")
    return blended


def effective(cov: Tensor, shrink_alpha: float, cov_eps: float) -> Tensor:
    """((1 - alpha) R + (alpha + eps) I) / (1 + eps): a loaded covariance, of trace N' where R has trace N'."""
    eye = torch.eye(cov.shape[-1], device=cov.device, dtype=cov.dtype)
    return cov * ((1 - shrink_alpha) / (1 + cov_eps)) + eye * ((shrink_alpha + cov_eps) / (1 + cov_eps))


def contract(cov: Tensor) -> Contract:
    """Measure a stack of covariances against what each of them must be."""
    entries = cov.shape[-1]
    trace = cov.diagonal(dim1=-2, dim2=-1).real.sum(-1)
    length = torch.linalg.matrix_norm(cov)
    finite = bool(torch.isfinite(torch.view_as_real(cov)).all())
    lowest = float(torch.linalg.eigvalsh(cov.to(torch.complex128)).min()) if finite else float("nan")
    return Contract(
        trace=float((trace / entries - 1).abs().max()),
        hermitian=float((cov - cov.mH).abs().max()),
        lowest=lowest,
        shortest=float(length.min()) / entries**0.5,
        longest=float(length.max()) / entries,
        typical=float(length.median()) / entries,
        finite=finite,
    )


def eigenpairs(z_BRL: Tensor) -> tuple[Tensor, Tensor]:
    """The n = min(L, N') largest eigenpairs of R_samp, largest first: ([B, n], [B, R, n]), without gradient.

    For L < N' they come from the L x L Gram matrix of the snapshots: e_i = Z v_i / sqrt(mu_i).
    """
    z_BRL = z_BRL.detach()
    scale = z_BRL.abs().square().sum((-2, -1)).clamp_min(1e-20) / z_BRL.shape[-2]
    if z_BRL.shape[-1] >= z_BRL.shape[-2]:
        value, vector = torch.linalg.eigh(z_BRL @ z_BRL.mH)
        return (value / scale[:, None]).flip(-1), vector.flip(-1)
    value, vector = torch.linalg.eigh(z_BRL.mH @ z_BRL)
    value = value.clamp_min(0)
    vector_BRn = z_BRL @ vector / value.clamp_min(1e-12).sqrt()[:, None]
    return (value / scale[:, None]).flip(-1), vector_BRn.flip(-1)
