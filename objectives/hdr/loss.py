"""The loss terms and the scores. The score is the PSNR after a tone curve (mu-law), which is close to what is visible.

Shapes: light [B, 3, H, W], linear and at least 0; masks [B, 1, H, W]; each term is a scalar, each score [B].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo import Columns, means
from objectives.common.image_scores import MAX_PSNR_DB, ssim
from objectives.common.perceptual import Backend, perceptual_distance, sobel
from objectives.hdr.data import EPS, Batch, log_light, without_layers
from objectives.hdr.fill import dilated, eroded
from objectives.hdr.model import HARD_CLAMP, Filled, LogResidualUNet, predict

LogLoss = Literal["huber", "l1", "charbonnier"]
LOG_LOSSES: tuple[LogLoss, ...] = ("huber", "l1", "charbonnier")
MU = 5000.0  # Kalantari & Ramamoorthi 2017, eq. 5
PEAK_QUANTILE = 0.999  # of the target's values: it counts as white
CHARBONNIER = 1e-3
WIDE = 6.0  # a larger residual is penalised
TOO_BRIGHT = 4.0  # times the target's largest value: brighter light counts as overflow
OVERFLOW_PENALTY_DB = 10.0
PARTIAL = ("psnr_mu_crack", "psnr_mu_disocc", "score_composed", "score_rendered")  # scores of some pictures alone


class Weights(NamedTuple):
    """Weights of the loss terms, and the kind of supervision in the log domain."""

    log: float = 2.0
    tone: float = 1.0
    edge: float = 0.5
    wide: float = 1.0
    perceptual: float = 0.0
    hole: float = 5.0  # extra weight of a pixel in a hole, in `tone`
    log_loss: LogLoss = "huber"
    huber_delta: float = 0.2


# -- tone ------------------------------------------------------------------------------------------------------------
def tone(light: Tensor, peak_B111: Tensor) -> Tensor:
    """Tone-mapped light in [0, 1]: log(1 + MU x) / log(1 + MU). Source: Kalantari & Ramamoorthi 2017, eq. 5."""
    return torch.log1p(MU * (light / peak_B111).clamp(0, 1)) / math.log1p(MU)


def white_level(target: Tensor) -> Tensor:
    """[B, 1, 1, 1]: the light that counts as white in each target."""
    return torch.quantile(target.flatten(1), PEAK_QUANTILE, dim=1).clamp(min=1e-6).view(-1, 1, 1, 1)


# -- terms -----------------------------------------------------------------------------------------------------------
def terms(out: Filled, hole: Tensor, target: Tensor, weights: Weights, backend: Backend) -> dict[str, Tensor]:
    """The weighted terms by name. A term of weight 0 is not computed, and is 0."""
    white = white_level(target)
    toned = tone(out.light_B3HW, white)
    toned_target = tone(target, white)
    around = dilated(hole, 5).float()
    compute: dict[str, tuple[float, Callable[[], Tensor]]] = {
        "log": (weights.log, lambda: log_supervision(out, target, weights)),
        "tone": (weights.tone, lambda: ((toned - toned_target).abs() * (1 + weights.hole * hole)).mean()),
        "edge": (weights.edge, lambda: _masked_mean((sobel(toned) - sobel(toned_target)).abs(), around).mean()),
        "wide": (weights.wide, lambda: torch.relu(out.raw_B3HW.abs() - WIDE).mean()),
        "perceptual": (weights.perceptual, lambda: perceptual_distance(backend, toned, toned_target).mean()),
    }
    zero = target.new_zeros(())
    return {name: weight * term() if weight else zero for name, (weight, term) in compute.items()}


def log_supervision(out: Filled, target: Tensor, weights: Weights) -> Tensor:
    """Distance of the residual from the correct one, with its sign; mean over the holes and their ring."""
    error = out.start_B3HW + out.delta_B3HW - log_light(target)
    if weights.log_loss == "huber":
        size = F.smooth_l1_loss(error, torch.zeros_like(error), beta=weights.huber_delta, reduction="none")
    elif weights.log_loss == "l1":
        size = error.abs()
    else:
        size = (error**2 + CHARBONNIER**2).sqrt()
    return _masked_mean(size, out.weight_B1HW).mean()


# -- scores ----------------------------------------------------------------------------------------------------------
def model_scores(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The scores of a model and the signs of its health, for each picture, [B].

    score_without_layers is the score of the same model where neither layers nor motion are known.
    """
    out = predict(model, batch)
    references = score_references(batch)
    scale = cast(LogResidualUNet, model).scale
    hidden = without_layers(batch, torch.ones_like(batch.rendered_B, dtype=torch.bool))
    without = light_scores(predict(model, hidden).light_B3HW, *references)["score"]
    scores = light_scores(out.light_B3HW, *references)
    return (
        scores | by_kind(scores["score"], batch) | {"score_without_layers": without} | health(out, *references, scale)
    )


