"""Scenes: K sources in the near field, seen for L snapshots through the surface.

Shapes: B scenes, K = k_max sources (padded), R = N' entries of z, L snapshots, N elements.
Only scenes are stored. Covariances, features and stencils are computed from them when they are needed.
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

from hpo import Split, generator, made_once
from objectives.ris.geometry import View, from_polar
from objectives.ris.sensing import Sensing, Surface, gains, sensing

SHARD = 256  # scenes made by one call, from one generator: a longer split begins with the shorter one
ROUNDS = 200  # how often sources that stand too close to an earlier one are drawn again
CPU = torch.device("cpu")


class Batch(NamedTuple):
    """Scenes: what the base station receives, and the truth."""

    z: Tensor  # [B, R, L] complex64: snapshots, whitened and compressed
    q: Tensor  # [B, K, 3] float32: (u, v, 1/r) of each source, r in metres; zeros where there is none
    power: Tensor  # [B, K] float32: share of the power, sums to 1
    mask: Tensor  # [B, K] float32: 1 where there is a source
    source_count: Tensor  # [B] int64: 1..K
    snr_db: Tensor  # [B] float32: per measurement at the base station; never shown to the model
    noise: Tensor  # [B] float32: variance of z's noise
    coherent: Tensor  # [B] bool: sources 1 and 2 send the same signal
    crowded: Tensor  # [B] bool: two sources are still too close after all rounds


@dataclass(frozen=True)
class Scenario:
    """Everything that scenes depend on. With the split and the shard it is the key of the cached data."""

    surface: Surface
    view: View
    snapshots: int
    k_max: int
    snr_lo: float
    snr_hi: float
    sigma_psi: float = 0.35  # rad, phase error of each element
    sigma_gain_db: float = 0.5  # gain error of each element; both are fixed per deployment, and no method knows them
    p_coh: float = 0.25  # share of scenes whose sources 1 and 2 are coherent, among those with at least 2
    pathloss: bool = False


class Scenes:
    """A split as read-only shards on disk. Only requested rows are read."""

    def __init__(self, scenario: Scenario, split: Split, count: int) -> None:
        self.count = count
        shards = range(math.ceil(count / SHARD))
        self.shards = [made_once(make_shard, scenario, split, shard) for shard in shards]

    def take(self, rows: Tensor) -> Batch:
        """The scenes of these rows, in the order of the rows. Raises ValueError for a row that the split lacks."""
        rows_B = rows.numpy()
        if rows_B.size and (rows_B.min() < 0 or rows_B.max() >= self.count):
            raise ValueError(f"scenes are numbered 0..{self.count - 1}; got {rows_B.min()}..{rows_B.max()}")
        fields = {}
        for name, first in self.shards[0].items():
            values = np.empty((len(rows_B), *first.shape[1:]), first.dtype)
            for shard in np.unique(rows_B // SHARD):
                in_shard = rows_B // SHARD == shard
                values[in_shard] = self.shards[shard][name][rows_B[in_shard] % SHARD]
            fields[name] = torch.from_numpy(values)
        return Batch(**fields)


@lru_cache(maxsize=16)
def scenes(scenario: Scenario, split: Split, count: int) -> Scenes:
    """A split; it is made once per machine."""
    return Scenes(scenario, split, count)


def served(scenario: Scenario, split: Split, count: int, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
    """One pass in batches: training scenes in an order drawn from rng, the others in a fixed order."""
    stored = scenes(scenario, split, count)
    order = torch.randperm(count, generator=rng) if split == "train" else torch.arange(count)
    for rows in order.split(batch_size):
        yield stored.take(rows)


def make_shard(scenario: Scenario, split: str, shard: int) -> dict[str, np.ndarray]:
    """SHARD scenes of a split. The seed is a hash of deployment, split and shard, so no two shards share a stream."""
    batch = generate(scenario, SHARD, generator("ris", "scenes", scenario.surface.deployment, split, shard))
    return {name: tensor.numpy() for name, tensor in batch._asdict().items()}


def generate(
    scenario: Scenario, n: int, rng: torch.Generator, *, snr_db: float | None = None, count: int | None = None
) -> Batch:
    """Draw n scenes. `snr_db` and `count`, where they are given, hold for all scenes."""
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
        source_count=count_B,
        snr_db=snr_B.float(),
        noise=noise_B.float(),
        coherent=coherent_B,
        crowded=crowded_B,
    )


def place(scenario: Scenario, mask_BK: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sources that are at least one Rayleigh cell apart in u or in v: (q [B, K, 3], crowded [B]).

    A source that is too close to an earlier one is drawn again, at most ROUNDS times.
    """
    n, k_max = mask_BK.shape
    cell = torch.tensor([2 / scenario.surface.n_h, 2 / scenario.surface.n_v], dtype=torch.float64)
    q_BK3 = _draw(scenario.view, (n, k_max), rng)
    for _ in range(ROUNDS):
        close_BK = _too_close(q_BK3, cell) & mask_BK
        if not close_BK.any():
            break
        q_BK3[close_BK] = _draw(scenario.view, (int(close_BK.sum()),), rng)
    return q_BK3, (_too_close(q_BK3, cell) & mask_BK).any(1)


def noise_variance(sense: Sensing, q_BK3: Tensor, power_BK: Tensor, snr_db_B: Tensor, surface: Surface) -> Tensor:
    """sigma^2 = sum_k p_k ||b_k||^2 / (PM 10^(snr/10)): the SNR of one measurement at the base station."""
    energy_BK = sense.steer(q_BK3).abs().square().sum(-1)
    return (power_BK * energy_BK).sum(-1) / (surface.antennas * surface.codes * 10 ** (snr_db_B / 10))


def _too_close(q_BK3: Tensor, cell: Tensor) -> Tensor:
    """[B, K] bool: an earlier source is less than a cell away, both in u and in v."""
    k_max = q_BK3.shape[1]
    earlier_KK = torch.ones(k_max, k_max).tril(-1).bool()
    gap_BKK2 = (q_BK3[:, :, None, :2] - q_BK3[:, None, :, :2]).abs()
    return ((gap_BKK2 < cell).all(-1) & earlier_KK).any(-1)


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
    """CN(0, p_k), independent over snapshots and sources.

    In a coherent pair, the second source sends the first one's signal with another phase.
    """
    n, k_max = power_BK.shape
    symbols = torch.randn((n, k_max, snapshots), generator=rng, dtype=torch.complex128)
    turn_B = 2 * math.pi * _uniform((n,), rng)
    if k_max >= 2:
        copy_BL = symbols[:, 0] * torch.polar(torch.ones_like(turn_B), turn_B)[:, None]
        symbols[:, 1] = torch.where(coherent_B[:, None], copy_BL, symbols[:, 1])
    return symbols * power_BK.sqrt()[..., None]


def _uniform(shape: tuple[int, ...] | torch.Size, rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng, dtype=torch.float64)
