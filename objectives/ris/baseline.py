"""Classical methods on the samples' covariance, and the references, which know more than a method may.

Shapes: B scenes, K = k_max sources, R = N' entries, C columns of a factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import torch
from scipy import stats
from torch import Tensor

from hpo import REFERENCE
from objectives.ris.covariance import eigenpairs, sample, truth
from objectives.ris.data import Batch
from objectives.ris.estimator import (
    Estimates,
    Method,
    Order,
    estimate,
    locate,
    maximum_likelihood,
    newton,
    order,
    range_scan,
    signal_basis,
)
from objectives.ris.sensing import Sensing, power, sensing

MVDR_LOADING = 1.0  # of a covariance of trace N'
FALSE_ALARM = 0.01  # per scene, of the greedy method
Rule = Order | Literal["known"]


class Music(NamedTuple):
    """MUSIC's estimates after each of its steps."""

    grid: Estimates  # the peaks of the scan
    fine: Estimates  # after Newton
    polished: Estimates  # after near-field ML


class Classical:
    """The classical methods on one batch. They always polish alike, whatever a trial drew."""

    def __init__(self, batch: Batch, method: Method) -> None:
        self.batch = batch
        self.method = replace(method, newton_iters=3, nf_mle_iters=2)
        self.k_max = batch.q.shape[1]
        self.z = batch.z.to(torch.complex128)
        self.samp = sample(self.z)
        self.value_Bn, self.vector_BRn = eigenpairs(self.z)

    def count(self, rule: Rule) -> Tensor:
        """The number of sources, [B], by MDL or AIC; "known" is the truth."""
        if rule == "known":
            return self.batch.source_count
        return order(self.value_Bn, self.z.shape[1], self.z.shape[2], self.k_max, rule)

    def bartlett(self, rule: Rule) -> Estimates:
        """Peaks of b^H R b."""
        return locate(self._root, self.count(rule), self.method, self.k_max)

    def mvdr(self, rule: Rule) -> Estimates:
        """Peaks of 1 / (b^H (R + I)^-1 b).

        For unit-norm b they are the peaks of sum_i lambda_i / (lambda_i + 1) |b^H e_i|^2.
        """
        value_Bn = self.value_Bn.clamp_min(0)
        weight = value_Bn / (value_Bn + MVDR_LOADING)
        return locate(self.vector_BRn * weight.sqrt()[:, None], self.count(rule), self.method, self.k_max)

    def music(self, rule: Rule) -> Music:
        """MUSIC on the grid, then Newton, then near-field ML."""
        count_B = self.count(rule)
        basis = signal_basis(self.samp, count_B, self.k_max)
        grid = locate(basis, count_B, self.method, self.k_max)
        fine = grid._replace(q=newton(grid.q, basis, self.method))
        polished = fine._replace(q=maximum_likelihood(fine.q, fine.mask, self.samp, self.method))
        return Music(grid, fine, polished)

    @cached_property
    def greedy(self) -> Estimates:
        """Matching pursuit: add the highest peak of the residual, polish all sources together by ML, and repeat.

        A scene is complete when a peak is no higher than noise alone makes it in FALSE_ALARM of the scenes. Under noise
        alone L * peak / sigma^2 is Gamma(L, 1) in each of about N' independent cells.
        """
        scenes, entries, snapshots = self.z.shape
        limit = float(stats.gamma.ppf(1 - FALSE_ALARM / entries, snapshots))
        q = torch.zeros(scenes, self.k_max, 3, dtype=torch.float64, device=self.z.device)
        mask = torch.zeros(scenes, self.k_max, dtype=torch.bool, device=self.z.device)
        incomplete = torch.ones(scenes, dtype=torch.bool, device=self.z.device)
        for k in range(self.k_max):
            candidate, height = self._peak(self._residual(q, mask))
            q, mask = q.clone(), mask.clone()
            q[:, k], mask[:, k] = candidate, incomplete
            noise = self._unexplained(q, mask) / (entries - k - 1)
            significant = snapshots * height / noise.clamp_min(1e-20) > limit
            incomplete = incomplete & (significant | (k == 0))
            mask[:, k] = incomplete
            q = maximum_likelihood(q, mask, self.samp, self.method)
        return Estimates(q, mask, torch.zeros_like(mask))

    def _peak(self, factor: Tensor) -> tuple[Tensor, Tensor]:
        """(q [B, 3], height [B]) of the highest peak of ||F^H b||^2."""
        count_B = torch.ones(len(factor), dtype=torch.long, device=factor.device)
        q = range_scan(locate(factor, count_B, self.method, 1).q, factor, self.method)
        b_BR = self._sense.unit(q)[:, 0]
        return q[:, 0], power((b_BR.conj()[:, None] @ factor)[:, 0]).sum(-1)

    def _complement(self, q: Tensor, mask: Tensor) -> Tensor:
        """The projector away from the sources, [B, R, R]."""
        a = (self._sense.unit(q) * mask[..., None]).mT
        gram = a.mH @ a + torch.diag_embed((~mask).to(a.dtype)) + 1e-9 * torch.eye(self.k_max, device=a.device)
        return torch.eye(a.shape[1], device=a.device) - a @ torch.linalg.solve(gram, a.mH)

    def _residual(self, q: Tensor, mask: Tensor) -> Tensor:
        """The factor of the samples' covariance without the sources."""
        return self._complement(q, mask) @ self._root

    def _unexplained(self, q: Tensor, mask: Tensor) -> Tensor:
        """The power of the samples that the sources leave over, [B]."""
        return (self._complement(q, mask) * self.samp.mT).sum((-2, -1)).real

    @cached_property
    def _root(self) -> Tensor:
        """F with F F^H = R_samp, [B, R, n]."""
        return self.vector_BRn * self.value_Bn.clamp_min(0).sqrt()[:, None]

    @cached_property
    def _sense(self) -> Sensing:
        return sensing(self.method.surface, self.z.device, torch.float64)


