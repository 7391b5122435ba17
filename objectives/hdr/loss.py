"""The loss terms and the scores. Only scores say how near two pictures of light are as they are seen: mu-law PSNR.

Shapes: light [B, 3, H, W], linear and at least 0; masks [B, 1, H, W]; each term is a scalar, each score [B].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.image_scores import MAX_PSNR_DB, ssim
from objectives.common.perceptual import Backend, perceptual_distance, sobel
from objectives.hdr.data import EPS, log_light
from objectives.hdr.fill import dilated, eroded
from objectives.hdr.model import HARD_CLAMP, Filled

LogLoss = Literal["huber", "l1", "charbonnier"]
LOG_LOSSES: tuple[LogLoss, ...] = ("huber", "l1", "charbonnier")
MU = 5000.0  # Kalantari & Ramamoorthi 2017, eq. 5
PEAK_QUANTILE = 0.999  # of the target's values: what counts as white
CHARBONNIER = 1e-3
WIDE = 6.0  # beyond which a residual's size is penalised
TOO_BRIGHT = 4.0  # times the target's largest value: overflow
OVERFLOW_PENALTY_DB = 10.0


class Weights(NamedTuple):
    """Of the loss terms, and the shape of the supervision in the log domain."""

    log: float = 2.0
    tone: float = 1.0
    edge: float = 0.5
    wide: float = 1.0
    perceptual: float = 0.0
    hole: float = 5.0  # how much more a hole's pixel counts in `tone`
    log_loss: LogLoss = "huber"
    huber_delta: float = 0.2


# -- tone ------------------------------------------------------------------------------------------------------------
def tone(light: Tensor, peak_B111: Tensor) -> Tensor:
    """Light as it is seen, in [0, 1]: log(1 + MU x) / log(1 + MU). Source: Kalantari & Ramamoorthi 2017, eq. 5."""
    return torch.log1p(MU * (light / peak_B111).clamp(0, 1)) / math.log1p(MU)


def peak_of(target: Tensor) -> Tensor:
    """[B, 1, 1, 1]: each target's own white."""
    return torch.quantile(target.flatten(1), PEAK_QUANTILE, dim=1).clamp(min=1e-6).view(-1, 1, 1, 1)


# -- terms -----------------------------------------------------------------------------------------------------------
def terms(
    out: Filled, base_log: Tensor, hole: Tensor, target: Tensor, weights: Weights, backend: Backend
) -> dict[str, Tensor]:
    """The weighted terms by name. One whose weight is 0 is a zero that was not computed."""
    peak = peak_of(target)
    seen, wanted = tone(out.light_B3HW, peak), tone(target, peak)
    around = dilated(hole, 5).float()
    compute: dict[str, tuple[float, Callable[[], Tensor]]] = {
        "log": (weights.log, lambda: log_supervision(out, base_log, target, weights)),
        "tone": (weights.tone, lambda: ((seen - wanted).abs() * (1 + weights.hole * hole)).mean()),
        "edge": (weights.edge, lambda: _masked((sobel(seen) - sobel(wanted)).abs(), around).mean()),
        "wide": (weights.wide, lambda: torch.relu(out.raw_B3HW.abs() - WIDE).mean()),
        "perceptual": (weights.perceptual, lambda: perceptual_distance(backend, seen, wanted).mean()),
    }
    return {name: weight * of() if weight else target.new_zeros(()) for name, (weight, of) in compute.items()}


def log_supervision(out: Filled, base_log: Tensor, target: Tensor, weights: Weights) -> Tensor:
    """How far the residual is from the one that is right, sign and all; averaged over the holes and their ring."""
    error = out.delta_B3HW - (log_light(target) - base_log)
    if weights.log_loss == "huber":
        size = F.smooth_l1_loss(error, torch.zeros_like(error), beta=weights.huber_delta, reduction="none")
    elif weights.log_loss == "l1":
        size = error.abs()
    else:
        size = (error**2 + CHARBONNIER**2).sqrt()
    return _masked(size, out.weight_B1HW).mean()


