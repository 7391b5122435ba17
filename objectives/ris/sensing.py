"""What a base station receives through the surface, whitened and compressed: z = Rg (g o a(q)) s + white noise.

Every snapshot repeats the same P codes C on the surface, so the M antennas give PM measurements y = G A s + n with
G = stack_p(H diag(c_p)). With the thin QR decomposition G = Q Rg, z = Q^H y has N' = min(PM, N) entries and its noise
is still white. All processing uses the effective manifold b(q) = Rg a(q). Nothing is projected back to the elements, so
PM < N works as well.

Shapes: N elements, R = N' entries of z; `...` any leading dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from hpo import generator
from objectives.ris.geometry import WAVENUMBER, Steering, elements, manifold, path_slopes

RICIAN_FACTOR = 3.0
CODE_BITS = 3
WORST_CONDITION = 100.0


@dataclass(frozen=True)
class Surface:
    """One deployment: the arrays, the codes, and the number of the static channel."""

    n_h: int
    n_v: int
    antennas: int  # M, at the base station
    codes: int  # P, on the surface within one snapshot
    deployment: int = 0
    steering: Steering = "exact"  # what estimators, network and labels assume; nature is always exact
    gains: tuple[float, ...] = ()  # of the elements, as they assume them: real and imaginary parts; (): all are 1

    @property
    def entries(self) -> int:
        """N', the length of z."""
        return min(self.codes * self.antennas, self.n_h * self.n_v)


@dataclass(frozen=True)
class Sensing:
    """A surface's effective manifold on one device, in one precision."""

    x_N: Tensor
    y_N: Tensor
    mix_RN: Tensor  # Rg, scaled to ||Rg||_F^2 = N, and then each column by the gain that its element is assumed to have
    steering: Steering

    def steer(self, q: Tensor, gains_N: Tensor | None = None) -> Tensor:
        """b(q) = Rg (g o a(q)), [..., R]."""
        a = manifold(q, self.x_N, self.y_N, self.steering)
        return self.mixed(a if gains_N is None else a * gains_N)

    def unit(self, q: Tensor) -> Tensor:
        """b(q) of unit norm, [..., R]."""
        b = self.steer(q)
        return b / torch.linalg.vector_norm(b, dim=-1, keepdim=True)

    def slopes(self, q: Tensor) -> Tensor:
        """d b / d (u, v, rho), [..., R, 3]."""
        a = manifold(q, self.x_N, self.y_N, self.steering)
        slopes = path_slopes(q, self.x_N, self.y_N, self.steering)
        return self.mixed((-1j * WAVENUMBER * slopes * a[..., None]).mT).mT

    def mixed(self, a: Tensor) -> Tensor:
        """Rg a, [..., N] -> [..., R]."""
        return a @ self.mix_RN.mT

    @cached_property
    def nature(self) -> Sensing:
        """The same channel with the exact wavefront."""
        return replace(self, steering="exact")


def power(x: Tensor) -> Tensor:
    """|x|^2, element by element. Several times faster than abs().square(), which takes a root first."""
    return x.real.square() + x.imag.square()


@lru_cache(maxsize=32)
def sensing(surface: Surface, device: torch.device, real: torch.dtype) -> Sensing:
    """The surface's manifold on `device`, with `real` (float32 or float64) coordinates."""
    x_N, y_N = elements(surface.n_h, surface.n_v)
    mix_RN = whitened(surface)
    if surface.gains:
        mix_RN = mix_RN * torch.view_as_complex(torch.tensor(surface.gains, dtype=torch.float64).reshape(-1, 2))
    return Sensing(
        x_N.to(device, real), y_N.to(device, real), mix_RN.to(device, real.to_complex()), steering=surface.steering
    )


def whitened(surface: Surface) -> Tensor:
    """Rg, [R, N] complex128, scaled to ||Rg||_F^2 = N. Raises ValueError for an ill-conditioned channel."""
    n = surface.n_h * surface.n_v
    _, mix_RN = torch.linalg.qr(channel(surface))
    condition = float(torch.linalg.cond(mix_RN))
    if surface.codes * surface.antennas >= n and condition >= WORST_CONDITION:
        raise ValueError(
            f"the condition number of the stacked channel must be below {WORST_CONDITION:g}; "
            f"got {condition:.0f} for {surface}; use more codes or antennas, or another deployment"
        )
    return mix_RN * math.sqrt(n) / torch.linalg.matrix_norm(mix_RN)


def channel(surface: Surface) -> Tensor:
    """G = stack_p(H diag(c_p)), [PM, N] complex128: a Rician channel H and random 3-bit phases c_p, both static."""
    n = surface.n_h * surface.n_v
    rng = generator("ris", "channel", surface.deployment, surface.n_h, surface.n_v, surface.antennas, surface.codes)
    line = _line_of_sight(surface, rng)
    scattered = _circular((surface.antennas, n), rng)
    h_MN = math.sqrt(RICIAN_FACTOR / (1 + RICIAN_FACTOR)) * line + math.sqrt(1 / (1 + RICIAN_FACTOR)) * scattered
    steps = 2**CODE_BITS
    phase_PN = torch.randint(steps, (surface.codes, n), generator=rng).double() * (2 * math.pi / steps)
    code_PN = torch.polar(torch.ones_like(phase_PN), phase_PN)
    return (h_MN[None] * code_PN[:, None]).reshape(-1, n)


def gains(surface: Surface, sigma_psi: float, sigma_gain_db: float) -> Tensor:
    """Phase (rad) and gain (dB) errors of each element, fixed per deployment, [N] complex128."""
    rng = generator("ris", "gains", surface.deployment, surface.n_h, surface.n_v)
    n = surface.n_h * surface.n_v
    phase = sigma_psi * torch.randn(n, generator=rng, dtype=torch.float64)
    gain_db = sigma_gain_db * torch.randn(n, generator=rng, dtype=torch.float64)
    return torch.polar(10 ** (gain_db / 20), phase)


def _line_of_sight(surface: Surface, rng: torch.Generator) -> Tensor:
    """A plane wave from the surface to a half-wavelength line of antennas, [M, N]."""
    u, v, w = (torch.rand(3, generator=rng, dtype=torch.float64) - 0.5).tolist()
    x_N, y_N = elements(surface.n_h, surface.n_v)
    leaving_N = manifold(torch.tensor([u, v, 0.0], dtype=torch.float64), x_N, y_N)
    phase_M = math.pi * w * torch.arange(surface.antennas, dtype=torch.float64)
    return torch.polar(torch.ones_like(phase_M), phase_M)[:, None] * leaving_N


def _circular(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.complex128)
