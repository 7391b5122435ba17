"""From a covariance to positions: MUSIC over a (u, v, 1/r) grid, a range scan, Newton, and near-field ML.

Batched over scenes, in complex128, without gradients. Scenes are split into chunks, so that memory stays bounded.
Shapes: B scenes, K = k_max sources (padded), R = N' entries, C columns of a factor, G grid points, T ranges.

Every spectrum here is s(q) = ||F^H b(q)||^2 for unit-norm b. For MUSIC, F holds the signal eigenvectors, and
1 / (1 - s) is the usual form. For Bartlett and MVDR, F holds all eigenvectors, weighted (baseline.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.ris.features import Grid, dictionary, points, projections
from objectives.ris.geometry import View
from objectives.ris.sensing import Sensing, Surface, power, sensing

EXCLUSION = 0.6 * 2  # half-width of the box around a peak that holds no other peak, in units of 1/n_h and 1/n_v
TIKHONOV = 1e-3  # of the ML projector, times N'
NEWTON_DAMPING = 1e-3
ML_DAMPING = 1e-2
HALVINGS = 4
MEMORY = 2**24  # complex numbers in the largest array of a chunk: 256 MiB
Order = Literal["mdl", "aic"]


@dataclass(frozen=True)
class Method:
    """The estimator's settings: the grids that it scans, and its iterations."""

    surface: Surface
    grid: Grid
    range_grid: int = 121
    newton_iters: int = 3
    nf_mle_iters: int = 2

    @property
    def view(self) -> View:
        return self.grid.view

    def chunk(self, k_max: int) -> int:
        """How many scenes are estimated together."""
        ranges = k_max * self.range_grid * self.surface.entries
        return max(1, MEMORY // (2 * max(ranges, self.grid.cells * k_max)))


class Estimates(NamedTuple):
    """Positions of the sources."""

    q: Tensor  # [B, K, 3] float64: (u, v, rho)
    mask: Tensor  # [B, K] bool: which of them are claimed to be sources
    padded: Tensor  # [B, K] bool: no local maximum was left, so the highest cell was taken


def estimate(cov: Tensor, samp: Tensor, count_B: Tensor, method: Method, k_max: int) -> Estimates:
    """MUSIC on `cov` for count_B sources per scene, polished by ML on the samples' covariance `samp`."""
    size = method.chunk(k_max)
    parts = []
    for cov_part, samp_part, count in zip(cov.split(size), samp.split(size), count_B.split(size), strict=True):
        basis = signal_basis(cov_part.to(torch.complex128), count, k_max)
        peak = locate(basis, count, method, k_max)
        q = newton(peak.q, basis, method)
        q = maximum_likelihood(q, peak.mask, samp_part.to(torch.complex128), method)
        parts.append(peak._replace(q=q))
    return Estimates(*(torch.cat(field) for field in zip(*parts, strict=True)))


def signal_basis(cov: Tensor, count_B: Tensor, k_max: int) -> Tensor:
    """Eigenvectors of the count_B largest eigenvalues, [B, R, k_max]; columns beyond the count are zero."""
    _, vectors = torch.linalg.eigh(cov)
    top = vectors[..., -k_max:].flip(-1)
    return top * (torch.arange(k_max, device=cov.device) < count_B[:, None])[:, None]


def locate(factor_BRC: Tensor, count_B: Tensor, method: Method, k_max: int) -> Estimates:
    """The highest peaks of ||F^H b(q)||^2: a scan over the grid, then a finer scan over range at each peak."""
    surface, device = method.surface, factor_BRC.device
    at_G3 = points(method.grid, device, torch.float64)
    spectrum = scan(factor_BRC, dictionary(surface, method.grid, device, torch.float64))
    spectrum = spectrum.masked_fill(~method.view.holds(at_G3), -torch.inf)
    cell_BK, padded = peaks(spectrum, method, k_max)
    mask = torch.arange(k_max, device=device) < count_B[:, None]
    return Estimates(range_scan(at_G3[cell_BK], factor_BRC, method), mask, padded & mask)


def scan(factor_BRC: Tensor, b_GR: Tensor) -> Tensor:
    """||F^H b||^2 at every grid point, [B, G]."""
    return projections(b_GR, factor_BRC).sum(-1)


def peaks(spectrum_BG: Tensor, method: Method, k_max: int) -> tuple[Tensor, Tensor]:
    """Cells of the k_max highest local maxima in (u, v): ([B, K], padded [B, K]).

    No peak lies in the exclusion box around a higher one.
    """
    grid, surface = method.grid, method.surface
    volume = spectrum_BG.unflatten(1, (grid.planes, grid.nv * grid.nu))
    flat_BX, plane_BX = volume.max(1)
    image = flat_BX.unflatten(1, (1, grid.nv, grid.nu))
    summit = (image >= F.max_pool2d(image, 3, 1, 1)).flatten(1)
    at_X2 = points(grid, spectrum_BG.device, torch.float64)[: grid.nv * grid.nu, :2]
    box = at_X2.new_tensor([EXCLUSION / surface.n_h, EXCLUSION / surface.n_v])
    free = torch.isfinite(flat_BX)
    cells, padded = [], []
    for _ in range(k_max):
        peak_left = (summit & free).any(1)
        allowed = torch.where(peak_left[:, None], summit & free, free)
        best = flat_BX.masked_fill(~allowed, -torch.inf).argmax(1)
        cells.append(plane_BX.gather(1, best[:, None])[:, 0] * (grid.nv * grid.nu) + best)
        padded.append(~peak_left)
        free = free & ((at_X2 - at_X2[best][:, None]).abs() >= box).any(-1)
    return torch.stack(cells, 1), torch.stack(padded, 1)


def range_scan(q_BK3: Tensor, factor_BRC: Tensor, method: Method) -> Tensor:
    """q with its range replaced: the one of range_grid values, uniform in 1/r, where the spectrum is highest."""
    sense = _sense(method, q_BK3.device)
    low, high = method.view.low[2], method.view.high[2]
    rho_T = torch.linspace(low, high, method.range_grid, device=q_BK3.device, dtype=torch.float64)
    along = q_BK3[:, :, None].expand(-1, -1, len(rho_T), -1).clone()
    along[..., 2] = rho_T
    b_BMR = sense.steer(along.flatten(1, 2))
    height_BM = power(b_BMR @ factor_BRC.conj()).sum(-1) / power(b_BMR).sum(-1)
    height = height_BM.unflatten(1, along.shape[1:3])
    rho_BK = rho_T[height.argmax(-1)]
    return torch.cat((q_BK3[..., :2], rho_BK[..., None]), -1)


def newton(q: Tensor, basis_BRC: Tensor, method: Method) -> Tensor:
    """newton_iters Gauss-Newton steps on ||P_n b(q)||^2, for each source by itself.

    No step goes uphill or leaves the box.
    """
    sense = _sense(method, q.device)

    def residual(b: Tensor) -> Tensor:  # P_n b for b [B, M, R]
        return b - (b @ basis_BRC.conj()) @ basis_BRC.mT

    def height(q: Tensor) -> Tensor:
        return power(residual(sense.unit(q))).sum(-1)

    for _ in range(method.newton_iters):
        raw = sense.steer(q)
        norm = torch.linalg.vector_norm(raw, dim=-1, keepdim=True)
        b, slope = raw / norm, sense.slopes(q) / norm[..., None]
        slope = slope - b[..., None] * (b.conj()[..., None] * slope).sum(-2, keepdim=True).real
        jacobian = residual(slope.mT.flatten(1, 2)).unflatten(1, (-1, 3))  # [B, K, 3, R]
        curvature = (jacobian.conj() @ jacobian.mT).real
        gradient = (jacobian.conj() @ residual(b)[..., None]).real[..., 0]
        step = -_damped(curvature, gradient, NEWTON_DAMPING)
        q = _downhill(q, step, height(q), height, method.view)
    return q


def maximum_likelihood(q: Tensor, mask_BK: Tensor, samp: Tensor, method: Method) -> Tensor:
    """nf_mle_iters Gauss-Newton steps on tr(P_A^perp R_samp), for all sources of a scene together.

    A source that ends at a limit of the box keeps its first place, because a limit is not a maximum.

    Source: Stoica & Nehorai 1990, Performance study of conditional and unconditional direction-of-arrival
    estimation, for the gradient and the Hessian of conditional ML.
    """
    sense, start = _sense(method, q.device), q
    active = mask_BK[..., None].to(torch.complex128)
    eye = torch.eye(samp.shape[-1], device=q.device, dtype=torch.complex128)

    def projectors(q: Tensor) -> tuple[Tensor, Tensor]:
        a = (sense.steer(q) * active).mT  # [B, R, K]
        inverse = _pseudo_inverse(a)
        return inverse, eye - a @ inverse

    def misfit(q: Tensor) -> Tensor:
        return (projectors(q)[1] * samp.mT).sum((-2, -1)).real

    for _ in range(method.nf_mle_iters):
        inverse, away = projectors(q)
        slope = (sense.slopes(q) * active[..., None]).mT  # [B, K, 3, R]
        weight = inverse @ samp @ inverse.mH  # [B, K, K]
        gradient = -2 * ((inverse @ samp @ away)[:, :, None] * slope).sum(-1).real.flatten(1)
        flat = slope.flatten(1, 2)  # [B, 3K, R]
        bends = flat.conj() @ (away @ flat.mT)
        spread = weight.mT.repeat_interleave(3, 1).repeat_interleave(3, 2)
        step = -_damped(2 * (bends * spread).real, gradient, ML_DAMPING).unflatten(1, (-1, 3))
        q = _downhill(q, step, misfit(q), misfit, method.view)
    return torch.where(method.view.at_limit(q)[..., None], start, q)


def order(value_Bn: Tensor, entries: int, snapshots: int, k_max: int, rule: Order) -> Tensor:
    """Number of sources by MDL or AIC, in 1..k_max, from the n = min(N', L) non-zero eigenvalues, largest first.

    Both compare the eigenvalues of noise with each other, so they count at most n - 1 sources, and always one where n
    is 1 or 2. With more entries than snapshots the two are exchanged: the textbook form with N' eigenvalues would then
    always give one source. Source: Wax & Kailath 1985, eqs. 16 and 17.
    """
    n, longer = min(entries, snapshots), max(entries, snapshots)
    value = value_Bn[:, :n].double().clamp_min(1e-12)
    if n == 1:
        return torch.ones(len(value), dtype=torch.long, device=value.device)
    costs = []
    for k in range(1, min(k_max, n - 1) + 1):
        rest = value[:, k:]
        misfit = longer * (n - k) * (rest.mean(1).log() - rest.log().mean(1))
        parameters = k * (2 * n - k)
        costs.append(misfit + _penalty(parameters, longer, rule))
    return torch.stack(costs, 1).argmin(1) + 1


def _penalty(parameters: int, samples: int, rule: Order) -> Tensor | int:
    """The price of free parameters."""
    if rule == "aic":
        return parameters
    return 0.5 * parameters * torch.log(torch.tensor(float(samples)))


def _pseudo_inverse(a_BRK: Tensor) -> Tensor:
    """(A^H A + 1e-3 N' I)^-1 A^H, [B, K, R]."""
    eye = torch.eye(a_BRK.shape[-1], device=a_BRK.device, dtype=a_BRK.dtype)
    return torch.linalg.solve(a_BRK.mH @ a_BRK + TIKHONOV * a_BRK.shape[-2] * eye, a_BRK.mH)


def _damped(curvature: Tensor, gradient: Tensor, damping: float) -> Tensor:
    """Solution of the Jacobi-scaled system with `damping` added to its unit diagonal. Zero rows give zeros."""
    scale = curvature.diagonal(dim1=-2, dim2=-1).clamp_min(1e-30).sqrt()
    eye = torch.eye(curvature.shape[-1], device=curvature.device, dtype=curvature.dtype)
    scaled = curvature / (scale[..., None] * scale[..., None, :]) + damping * eye
    return torch.linalg.solve(scaled, (gradient / scale)[..., None])[..., 0] / scale


def _downhill(q: Tensor, step: Tensor, now: Tensor, height: Callable[[Tensor], Tensor], view: View) -> Tensor:
    """q + step, or with the first halving of the step that is lower than `now`; q itself where no halving is."""
    best, settled = q, torch.zeros_like(now, dtype=torch.bool)
    for halving in range(HALVINGS + 1):
        candidate = view.clamp(q + step / 2**halving)
        lower = (height(candidate) < now) & ~settled
        per_coordinate = lower.reshape(lower.shape + (1,) * (q.dim() - lower.dim()))
        best = torch.where(per_coordinate, candidate, best)
        settled = settled | lower
        if settled.all():
            break
    return best


def _sense(method: Method, device: torch.device) -> Sensing:
    return sensing(method.surface, device, torch.float64)