def solvers(method: Method) -> dict[str, Callable[[Batch], Estimates]]:
    """Every method by name; the references are told the number of sources, or the true covariance as well.

    What several of them need of one batch is computed once.
    """
    classical = lru_cache(maxsize=1)(lambda batch: Classical(batch, method))
    music = lru_cache(maxsize=3)(lambda batch, rule: classical(batch).music(rule))  # one batch, by every rule
    return {
        "Bartlett, AIC": lambda batch: classical(batch).bartlett("aic"),
        "MVDR, AIC": lambda batch: classical(batch).mvdr("aic"),
        "MUSIC on the grid, MDL": lambda batch: music(batch, "mdl").grid,
        "MUSIC, MDL": lambda batch: music(batch, "mdl").fine,
        "MUSIC + ML, MDL": lambda batch: music(batch, "mdl").polished,
        "MUSIC on the grid, AIC": lambda batch: music(batch, "aic").grid,
        "MUSIC, AIC": lambda batch: music(batch, "aic").fine,
        "MUSIC + ML, AIC": lambda batch: music(batch, "aic").polished,
        "greedy ML": lambda batch: classical(batch).greedy,
        "MUSIC, K known" + REFERENCE: lambda batch: music(batch, "known").fine,
        "MUSIC + ML, K known" + REFERENCE: lambda batch: music(batch, "known").polished,
        "R_true, K known" + REFERENCE: lambda batch: ceiling(batch, method),
    }


def ceiling(batch: Batch, method: Method) -> Estimates:
    """The estimator on the true covariance with the true number of sources."""
    sense = sensing(method.surface, batch.z.device, torch.float64)
    true = truth(batch._replace(q=batch.q.double(), power=batch.power.double()), sense)
    return estimate(true, true, batch.source_count, method, batch.q.shape[1])