# -- scores ----------------------------------------------------------------------------------------------------------
def light_scores(light: Tensor, hole: Tensor, base_log: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Scores of each picture, [B]. Where a picture has no crack, or no disocclusion, that score is NaN.

    score            psnr_mu_hole - 10 min(1, 100 overflow_rate): the goal
    psnr_mu_hole     dB, of what is seen (mu-law) in holes alone;  psnr_mu: everywhere
    gain_db          psnr_mu_hole above that of the filled picture that the network began with
    psnr_mu_crack    in holes less than three pixels wide;  psnr_mu_disocc: in the others
    ssim_mu          of what is seen
    log_error        mean |error of log(light + EPS)| in holes
    overflow_rate    share of pixels that are not finite, or above 4 times the target's largest
    """
    peak = peak_of(target)
    seen, wanted = tone(light, peak), tone(target, peak)
    wide = dilated(eroded(hole > 0.5, 3), 3) & (hole > 0.5)
    error = (seen - wanted) ** 2
    base_error = (tone(torch.exp(base_log) - EPS, peak) - wanted) ** 2
    without = (hole.sum((1, 2, 3), keepdim=True) == 0).to(hole.dtype)
    in_holes = hole + without  # a picture without a hole is judged as a whole
    overflow = (~torch.isfinite(light) | (light > TOO_BRIGHT * target.amax((1, 2, 3), keepdim=True))).float()
    scores = {
        "psnr_mu_hole": psnr_db(error, in_holes),
        "psnr_mu": psnr_db(error, torch.ones_like(hole)),
        "psnr_mu_crack": psnr_db(error, (hole > 0.5) & ~wide),
        "psnr_mu_disocc": psnr_db(error, wide),
        "ssim_mu": ssim(seen, wanted),
        "log_error": _masked((log_light(light) - log_light(target)).abs(), in_holes),
        "overflow_rate": overflow.mean((1, 2, 3)),
    }
    scores["gain_db"] = scores["psnr_mu_hole"] - psnr_db(base_error, in_holes)
    goal = scores["psnr_mu_hole"] - OVERFLOW_PENALTY_DB * (100 * scores["overflow_rate"]).clamp(max=1)
    return {"score": goal, **scores}


def health(out: Filled, hole: Tensor, base_log: Tensor, target: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """Signs of a residual at its bounds, of each picture, [B]."""
    raw, reach = out.raw_B3HW.abs(), torch.clamp(scale, max=HARD_CLAMP)
    needed = (log_light(target) - base_log).abs()
    return {
        "clamp_rate": (raw >= HARD_CLAMP).float().mean((1, 2, 3)),
        "saturated": (raw > 0.99 * scale).float().mean((1, 2, 3)),
        "unreachable": _masked((needed > reach).float(), hole),
        "largest_delta": out.delta_B3HW.abs().amax((1, 2, 3)),
        "scale": scale.detach().float().expand(len(raw)),
    }


def psnr_db(squared_error: Tensor, mask_B1HW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture inside a mask, for a peak of 1, at most MAX_PSNR_DB; NaN where the
    mask is empty."""
    mask = mask_B1HW.to(squared_error.dtype)
    mean = (squared_error * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)))
    return -10 * torch.log10(mean.clamp(min=10 ** (-MAX_PSNR_DB / 10)))


def mean_scores(parts: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Means over the pictures; of cracks and disocclusions over those that have any, and left out where none has. A
    score that is not finite elsewhere makes the mean so, and is never hidden."""
    joined = {name: torch.cat([part[name] for part in parts]).double() for name in parts[0]}
    regions = {name: joined.pop(name) for name in ("psnr_mu_crack", "psnr_mu_disocc")}
    found = {name: values[~values.isnan()] for name, values in regions.items()}
    return {name: float(values.mean()) for name, values in {**joined, **found}.items() if len(values)}


def _masked(values: Tensor, mask_B1HW: Tensor) -> Tensor:
    """Each picture's mean over a mask, [B]; 0 where that is empty."""
    mask = mask_B1HW.to(values.dtype)
    channels = values.shape[1]
    return (values * mask).sum((1, 2, 3)) / (channels * mask.sum((1, 2, 3))).clamp(min=1e-6)
