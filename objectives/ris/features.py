"""Grids over (u, v, 1/r), and the spectra on such a grid that are the network's input.

Shapes: G = planes * nv * nu grid points, with planes outermost and u innermost; B scenes, R = N' entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from objectives.ris.covariance import eigenpairs
from objectives.ris.geometry import View
from objectives.ris.sensing import Surface, power, sensing

LOADING = 0.5  # of the covariance whose MVDR spectrum is a feature
FLOOR = 1e-3  # added before a logarithm


@dataclass(frozen=True)
class Grid:
    """Cells over the view. A grid point is the centre of its cell; with `edges`, u and v run from limit to limit."""

    view: View
    nu: int
    nv: int
    planes: int
    edges: bool = False

    @property
    def cells(self) -> int:
        return self.nu * self.nv * self.planes

    @property
    def cell(self) -> tuple[float, float, float]:
        """Cell size in u, v, rho."""
        spans = [high - low for low, high in zip(self.view.low, self.view.high, strict=True)]
        shared = 1 if self.edges else 0  # n points from limit to limit are n - 1 cells apart
        return spans[0] / (self.nu - shared), spans[1] / (self.nv - shared), spans[2] / self.planes


@lru_cache(maxsize=32)
def points(grid: Grid, device: torch.device, real: torch.dtype) -> Tensor:
    """The grid points, [G, 3]. The planes are the middles of equal steps in rho."""
    shift = 0.0 if grid.edges else 0.5  # of u and v, in cells
    u = _axis(grid, 0, grid.nu, shift)
    v = _axis(grid, 1, grid.nv, shift)
    rho = _axis(grid, 2, grid.planes, 0.5)
    rho_G, v_G, u_G = torch.meshgrid(rho, v, u, indexing="ij")
    return torch.stack((u_G, v_G, rho_G), -1).reshape(-1, 3).to(device, real)


@lru_cache(maxsize=16)
def dictionary(surface: Surface, grid: Grid, device: torch.device, real: torch.dtype) -> Tensor:
    """Unit-norm b(q) of every grid point, [G, R]."""
    sense = sensing(surface, device, torch.float64)
    return sense.unit(points(grid, device, torch.float64)).to(real.to_complex())


def nearest(grid: Grid, q: Tensor) -> Tensor:
    """Index of the cell that q lies in, [...]; of the closest cell where q is outside the view."""
    low = q.new_tensor(grid.view.low)
    size = q.new_tensor(grid.cell)
    cells = (q - low) / size
    at = cells.round() if grid.edges else cells.floor()
    limit = q.new_tensor([grid.nu - 1, grid.nv - 1, grid.planes - 1])
    u, v, plane = torch.minimum(at.clamp_min(0), limit).long().unbind(-1)
    return (plane * grid.nv + v) * grid.nu + u


def projections(b_GR: Tensor, vector_BRn: Tensor) -> Tensor:
    """|b^H e|^2 of every grid point and vector, [B, G, n], by one large matrix product."""
    scenes, entries, columns = vector_BRn.shape
    flat = b_GR @ vector_BRn.conj().permute(1, 0, 2).reshape(entries, scenes * columns)
    return power(flat).unflatten(1, (scenes, columns)).transpose(0, 1)


def features(z_BRL: Tensor, surface: Surface, grid: Grid) -> tuple[Tensor, Tensor]:
    """The network's input: (maps [B, 2 planes, nv, nu], logarithms of the top eigenvalues [B, n]), without gradient.

    The maps are the root of the Bartlett spectrum and the logarithm of the MVDR spectrum with loading 0.5.
    """
    value_Bn, vector_BRn = eigenpairs(z_BRL)
    b_GR = dictionary(surface, grid, z_BRL.device, torch.float32)
    power_BGn = projections(b_GR, vector_BRn)
    bartlett = (power_BGn @ value_Bn[..., None])[..., 0] / b_GR.shape[-1]
    outside = (1 - power_BGn.sum(-1)).clamp_min(0) / LOADING
    mvdr = 1 / (outside + (power_BGn @ (1 / (value_Bn + LOADING))[..., None])[..., 0])
    maps = torch.cat((bartlett.clamp_min(0).sqrt(), mvdr.log()), -1)
    shaped = maps.reshape(len(maps), 2 * grid.planes, grid.nv, grid.nu)
    return shaped, (value_Bn.clamp_min(0) + FLOOR).log()


def _axis(grid: Grid, axis: int, count: int, shift: float) -> Tensor:
    """Coordinates along one axis, [count] float64; the first is `shift` cells above the lower limit."""
    return grid.view.low[axis] + grid.cell[axis] * (torch.arange(count, dtype=torch.float64) + shift)
