"""Classical methods on the samples' covariance, and the references, which know more than a method may.

Shapes: B scenes, K = k_max sources, R = N' entries, C columns of a factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hpo import REFERENCE, Space, integer, log
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
    signal_basis,
)
from objectives.ris.pursuit import FALSE_ALARM, STEPS, Step, pursued, significant, with_count
from objectives.ris.sensing import sensing

MVDR_LOADING = 1.0  # of a covariance of trace N'
KNOWN = 32  # results of MUSIC that are kept, since tuning asks for them again
UNCALIBRATED = ", uncalibrated"  # ends the name of a method that takes every element's gain to be 1
SPACES: dict[str, Space] = {  # the settings of methods, beside the number of sources
    "MVDR, AIC": {"loading": log(0.05, 20.0)},
    "MUSIC + ML, MDL": {"steps": integer(0, 6)},
    "MUSIC + ML, AIC": {"steps": integer(0, 6)},
    "greedy ML": {"false_alarm": log(1e-4, 0.3), "steps": integer(0, 6)},
}
Rule = Order | Literal["known"]


class Music(NamedTuple):
    """MUSIC's estimates after each of its steps."""

    grid: Estimates  # the peaks of the scan
    fine: Estimates  # after Newton
    polished: Estimates  # after near-field ML


class Classical:
    """The classical methods on one batch, with so many steps of near-field ML, whatever a trial drew."""

    def __init__(self, batch: Batch, method: Method, steps: int = STEPS) -> None:
        self.batch = batch
        self.method = replace(method, newton_iters=3, nf_mle_iters=steps)
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

    def mvdr(self, rule: Rule, loading: float = MVDR_LOADING) -> Estimates:
        """Peaks of 1 / (b^H (R + c I)^-1 b) with the loading c.

        For unit-norm b they are the peaks of sum_i lambda_i / (lambda_i + c) |b^H e_i|^2.
        """
        value_Bn = self.value_Bn.clamp_min(0)
        weight = value_Bn / (value_Bn + loading)
        return locate(self.vector_BRn * weight.sqrt()[:, None], self.count(rule), self.method, self.k_max)

    def music(self, rule: Rule) -> Music:
        """MUSIC on the grid, then Newton, then near-field ML."""
        count_B = self.count(rule)
        basis = signal_basis(self.samp, count_B, self.k_max)
        grid = locate(basis, count_B, self.method, self.k_max)
        fine = grid._replace(q=newton(grid.q, basis, self.method))
        polished = fine._replace(q=maximum_likelihood(fine.q, fine.mask, self.samp, self.method))
        return Music(grid, fine, polished)

    def greedy(self, false_alarm: float = FALSE_ALARM) -> Estimates:
        """Matching pursuit by ML, with as many sources as stand out of the noise."""
        _, entries, snapshots = self.z.shape
        return with_count(self._steps, significant(self._steps, entries, snapshots, false_alarm))

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return pursued(self.batch.z, self.method, self.k_max, self.method.nf_mle_iters)

    @cached_property
    def _root(self) -> Tensor:
        """F with F F^H = R_samp, [B, R, n]."""
        return self.vector_BRn * self.value_Bn.clamp_min(0).sqrt()[:, None]


def solvers(method: Method) -> dict[str, Callable[..., Estimates]]:
    """Every method by name; the references are told the number of sources, or the true covariance as well.

    A method takes a batch, and where SPACES names it also its settings. What several methods need of one batch is
    computed once.
    """
    classical = lru_cache(maxsize=2)(lambda batch, steps: Classical(batch, method, steps))
    music = lru_cache(maxsize=KNOWN)(lambda batch, rule, steps: classical(batch, steps).music(rule))

    def mvdr(batch: Batch, loading: float = MVDR_LOADING) -> Estimates:
        return classical(batch, STEPS).mvdr("aic", loading)

    def polished(rule: Rule, batch: Batch, steps: int = STEPS) -> Estimates:
        return music(batch, rule, steps).polished

    def greedy(batch: Batch, false_alarm: float = FALSE_ALARM, steps: int = STEPS) -> Estimates:
        return classical(batch, steps).greedy(false_alarm)

    return {
        "Bartlett, AIC": lambda batch: classical(batch, STEPS).bartlett("aic"),
        "MVDR, AIC": mvdr,
        "MUSIC on the grid, MDL": lambda batch: music(batch, "mdl", STEPS).grid,
        "MUSIC, MDL": lambda batch: music(batch, "mdl", STEPS).fine,
        "MUSIC + ML, MDL": partial(polished, "mdl"),
        "MUSIC on the grid, AIC": lambda batch: music(batch, "aic", STEPS).grid,
        "MUSIC, AIC": lambda batch: music(batch, "aic", STEPS).fine,
        "MUSIC + ML, AIC": partial(polished, "aic"),
        "greedy ML": greedy,
        "MUSIC, K known" + REFERENCE: lambda batch: music(batch, "known", STEPS).fine,
        "MUSIC + ML, K known" + REFERENCE: lambda batch: music(batch, "known", STEPS).polished,
        "R_true, K known" + REFERENCE: lambda batch: ceiling(batch, method),
    }


def competitors(method: Method) -> dict[str, Callable[..., Estimates]]:
    """Every method that is told nothing of a scene but its snapshots, and those with settings also uncalibrated."""
    known = solvers(method)
    if method.surface.gains:
        nominal = solvers(replace(method, surface=replace(method.surface, gains=())))
        known |= {f"{name}{UNCALIBRATED}": nominal[name] for name in SPACES}
    return {name: solve for name, solve in known.items() if REFERENCE not in name}


def references(method: Method) -> dict[str, Callable[..., Estimates]]:
    """The methods that are told the number of sources, or the true covariance as well."""
    return {name: solve for name, solve in solvers(method).items() if REFERENCE in name}


def space_of(name: str) -> Space:
    """The settings of a method; a method without a calibration has those of the same method with one."""
    return SPACES.get(name.removesuffix(UNCALIBRATED), {})


def ceiling(batch: Batch, method: Method) -> Estimates:
    """The estimator on the true covariance with the true number of sources."""
    sense = sensing(method.surface, batch.z.device, torch.float64)
    true = truth(batch._replace(q=batch.q.double(), power=batch.power.double()), sense)
    return estimate(true, true, batch.source_count, method, batch.q.shape[1])
