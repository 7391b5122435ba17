"""Scenes: K sources in the near field, seen for L snapshots through the surface.

Shapes: B scenes, K = k_max sources (padded), R = N' entries of z, L snapshots, N elements.
Everything derived from a scene (covariances, features, stencils) is computed when it is needed and never stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo.cache import made_once
from hpo.seeds import generator
from hpo.task import Split
from objectives.ris.geometry import View, from_polar
from objectives.ris.sensing import Sensing, Surface, gains, sensing

SHARD = 256  # scenes made by one call, from one generator: a longer split begins with the shorter one
ROUNDS = 200  # of drawing a source again that stands too close to an earlier one
CPU = torch.device("cpu")


class Batch(NamedTuple):
    z: Tensor  # [B, R, L] complex64: snapshots, whitened and compressed
    q: Tensor  # [B, K, 3] float32: (u, v, 1/r) of each source, r in metres; zeros where there is none
    power: Tensor  # [B, K] float32: share of the power, sums to 1
    mask: Tensor  # [B, K] float32: 1 where there is a source
    count: Tensor  # [B] int64: how many there are, 1..K
    snr_db: Tensor  # [B] float32: per measurement at the base station; never shown to the model
    noise: Tensor  # [B] float32: variance of z's noise
    coherent: Tensor  # [B] bool: source 2 sends what source 1 sends
    crowded: Tensor  # [B] bool: two sources stayed closer than the rule after all rounds


@dataclass(frozen=True)
class Scenario:
    """All that scenes depend on; with the split and the shard, the key that made data is filed under."""

    surface: Surface
    view: View
    snapshots: int
    k_max: int
    snr_lo: float
    snr_hi: float
    sigma_psi: float = 0.35  # rad, phase error of each element
    sigma_gain_db: float = 0.5  # gain error of each element; both are fixed per deployment and unknown to everyone
    p_coh: float = 0.25  # share of the scenes with K >= 2 whose sources 1 and 2 are coherent
    pathloss: bool = False


class Scenes:
    """A split as read-only shards on disk; only the rows that are asked for are read."""

    def __init__(self, scenario: Scenario, split: Split, count: int) -> None:
        self.count = count
        shards = range(math.ceil(count / SHARD))
        self.shards = [made_once(make_shard, scenario, split, shard) for shard in shards]

    def take(self, rows: Tensor) -> Batch:
        """The scenes of these rows, in their order."""
        rows_B = rows.numpy()
        if rows_B.size and (rows_B.min() < 0 or rows_B.max() >= self.count):
            raise ValueError(f"scenes are numbered 0..{self.count - 1}; got {rows_B.min()}..{rows_B.max()}")
        fields = {}
        for name, first in self.shards[0].items():
            out = np.empty((len(rows_B), *first.shape[1:]), first.dtype)
            for shard in np.unique(rows_B // SHARD):
                here = rows_B // SHARD == shard
                out[here] = self.shards[shard][name][rows_B[here] % SHARD]
            fields[name] = torch.from_numpy(out)
        return Batch(**fields)


@lru_cache(maxsize=16)
def scenes(scenario: Scenario, split: Split, count: int) -> Scenes:
    """A split, made on this machine if it was not made before."""
    return Scenes(scenario, split, count)


def served(scenario: Scenario, split: Split, count: int, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
    """One pass: training scenes in an order drawn from rng, the others in their own."""
    held = scenes(scenario, split, count)
    order = torch.randperm(count, generator=rng) if split == "train" else torch.arange(count)
    for rows in order.split(batch_size):
        yield held.take(rows)


def make_shard(scenario: Scenario, split: str, shard: int) -> dict[str, np.ndarray]:
    """SHARD scenes of a split. Seeded by a hash of what they are for: no two splits or shards share a stream."""
    batch = generate(scenario, SHARD, generator("ris", "scenes", scenario.surface.deployment, split, shard))
    return {name: tensor.numpy() for name, tensor in batch._asdict().items()}


def generate(
    scenario: Scenario, n: int, rng: torch.Generator, *, snr_db: float | None = None, count: int | None = None
) -> Batch:
    """n scenes; at one SNR and with one number of sources where these are given."""
    nature = sensing(scenario.surface, CPU, torch.float64).nature
    k_max = scenario.k_max
    count_B = torch.randint(1, k_max + 1, (n,), generator=rng)
    count_B = count_B if count is None else torch.full_like(count_B, count)
    mask_BK = torch.arange(k_max) < count_B[:, None]
    q_BK3, crowded_B = place(scenario, mask_BK, rng)
    power_BK = _powers(q_BK3, mask_BK, scenario, rng)
    snr_B = scenario.snr_lo + (scenario.snr_hi - scenario.snr_lo) * _uniform((n,), rng)
    snr_B = snr_B if snr_db is None else torch.full_like(snr_B, snr_db)
    noise_B = noise_variance(nature, q_BK3, power_BK, snr_B, scenario.surface)
    coherent_B = (_uniform((n,), rng) < scenario.p_coh) & (count_B >= 2)
    symbols_BKL = _symbols(power_BK, coherent_B, scenario.snapshots, rng)
    gains_N = gains(scenario.surface, scenario.sigma_psi, scenario.sigma_gain_db)
    b_BKR = nature.steer(q_BK3, gains_N)
    z_BRL = b_BKR.mT @ symbols_BKL
    z_BRL = z_BRL + noise_B.sqrt()[:, None, None] * torch.randn(z_BRL.shape, generator=rng, dtype=z_BRL.dtype)
    return Batch(
        z=z_BRL.to(torch.complex64),
        q=(q_BK3 * mask_BK[..., None]).float(),
        power=power_BK.float(),
        mask=mask_BK.float(),
        count=count_B,
        snr_db=snr_B.float(),
        noise=noise_B.float(),
        coherent=coherent_B,
        crowded=crowded_B,
    )


def place(scenario: Scenario, mask_BK: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sources at least one Rayleigh cell from every earlier one, in u or in v: (q [B, K, 3], crowded [B])."""
    n, k_max = mask_BK.shape
    cell = torch.tensor([2 / scenario.surface.n_h, 2 / scenario.surface.n_v], dtype=torch.float64)
    q_BK3 = _draw(scenario.view, (n, k_max), rng)
    earlier = torch.ones(k_max, k_max).tril(-1).bool()
    for _ in range(ROUNDS):
        gap_BKK2 = (q_BK3[:, :, None, :2] - q_BK3[:, None, :, :2]).abs()
        close_BKK = (gap_BKK2 < cell).all(-1) & earlier & mask_BK[:, :, None]
        if not close_BKK.any():
            break
        again_BK = close_BKK.any(-1)
        q_BK3[again_BK] = _draw(scenario.view, (int(again_BK.sum()),), rng)
    gap_BKK2 = (q_BK3[:, :, None, :2] - q_BK3[:, None, :, :2]).abs()
    close_BKK = (gap_BKK2 < cell).all(-1) & earlier & mask_BK[:, :, None]
    return q_BK3, close_BKK.flatten(1).any(1)


