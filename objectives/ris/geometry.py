"""A planar surface and point sources in its near field: positions, path lengths and steering vectors.

Shapes: N elements; `...` any leading dimensions. Units: metres and radians; degrees only where a name says so.
A source is q = (u, v, rho): u = sin(phi) cos(theta), v = sin(theta), rho = 1/r, with azimuth phi, elevation theta,
range r. The grid uses rho instead of r because the curvature of a wavefront is almost linear in rho.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

WAVELENGTH_M = 0.3  # 1 GHz
WAVENUMBER = 2 * math.pi / WAVELENGTH_M
Steering = Literal["exact", "fresnel"]


@dataclass(frozen=True)
class View:
    """The region that sources are in: a box in (phi, theta, r)."""

    r_min: float
    r_max: float
    phi_max_deg: float = 60.0
    theta_max_deg: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.r_min < self.r_max:
            raise ValueError(f"ranges must satisfy 0 < r_min < r_max; got {self.r_min=} m, {self.r_max=} m")

    @property
    def low(self) -> tuple[float, float, float]:
        """Smallest u, v, rho."""
        u, v, _ = self.high
        return -u, -v, 1 / self.r_max

    @property
    def high(self) -> tuple[float, float, float]:
        """Largest u, v, rho."""
        return (
            math.sin(math.radians(self.phi_max_deg)),
            math.sin(math.radians(self.theta_max_deg)),
            1 / self.r_min,
        )

    def clamp(self, q: Tensor) -> Tensor:
        """The nearest point of the (u, v, rho) box around the view."""
        return q.clamp(q.new_tensor(self.low), q.new_tensor(self.high))

    def at_limit(self, q: Tensor, margin: float = 0.005) -> Tensor:
        """True where a coordinate is within `margin`, a share of its span, of a limit of the box."""
        low, high = q.new_tensor(self.low), q.new_tensor(self.high)
        near = margin * (high - low)
        return (((q - low) < near) | ((high - q) < near)).any(-1)

    def holds(self, q: Tensor) -> Tensor:
        """True where (u, v) is a direction inside the view. The corners of the (u, v) rectangle are outside."""
        u, v = q[..., 0], q[..., 1]
        u_max, v_max, _ = self.high
        return (v.abs() <= v_max + 1e-9) & (u.abs() <= u_max * (1 - v**2).clamp_min(0).sqrt() + 1e-9)


def elements(n_h: int, n_v: int) -> tuple[Tensor, Tensor]:
    """(x_N, y_N) of an n_h x n_v array: half a wavelength apart, centred on 0, row after row."""
    step = WAVELENGTH_M / 2
    x = (torch.arange(n_h, dtype=torch.float64) - (n_h - 1) / 2) * step
    y = (torch.arange(n_v, dtype=torch.float64) - (n_v - 1) / 2) * step
    return x.repeat(n_v), y.repeat_interleave(n_h)


def path(q: Tensor, x_N: Tensor, y_N: Tensor, steering: Steering = "exact") -> Tensor:
    """Distance from the source to each element minus the distance to the centre, [..., N].

    "exact" is d_n - r with r = 1/rho, in a form without cancellation as rho -> 0. "fresnel" is its second-order
    expansion. Source: Begriche, Thameri & Abed-Meraim 2013, arXiv 1303.1725, for the difference between the two.
    """
    rho = q[..., 2, None]
    along, square = _projections(q, x_N, y_N)
    if steering == "fresnel":
        return -along + (square - along**2) * rho / 2
    distance = (1 - 2 * rho * along + rho**2 * square).sqrt()  # d_n / r
    return (-2 * along + rho * square) / (distance + 1)


def path_slopes(q: Tensor, x_N: Tensor, y_N: Tensor, steering: Steering = "exact") -> Tensor:
    """d path / d (u, v, rho), [..., N, 3]."""
    rho = q[..., 2, None]
    along, square = _projections(q, x_N, y_N)
    if steering == "fresnel":
        fresnel = (-x_N * (1 + along * rho), -y_N * (1 + along * rho), (square - along**2) / 2)
        return torch.stack(fresnel, -1)
    distance = (1 - 2 * rho * along + rho**2 * square).sqrt()
    top = -2 * along + rho * square
    d_top = (-2 * x_N, -2 * y_N, square)
    d_distance = (-rho * x_N / distance, -rho * y_N / distance, (-along + rho * square) / distance)
    exact = [
        (dt * (distance + 1) - top * dd) / (distance + 1) ** 2  # the quotient rule
        for dt, dd in zip(d_top, d_distance, strict=True)
    ]
    return torch.stack(exact, -1)


def manifold(q: Tensor, x_N: Tensor, y_N: Tensor, steering: Steering = "exact") -> Tensor:
    """Steering vector a(q) = exp(-j k path), of unit modulus, [..., N]. Its sign is defined here and nowhere else."""
    phase = -WAVENUMBER * path(q, x_N, y_N, steering)
    return torch.polar(torch.ones_like(phase), phase)


def in_front(q: Tensor, radius: float = 0.99) -> Tensor:
    """q with (u, v) scaled back into a disc of `radius`: outside the unit disc (u, v) is no direction."""
    direction = q[..., :2]
    norm = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
    shrunk = torch.where(norm > radius, direction * (radius / norm.clamp_min(radius)), direction)
    return torch.cat((shrunk, q[..., 2:]), -1)


def to_polar(q: Tensor) -> Tensor:
    """(u, v, rho) -> (phi, theta, r)."""
    theta = torch.asin(q[..., 1].clamp(-1, 1))
    phi = torch.asin((q[..., 0] / torch.cos(theta).clamp_min(1e-9)).clamp(-1, 1))
    return torch.stack((phi, theta, 1 / q[..., 2]), -1)


def from_polar(polar: Tensor) -> Tensor:
    """(phi, theta, r) -> (u, v, rho)."""
    phi, theta, r = polar.unbind(-1)
    return torch.stack((torch.sin(phi) * torch.cos(theta), torch.sin(theta), 1 / r), -1)


def to_metres(q: Tensor) -> Tensor:
    """Cartesian position (m). The surface is in the plane z = 0, sources have z > 0."""
    u, v, rho = q.unbind(-1)
    w = (1 - u**2 - v**2).clamp_min(0).sqrt()
    return torch.stack((u, v, w), -1) / rho[..., None]


def _projections(q: Tensor, x_N: Tensor, y_N: Tensor) -> tuple[Tensor, Tensor]:
    return x_N * q[..., 0, None] + y_N * q[..., 1, None], x_N**2 + y_N**2