def by_kind(score_B: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The score among composed frames and among rendered ones, [B]; NaN for a frame of the other kind."""
    is_rendered = batch.rendered_B > 0
    return {
        "score_composed": score_B.masked_fill(is_rendered, math.nan),
        "score_rendered": score_B.masked_fill(~is_rendered, math.nan),
    }


def score_references(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Holes, filled picture and target of a batch, in the order in which the scores take them."""
    return batch.hole_B1SS, batch.base_log_B3SS, batch.target_B3SS


def light_scores(light: Tensor, hole: Tensor, base_log: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Scores of each picture, [B]. If a picture has no crack, or no disocclusion, that score is NaN.

    score            psnr_mu_hole - 10 min(1, 100 overflow_rate): the goal
    psnr_mu_hole     PSNR after the tone curve, dB, in holes alone;  psnr_mu: everywhere
    gain_db          psnr_mu_hole minus that of the filled picture that the network starts from
    psnr_mu_crack    in holes less than three pixels wide;  psnr_mu_disocc: in the others
    ssim_mu          SSIM after the tone curve
    log_error        mean |error of log(light + EPS)| in holes
    overflow_rate    share of values that are not finite, or above 4 times the target's largest value
    """
    white = white_level(target)
    toned = tone(light, white)
    toned_target = tone(target, white)
    wide = dilated(eroded(hole > 0.5, 3), 3) & (hole > 0.5)
    error = (toned - toned_target) ** 2
    base_error = (tone(torch.exp(base_log) - EPS, white) - toned_target) ** 2
    without_hole = (hole.sum((1, 2, 3), keepdim=True) == 0).to(hole.dtype)
    in_holes = hole + without_hole  # a picture without a hole is judged as a whole
    too_bright = light > TOO_BRIGHT * target.amax((1, 2, 3), keepdim=True)
    overflow = (~torch.isfinite(light) | too_bright).float()
    scores = {
        "psnr_mu_hole": psnr_db(error, in_holes),
        "psnr_mu": psnr_db(error, torch.ones_like(hole)),
        "psnr_mu_crack": psnr_db(error, (hole > 0.5) & ~wide),
        "psnr_mu_disocc": psnr_db(error, wide),
        "ssim_mu": ssim(toned, toned_target),
        "log_error": _masked_mean((log_light(light) - log_light(target)).abs(), in_holes),
        "overflow_rate": overflow.mean((1, 2, 3)),
    }
    scores["gain_db"] = scores["psnr_mu_hole"] - psnr_db(base_error, in_holes)
    goal = scores["psnr_mu_hole"] - OVERFLOW_PENALTY_DB * (100 * scores["overflow_rate"]).clamp(max=1)
    return {"score": goal, **scores}


def health(out: Filled, hole: Tensor, base_log: Tensor, target: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """Signs of a residual at its bounds, for each picture, [B]."""
    raw = out.raw_B3HW.abs()
    reach = torch.clamp(scale, max=HARD_CLAMP)
    needed = (log_light(target) - base_log).abs()
    return {
        "clamp_rate": (raw >= HARD_CLAMP).float().mean((1, 2, 3)),
        "saturated": (raw > 0.99 * scale).float().mean((1, 2, 3)),
        "unreachable": _masked_mean((needed > reach).float(), hole),
        "largest_delta": out.delta_B3HW.abs().amax((1, 2, 3)),
        "scale": scale.detach().float().expand(len(raw)),
    }


def psnr_db(squared_error: Tensor, mask_B1HW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture inside a mask, for a peak of 1, at most MAX_PSNR_DB; NaN if the mask
    is empty."""
    mask = mask_B1HW.to(squared_error.dtype)
    mean = (squared_error * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)))
    return -10 * torch.log10(mean.clamp(min=10 ** (-MAX_PSNR_DB / 10)))


def measured_means(columns: Columns) -> dict[str, float]:
    """Means over the pictures.

    The scores of cracks and disocclusions are means over the pictures that have any, those of composed and rendered
    frames over the pictures of that kind; one without a picture is left out. Any other score that is not finite makes
    its mean not finite: it is never hidden.
    """
    measured = {name: columns[name][~columns[name].isnan()] for name in PARTIAL}
    return means({name: column for name, column in {**columns, **measured}.items() if len(column)})


def _masked_mean(values: Tensor, mask_B1HW: Tensor) -> Tensor:
    """The mean of each picture over a mask, [B]; 0 if the mask is empty."""
    mask = mask_B1HW.to(values.dtype)
    channels = values.shape[1]
    return (values * mask).sum((1, 2, 3)) / (channels * mask.sum((1, 2, 3))).clamp(min=1e-6)