def noise_variance(sense: Sensing, q_BK3: Tensor, power_BK: Tensor, snr_db_B: Tensor, surface: Surface) -> Tensor:
    """sigma^2 = sum_k p_k ||b_k||^2 / (PM 10^(snr/10)): the SNR of one measurement at the base station."""
    energy_BK = sense.steer(q_BK3).abs().square().sum(-1)
    return (power_BK * energy_BK).sum(-1) / (surface.antennas * surface.codes * 10 ** (snr_db_B / 10))


def _draw(view: View, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    phi = math.radians(view.phi_max_deg) * (2 * _uniform(shape, rng) - 1)
    theta = math.radians(view.theta_max_deg) * (2 * _uniform(shape, rng) - 1)
    rho = 1 / view.r_max + (1 / view.r_min - 1 / view.r_max) * _uniform(shape, rng)
    return from_polar(torch.stack((phi, theta, 1 / rho), -1))


def _powers(q_BK3: Tensor, mask_BK: Tensor, scenario: Scenario, rng: torch.Generator) -> Tensor:
    power_BK = 10 ** (0.3 * (2 * _uniform(mask_BK.shape, rng) - 1))  # +-3 dB
    if scenario.pathloss:
        power_BK = power_BK * q_BK3[..., 2] ** 2
    power_BK = power_BK * mask_BK
    return power_BK / power_BK.sum(-1, keepdim=True)


def _symbols(power_BK: Tensor, coherent_B: Tensor, snapshots: int, rng: torch.Generator) -> Tensor:
    """CN(0, p_k), independent over snapshots and sources; of a coherent pair the second is a turned copy."""
    n, k_max = power_BK.shape
    symbols = torch.randn((n, k_max, snapshots), generator=rng, dtype=torch.complex128)
    turn_B = 2 * math.pi * _uniform((n,), rng)
    if k_max >= 2:
        copy_BL = symbols[:, 0] * torch.polar(torch.ones_like(turn_B), turn_B)[:, None]
        symbols[:, 1] = torch.where(coherent_B[:, None], copy_BL, symbols[:, 1])
    return symbols * power_BK.sqrt()[..., None]


def _uniform(shape: tuple[int, ...] | torch.Size, rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng, dtype=torch.float64)
