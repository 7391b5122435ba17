"""How far estimates are from the truth: matched errors with units, OSPA, and bootstrap intervals by SNR.

Matched errors hold no penalty for a missed source; misses and false alarms are counted.
Shapes: B scenes, K = k_max, P orders of K things.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise, permutations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo import Columns, derive
from objectives.ris.data import Batch
from objectives.ris.estimator import Estimates
from objectives.ris.geometry import View, to_metres, to_polar

CUTOFF_M = 1.0
ANGLE_DEG, RANGE_M = 2.0, 1.0  # a scene is a success if every error is below these
MATCH_ANGLE_DEG, MATCH_RANGE_M = 5.0, 1.0  # units of the distance that pairs estimates with sources
BOOTSTRAPS = 1000
_FAR = 1e6  # distance of a pair that lacks a side


class Judged(NamedTuple):
    """Estimates compared with the truth, scene by scene. Errors are those of true sources, NaN where unmatched."""

    ospa_m: Tensor  # [B]
    success: Tensor  # [B] bool
    source_count: Tensor  # [B]
    claimed: Tensor  # [B]: how many sources the estimates claim
    snr_db: Tensor  # [B]
    coherent: Tensor  # [B] bool
    range_m: Tensor  # [B]: of the farthest source
    error: Tensor  # [B, K, 3]: phi (deg), theta (deg), r (m), absolute
    distance_m: Tensor  # [B, K]
    estimated: Tensor  # [B, K, 3]: phi (deg), theta (deg), r (m) of the estimates; NaN where none is claimed
    true: Tensor  # [B, K, 3]: the same for the sources
    estimate_at_limit: Tensor  # [B, K] bool: of the box
    source_at_limit: Tensor  # [B, K] bool


def judge(estimates: Estimates, batch: Batch, view: View) -> Judged:
    """Pair estimates with sources so that the total distance is least, exactly, and measure the errors."""
    q, mask = batch.q.double(), batch.mask > 0
    true, estimated = _degrees(q, mask), _degrees(estimates.q, estimates.mask)
    pair_BK = assign(_match_cost(estimated, true, estimates.mask, mask))  # the estimate of each source
    matched = mask & estimates.mask.gather(1, pair_BK)
    paired = estimated.gather(1, pair_BK[..., None].expand(-1, -1, 3))
    error = torch.where(matched[..., None], (paired - true).abs(), torch.nan)
    gap_BKK = torch.cdist(to_metres(estimates.q), _metres(q, mask))
    distance = torch.where(matched, gap_BKK.mT.gather(2, pair_BK[..., None])[..., 0], torch.nan)
    claimed, count = estimates.mask.sum(1), mask.sum(1)
    limits = error.new_tensor([ANGLE_DEG, ANGLE_DEG, RANGE_M])
    close = (torch.nan_to_num(error, nan=math.inf) < limits).all(-1) | ~mask
    return Judged(
        ospa_m=ospa(gap_BKK, estimates.mask, mask, CUTOFF_M),
        success=(claimed == count) & close.all(1),
        source_count=count,
        claimed=claimed,
        snr_db=batch.snr_db,
        coherent=batch.coherent,
        range_m=torch.nan_to_num(true[..., 2], nan=0.0).amax(1),
        error=error,
        distance_m=distance,
        estimated=estimated,
        true=true,
        estimate_at_limit=view.at_limit(estimates.q) & estimates.mask,
        source_at_limit=view.at_limit(q) & mask,
    )


def assign(cost_BKK: Tensor) -> Tensor:
    """The row of each column, [B, K], in the assignment of least total cost: exact, by a search of all K! of them."""
    k = cost_BKK.shape[-1]
    orders_PK = _orders(k, cost_BKK.device)
    total_BP = cost_BKK[:, orders_PK[:, 0], 0]
    for column in range(1, k):
        total_BP = total_BP + cost_BKK[:, orders_PK[:, column], column]
    return orders_PK[total_BP.argmin(1)]


def ospa(gap_BKK: Tensor, claimed_BK: Tensor, present_BK: Tensor, cutoff: float) -> Tensor:
    """Optimal sub-pattern assignment distance of order 1, in [0, cutoff], [B].

    Distances [B, estimate, source]; which estimates are claimed, and which sources are present.

    Source: Schuhmacher, Vo & Vo 2008, A consistent metric for performance evaluation of multi-object filters, eq. 3.
    """
    both = claimed_BK[:, :, None] & present_BK[:, None]
    neither = ~claimed_BK[:, :, None] & ~present_BK[:, None]
    cost = torch.where(both, gap_BKK.clamp_max(cutoff), torch.where(neither, 0.0, cutoff))
    row_BK = assign(cost)
    total = cost.gather(1, row_BK[:, None]).sum((1, 2))
    return total / torch.maximum(claimed_BK.sum(1), present_BK.sum(1)).clamp_min(1)


def judged_from(columns: Columns) -> Judged:
    """What `judge` said of the scenes, from columns named as its fields."""
    return Judged(**{name: columns[name] for name in Judged._fields})


def summary(judged: Judged) -> dict[str, float]:
    """Scores over all scenes. A figure that no scene contributes to is left out.

    `_clear` is 10 dB and more, `_noisy` below 0 dB.
    """
    clear = judged.snr_db >= 10
    scores: dict[str, Tensor | float] = {
        "ospa": judged.ospa_m.mean(),
        "ospa_sem": _deviation(judged.ospa_m) / len(judged.ospa_m) ** 0.5,
        "success": judged.success.double().mean(),
        **_count_scores(judged, clear),
        "rmspe_m": _present(judged.distance_m).square().mean().sqrt(),
        "ospa_clear": judged.ospa_m[clear].mean(),
        "ospa_noisy": judged.ospa_m[judged.snr_db < 0].mean(),
        "peg_clear": _share(judged.estimate_at_limit[clear], judged.claimed[clear]),
        "border_clear": _share(judged.source_at_limit[clear], judged.source_count[clear]),
    }
    for axis, name in enumerate(("phi_deg", "theta_deg", "r_m")):
        error = _present(judged.error[..., axis])
        scores |= {
            f"med_{name}": _quantile(error, 0.5),
            f"rmse_{name}": error.square().mean().sqrt(),
            f"p95_{name}": _quantile(error, 0.95),
            f"med_{name}_clear": _quantile(_present(judged.error[clear][..., axis]), 0.5),
            f"spread_{name}": _deviation(_present(judged.estimated[..., axis]))
            / _deviation(_present(judged.true[..., axis])),
        }
    return {name: float(value) for name, value in scores.items() if math.isfinite(float(value))}


def _count_scores(judged: Judged, clear: Tensor) -> dict[str, Tensor]:
    """How well sources are counted and met. An estimate meets a source where they are closer than the cutoff."""
    met = (torch.nan_to_num(judged.distance_m, nan=math.inf) < CUTOFF_M).sum()
    claimed, count = judged.claimed, judged.source_count
    return {
        "k_acc": (claimed == count).double().mean(),
        "k_under": (claimed < count).double().mean(),
        "k_over": (claimed > count).double().mean(),
        "k_acc_clear": (claimed == count)[clear].double().mean(),
        "recall": met / count.sum(),
        "precision": met / claimed.sum(),
        "f1": 2 * met / (count.sum() + claimed.sum()),
    }


class Bin(NamedTuple):
    """A mean over the scenes of one SNR bin, with its 95 % bootstrap interval."""

    low_db: float
    high_db: float
    scenes: int
    mean: float
    lower: float
    upper: float


def by_snr(value_B: Tensor, snr_db_B: Tensor, edges_db: tuple[float, ...]) -> list[Bin]:
    """The mean of a value in each SNR bin. Bins without a scene are left out."""
    bins = []
    for low, high in pairwise(edges_db):
        in_bin = value_B[(snr_db_B >= low) & (snr_db_B < high)].double()
        if len(in_bin):
            bins.append(Bin(low, high, len(in_bin), float(in_bin.mean()), *interval(in_bin)))
    return bins


def interval(value_B: Tensor) -> tuple[float, float]:
    """95 % bootstrap interval of the mean. The resamples are the same at every call."""
    draws = np.random.default_rng(derive("ris", "bootstrap"))
    value = value_B.detach().cpu().double().numpy()
    means = [value[draws.integers(0, len(value), len(value))].mean() for _ in range(BOOTSTRAPS)]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _match_cost(estimated: Tensor, true: Tensor, claimed: Tensor, present: Tensor) -> Tensor:
    """Distance of every estimate (row) from every source (column). Pairs with a missing side are far."""
    unit = estimated.new_tensor([MATCH_ANGLE_DEG, MATCH_ANGLE_DEG, MATCH_RANGE_M])
    gap = ((estimated[:, :, None] - true[:, None]) / unit).square().sum(-1).sqrt()
    return torch.where(claimed[:, :, None] & present[:, None], gap, _FAR)


def _degrees(q: Tensor, mask: Tensor) -> Tensor:
    """phi (deg), theta (deg), r (m); NaN where the mask is off."""
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
