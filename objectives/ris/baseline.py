"""Classical methods on the samples' covariance, and the references that no method may claim to be.

Shapes: B scenes, K = k_max sources, R = N' entries, C columns of a factor.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from scipy import stats
from torch import Tensor

from hpo.task import REFERENCE
from objectives.ris.covariance import eigenpairs, sample, truth
from objectives.ris.data import Batch
from objectives.ris.estimator import (
    Estimates,
    Method,
    estimate,
    locate,
    maximum_likelihood,
    newton,
    order,
    range_scan,
    signal_basis,
)
from objectives.ris.sensing import power, sensing

MVDR_LOADING = 1.0  # of a covariance of trace N'
FALSE_ALARM = 0.01  # per scene, of the greedy method
POLISH = {"newton_iters": 3, "nf_mle_iters": 2}


class Classical:
    """One batch, and what the classical methods share of it."""

    def __init__(self, batch: Batch, method: Method) -> None:
        self.batch, self.method, self.k_max = batch, replace(method, **POLISH), batch.q.shape[1]
        self.z = batch.z.to(torch.complex128)
        self.samp = sample(self.z)
        self.value_Bn, self.vector_BRn = eigenpairs(self.z)

    def counted(self, rule: str) -> Tensor:
        """[B]: by "mdl" or "aic"; "known" is the truth."""
        if rule == "known":
            return self.batch.count
        return order(self.value_Bn, self.z.shape[1], self.z.shape[2], self.k_max, rule)

    def bartlett(self, rule: str) -> Estimates:
        """Peaks of b^H R b."""
        factor = self.vector_BRn * self.value_Bn.clamp_min(0).sqrt()[:, None]
        return locate(factor, self.counted(rule), self.method, self.k_max)

    def mvdr(self, rule: str) -> Estimates:
        """Peaks of 1 / (b^H (R + I)^-1 b): with unit-norm b, those of sum_i lambda_i / (lambda_i + 1) |b^H e_i|^2."""
        weight = self.value_Bn.clamp_min(0) / (self.value_Bn.clamp_min(0) + MVDR_LOADING)
        return locate(self.vector_BRn * weight.sqrt()[:, None], self.counted(rule), self.method, self.k_max)

    def music(self, rule: str) -> dict[str, Estimates]:
        """MUSIC on the grid, with Newton, and with near-field ML after that."""
        basis = signal_basis(self.samp, self.counted(rule), self.k_max)
        grid = locate(basis, self.counted(rule), self.method, self.k_max)
        fine = grid._replace(q=newton(grid.q, basis, self.method))
        polished = fine._replace(q=maximum_likelihood(fine.q, fine.mask, self.samp, self.method))
        return {"grid": grid, "fine": fine, "polished": polished}

    @cached_property
    def greedy(self) -> Estimates:
        """Matching pursuit: the highest peak of the residual, all sources polished together by ML after each, until
        a peak is no higher than noise makes one in FALSE_ALARM of the scenes.

        Under noise alone L * peak / sigma^2 is Gamma(L, 1) in each of about N' independent cells.
        """
        snapshots, entries = self.z.shape[2], self.z.shape[1]
        limit = float(stats.gamma.ppf(1 - FALSE_ALARM / entries, snapshots))
        scenes = len(self.z)
        q = torch.zeros(scenes, self.k_max, 3, dtype=torch.float64, device=self.z.device)
        mask = torch.zeros(scenes, self.k_max, dtype=torch.bool, device=self.z.device)
        going = torch.ones(scenes, dtype=torch.bool, device=self.z.device)
        for k in range(self.k_max):
            candidate, height = self._peak(self._residual(q, mask))
            q, mask = q.clone(), mask.clone()
            q[:, k], mask[:, k] = candidate, going
            noise = self._left_over(q, mask) / (entries - k - 1)
            going = going & ((snapshots * height / noise.clamp_min(1e-20) > limit) | (k == 0))
            mask[:, k] = going
            q = maximum_likelihood(q, mask, self.samp, self.method)
        return Estimates(q, mask, torch.zeros_like(mask))

    def _peak(self, factor: Tensor) -> tuple[Tensor, Tensor]:
        """(q [B, 3], height [B]) of the highest peak of ||F^H b||^2."""
        one = torch.ones(len(factor), dtype=torch.long, device=factor.device)
        q = range_scan(locate(factor, one, self.method, 1).q, factor, self.method)
        b_BR = self._sense.unit(q)[:, 0]
        return q[:, 0], power((b_BR.conj()[:, None] @ factor)[:, 0]).sum(-1)

    def _away(self, q: Tensor, mask: Tensor) -> Tensor:
        a = (self._sense.unit(q) * mask[..., None]).mT
        gram = a.mH @ a + torch.diag_embed((~mask).to(a.dtype)) + 1e-9 * torch.eye(self.k_max, device=a.device)
        return torch.eye(a.shape[1], device=a.device) - a @ torch.linalg.solve(gram, a.mH)

    def _residual(self, q: Tensor, mask: Tensor) -> Tensor:
        return self._away(q, mask) @ (self.vector_BRn * self.value_Bn.clamp_min(0).sqrt()[:, None])

    def _left_over(self, q: Tensor, mask: Tensor) -> Tensor:
        return (self._away(q, mask) * self.samp.mT).sum((-2, -1)).real

    @cached_property
    def _sense(self):
        return sensing(self.method.surface, self.z.device, torch.float64)


def competitors(batch: Batch, method: Method) -> dict[str, Estimates]:
    """Methods that know no more than the network: name -> estimates."""
    seen = Classical(batch, method)
    found = {"Bartlett, AIC": seen.bartlett("aic"), "MVDR, AIC": seen.mvdr("aic")}
    for rule in ("mdl", "aic"):
        music = seen.music(rule)
        found |= {
            f"MUSIC on the grid, {rule.upper()}": music["grid"],
            f"MUSIC, {rule.upper()}": music["fine"],
            f"MUSIC + ML, {rule.upper()}": music["polished"],
        }
    return found | {"greedy ML": seen.greedy}


def references(batch: Batch, method: Method) -> dict[str, Estimates]:
    """What knows more than any method may: the number of sources, or the covariance itself."""
    music = Classical(batch, method).music("known")
    found = {
        "MUSIC, K known": music["fine"],
        "MUSIC + ML, K known": music["polished"],
        "R_true, K known": ceiling(batch, method),
    }
    return {name + REFERENCE: estimates for name, estimates in found.items()}


def ceiling(batch: Batch, method: Method) -> Estimates:
    """The estimator on the true covariance with the true number of sources."""
    sense = sensing(method.surface, batch.z.device, torch.float64)
    true = truth(batch._replace(q=batch.q.double(), power=batch.power.double()), sense)
    return estimate(true, true, batch.count, method, batch.q.shape[1])
