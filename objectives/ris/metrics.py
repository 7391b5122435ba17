"""How far estimates are from the truth: matched errors with units, OSPA, and bootstrap intervals by SNR.

Shapes: B scenes, K = k_max. No penalty stands in for a missing match: misses and false alarms are counted.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo.seeds import derive
from objectives.ris.data import Batch
from objectives.ris.estimator import Estimates
from objectives.ris.geometry import View, to_metres, to_polar

CUTOFF_M = 1.0
ANGLE_DEG, RANGE_M = 2.0, 1.0  # a scene succeeds if every source is within these
MATCH_ANGLE_DEG, MATCH_RANGE_M = 5.0, 1.0  # units of the distance that pairs estimates with sources
BOOTSTRAPS = 1000
_FAR = 1e6


class Judged(NamedTuple):
    """Estimates held against the truth, scene by scene. Errors belong to true sources; NaN where one is unmatched."""

    ospa_m: Tensor  # [B]
    success: Tensor  # [B] bool
    count: Tensor  # [B]
    claimed: Tensor  # [B]
    snr_db: Tensor  # [B]
    coherent: Tensor  # [B] bool
    range_m: Tensor  # [B] of the farthest source
    error: Tensor  # [B, K, 3]: phi (deg), theta (deg), r (m), absolute
    distance_m: Tensor  # [B, K]
    found: Tensor  # [B, K, 3]: phi (deg), theta (deg), r (m) of the estimates; NaN where none is claimed
    true: Tensor  # [B, K, 3]: the same of the sources
    pegged: Tensor  # [B, K] bool: an estimate at a limit of the box
    bordering: Tensor  # [B, K] bool: a source there


def judge(estimates: Estimates, batch: Batch, view: View) -> Judged:
    """Pair every estimate with a source by the least total distance, exactly, and measure."""
    q, mask = batch.q.double(), batch.mask > 0
    true, found = _degrees(q, mask), _degrees(estimates.q, estimates.mask)
    pair_BK = assign(_match_cost(found, true, estimates.mask, mask))  # the estimate of each source
    matched = mask & estimates.mask.gather(1, pair_BK)
    near = found.gather(1, pair_BK[..., None].expand(-1, -1, 3))
    error = torch.where(matched[..., None], (near - true).abs(), torch.nan)
    gap_BKK = torch.cdist(to_metres(estimates.q), _metres(q, mask))
    distance = torch.where(matched, gap_BKK.mT.gather(2, pair_BK[..., None])[..., 0], torch.nan)
    claimed, count = estimates.mask.sum(1), mask.sum(1)
    limits = error.new_tensor([ANGLE_DEG, ANGLE_DEG, RANGE_M])
    close = (torch.nan_to_num(error, nan=math.inf) < limits).all(-1) | ~mask
    return Judged(
        ospa_m=ospa(gap_BKK, estimates.mask, mask, CUTOFF_M),
        success=(claimed == count) & close.all(1),
        count=count,
        claimed=claimed,
        snr_db=batch.snr_db,
        coherent=batch.coherent,
        range_m=torch.nan_to_num(true[..., 2], nan=0.0).amax(1),
        error=error,
        distance_m=distance,
        found=found,
        true=true,
        pegged=view.at_limit(estimates.q) & estimates.mask,
        bordering=view.at_limit(q) & mask,
    )


def assign(cost_BKK: Tensor) -> Tensor:
    """For each column the row of the assignment of least total cost, [B, K]; exact, over all K! of them."""
    k = cost_BKK.shape[-1]
    orders_PK = _orders(k, cost_BKK.device)
    total_BP = sum(cost_BKK[:, orders_PK[:, column], column] for column in range(k))
    return orders_PK[total_BP.argmin(1)]


def ospa(gap_BKK: Tensor, found_BK: Tensor, there_BK: Tensor, cutoff: float) -> Tensor:
    """Optimal sub-pattern assignment distance of order 1, in [0, cutoff], [B].

    Source: Schuhmacher, Vo & Vo 2008, A consistent metric for performance evaluation of multi-object filters, eq. 3.
    """
    both = found_BK[:, :, None] & there_BK[:, None]
    neither = ~found_BK[:, :, None] & ~there_BK[:, None]
    cost = torch.where(both, gap_BKK.clamp_max(cutoff), torch.where(neither, 0.0, cutoff))
    row_BK = assign(cost)
    total = cost.gather(1, row_BK[:, None]).sum((1, 2))
    return total / torch.maximum(found_BK.sum(1), there_BK.sum(1)).clamp_min(1)


def joined(parts: list[Judged]) -> Judged:
    return Judged(*(torch.cat(field) for field in zip(*parts, strict=True)))


def summary(judged: Judged) -> dict[str, float]:
    """Scores of the scenes together. A figure that has no scene to stand on is left out."""
    hit = (torch.nan_to_num(judged.distance_m, nan=math.inf) < CUTOFF_M).sum()
    recall, precision = hit / judged.count.sum(), hit / judged.claimed.sum()
    clear = judged.snr_db >= 10
    scores = {
        "ospa": judged.ospa_m.mean(),
        "ospa_sem": _deviation(judged.ospa_m) / len(judged.ospa_m) ** 0.5,
        "success": judged.success.double().mean(),
        "k_acc": (judged.claimed == judged.count).double().mean(),
        "k_under": (judged.claimed < judged.count).double().mean(),
        "k_over": (judged.claimed > judged.count).double().mean(),
        "recall": recall,
        "precision": precision,
        "f1": 2 * hit / (judged.count.sum() + judged.claimed.sum()),
        "rmspe_m": judged.distance_m[~judged.distance_m.isnan()].square().mean().sqrt(),
        "k_acc_clear": (judged.claimed == judged.count)[clear].double().mean(),
        "ospa_clear": judged.ospa_m[clear].mean(),
        "ospa_noisy": judged.ospa_m[judged.snr_db < 0].mean(),
        "peg_clear": _share(judged.pegged[clear], judged.claimed[clear]),
        "border_clear": _share(judged.bordering[clear], judged.count[clear]),
    }
    for axis, name in enumerate(("phi_deg", "theta_deg", "r_m")):
        error, clear_error, found, true = (
            _present(x[..., axis]) for x in (judged.error, judged.error[clear], judged.found, judged.true)
        )
        scores |= {
            f"med_{name}": _quantile(error, 0.5),
            f"rmse_{name}": error.square().mean().sqrt(),
            f"p95_{name}": _quantile(error, 0.95),
            f"med_{name}_clear": _quantile(clear_error, 0.5),
            f"spread_{name}": _deviation(found) / _deviation(true),
        }
    return {name: float(value) for name, value in scores.items() if math.isfinite(float(value))}


class Bin(NamedTuple):
    """A mean over the scenes of one SNR bin, with its 95 % bootstrap interval."""

    low_db: float
    high_db: float
    scenes: int
    mean: float
    lower: float
    upper: float


def by_snr(value_B: Tensor, snr_db_B: Tensor, edges_db: tuple[float, ...]) -> list[Bin]:
    """The mean of a value in each SNR bin; bins without a scene are left out."""
    bins = []
    for low, high in zip(edges_db, edges_db[1:], strict=False):
        here = value_B[(snr_db_B >= low) & (snr_db_B < high)].double()
        if len(here):
            bins.append(Bin(low, high, len(here), float(here.mean()), *interval(here)))
    return bins


def interval(value_B: Tensor) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    draws = np.random.default_rng(derive("ris", "bootstrap"))
    value = value_B.detach().cpu().double().numpy()
    means = [value[draws.integers(0, len(value), len(value))].mean() for _ in range(BOOTSTRAPS)]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _match_cost(found: Tensor, true: Tensor, found_mask: Tensor, mask: Tensor) -> Tensor:
    """Distance of every estimate (row) from every source (column); pairs with a missing side are far."""
    unit = found.new_tensor([MATCH_ANGLE_DEG, MATCH_ANGLE_DEG, MATCH_RANGE_M])
    gap = ((found[:, :, None] - true[:, None]) / unit).square().sum(-1).sqrt()
    return torch.where(found_mask[:, :, None] & mask[:, None], gap, _FAR)


def _degrees(q: Tensor, mask: Tensor) -> Tensor:
    polar = to_polar(torch.where(mask[..., None], q, torch.ones_like(q)))
    scale = q.new_tensor([180 / math.pi, 180 / math.pi, 1.0])
    return torch.where(mask[..., None], polar * scale, torch.nan)


def _metres(q: Tensor, mask: Tensor) -> Tensor:
    return to_metres(torch.where(mask[..., None], q, torch.ones_like(q)))


def _present(values: Tensor) -> Tensor:
    return values[~values.isnan()]


def _quantile(values: Tensor, share: float) -> Tensor | float:
    return values.quantile(share) if len(values) else math.nan


def _deviation(values: Tensor) -> Tensor | float:
    return values.std() if len(values) > 1 else math.nan


def _share(flag_BK: Tensor, total_B: Tensor) -> Tensor:
    return flag_BK.sum() / total_B.sum()


@lru_cache(maxsize=16)
def _orders(k: int, device: torch.device) -> Tensor:
    return torch.tensor(list(permutations(range(k))), device=device)
