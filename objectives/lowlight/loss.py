"""The loss terms, their weights over the three stages of a run, and the scores.

Shapes: images [B, 3, H, W] in [0, 1]; each term is a scalar, each score [B]. A target is the picture in good light.
No term and no sum of terms is clamped: above its bound a clamped sum has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo import Columns, blend, means, ramp, ramped
from objectives.common.colour import luma, round8, saturation
from objectives.common.image_scores import MS_SSIM_MIN_SIDE, ms_ssim, psnr_db, ssim
from objectives.common.perceptual import Backend, perceptual_distance, sobel
from objectives.lowlight.data import Batch
from objectives.lowlight.model import Enhanced

TERMS = (
    "reconstruction",
    "ssim",
    "color_consistency",
    "color_diversity",
    "edge",
    "exposure",
    "mask_mean",
    "perceptual",
)
# Stage 1 finds exposure and colour, stage 2 adds structure, stage 3 polishes.
STAGES = (
    dict(zip(TERMS, (1.20, 0.60, 0.20, 0.30, 0.00, 0.00, 0.00, 0.00), strict=True)),
    dict(zip(TERMS, (1.35, 0.45, 0.07, 0.07, 0.12, 0.07, 0.03, 0.00), strict=True)),
    dict(zip(TERMS, (0.90, 0.45, 0.10, 0.12, 0.20, 0.04, 0.08, 0.06), strict=True)),
)
RAMPED = ("color_consistency", "color_diversity", "exposure", "edge")  # these terms alone rise from 0 in stage 2
BLEND2_SHARE = 0.14  # of stage 2 in which its weights replace those of stage 1
BLEND3_SHARE = 0.125  # of stage 3 in which its weights replace those of stage 2
MIN_SATURATION = 0.10  # below it the score is lower
CRITICAL_SATURATION = 0.04  # below it the picture counts as grey


# -- weights -------------------------------------------------------------------------------------------------------
def multiplied(weights: Mapping[str, float], *, ssim: float, edge: float, color: float) -> dict[str, float]:
    """The weights of a stage, times the searched factors."""
    factors = {"ssim": ssim, "edge": edge, "color_consistency": color, "color_diversity": color}
    return {name: weight * factors.get(name, 1.0) for name, weight in weights.items()}


def stage2_weights(weights: Mapping[str, float], epoch: int, warm: int) -> dict[str, float]:
    """The weights `epoch` epochs after the start of stage 2: the ramped terms rise from 0 over `warm` epochs."""
    return ramped(weights, ramp(epoch, warm), excluding=set(weights) - set(RAMPED))


def weights_at(
    epoch: int, edges: tuple[int, int], epochs: int, stages: tuple[Mapping[str, float], ...], ramp_share: float
) -> dict[str, float]:
    """The weights of an epoch. Stage 2 begins at epoch edges[0], stage 3 at edges[1].

    Each stage begins with a transition from the old weights to the new ones, in equal steps: over 15 epochs if stage 2
    has 110, and over 5 if stage 3 has 40.
    """
    first, second, third = stages
    second_start, third_start = edges
    if epoch < second_start:
        return dict(first)
    if epoch < third_start:
        elapsed = epoch - second_start
        length = third_start - second_start
        new = stage2_weights(second, elapsed, max(1, round(ramp_share * length)))
        return blend(first, new, _share_of_new(elapsed, BLEND2_SHARE * length))
    return blend(second, third, _share_of_new(epoch - third_start, BLEND3_SHARE * (epochs - third_start)))


def _share_of_new(elapsed: int, length: float) -> float:
    """Share of the new weights after `elapsed` epochs of a transition over `length` epochs. It is 1 from then on, and
    never 0, so that a stage of one epoch has an effect too."""
    return min(1.0, (elapsed + 1) / (max(1, round(length)) + 1))


# -- terms ---------------------------------------------------------------------------------------------------------
def terms(
    enhanced: Tensor, target: Tensor, mask_B1HW: Tensor, weights: Mapping[str, float], backend: Backend
) -> dict[str, Tensor]:
    """The weighted terms by name. A term of weight 0 is not computed, and is 0."""
    enhanced, target, mask = enhanced.float(), target.float(), mask_B1HW.float()
    compute: dict[str, Callable[[], Tensor]] = {
        "reconstruction": lambda: (enhanced - target).abs().mean(),
        "ssim": lambda: 1 - ssim(enhanced, target).mean(),
        "color_consistency": lambda: color_consistency(enhanced, target),
        "color_diversity": lambda: color_diversity(enhanced),
        "edge": lambda: (sobel(enhanced) - sobel(target)).abs().mean(),
        "exposure": lambda: exposure(enhanced, target),
        "mask_mean": lambda: (mask.mean() - 0.5) ** 2,
        "perceptual": lambda: perceptual_distance(backend, enhanced, target).mean(),
    }
    zero = enhanced.new_zeros(())
    with torch.autocast(enhanced.device.type, enabled=False):
        return {name: weights[name] * compute[name]() if weights[name] else zero for name in TERMS}


def exposure(enhanced: Tensor, target: Tensor) -> Tensor:
    """Difference of local brightness: of the means of 16 x 16 pixels of luma."""
    return (F.avg_pool2d(luma(enhanced), 16) - F.avg_pool2d(luma(target), 16)).abs().mean()


def color_consistency(enhanced: Tensor, target: Tensor) -> Tensor:
    """Differences of chromaticity, of saturation (only where too little), and half of that of hue."""
    chromaticity = F.mse_loss(_chromaticity(enhanced), _chromaticity(target))
    missing = torch.relu(saturation(target, offset=0.01) - saturation(enhanced, offset=0.01)).mean()
    return chromaticity + missing + 0.5 * hue(enhanced, target)


def hue(enhanced: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of the angle between the colours' directions from grey, weighted by the distance of the target's
    colour from grey. It is smooth everywhere; an angle defined by the largest channel jumps."""
    direction = enhanced - enhanced.mean(1, keepdim=True)
    target_direction = target - target.mean(1, keepdim=True)
    weight = _norm(target_direction)
    cosine = (direction * target_direction).sum(1) / (_norm(direction) * weight)
    return (weight * (1 - cosine)).sum() / weight.sum()


def color_diversity(enhanced: Tensor) -> Tensor:
    """High for a grey picture: 0.5 exp(-15 D) + 0.5 exp(-10 S), with D the mean difference between channels and S the
    mean saturation of each picture. The gradient of an exactly grey picture is 0, by symmetry."""
    red, green, blue = enhanced.unbind(1)
    differences = ((red - green).abs() + (green - blue).abs() + (blue - red).abs()).mean((-2, -1)) / 3
    mean_saturation = saturation(enhanced).mean((-3, -2, -1))
    return (0.5 * torch.exp(-15 * differences) + 0.5 * torch.exp(-10 * mean_saturation)).mean()


def _chromaticity(rgb: Tensor) -> Tensor:
    """Share of each channel in the sum of the channels."""
    return rgb / (rgb.sum(1, keepdim=True) + 0.01)


def _norm(rgb: Tensor) -> Tensor:
    return ((rgb**2).sum(1) + 1e-8).sqrt()


# -- scores --------------------------------------------------------------------------------------------------------
def model_scores(model: nn.Module, batch: Batch, backend: Backend) -> dict[str, Tensor]:
    """The scores of a model and the signs of its health, for each picture, [B]."""
    out = model(batch.low_B3SS)
    return image_scores(out.enhanced_B3HW, batch.high_B3SS, backend) | health(out)


def image_scores(enhanced: Tensor, target: Tensor, backend: Backend) -> dict[str, Tensor]:
    """Scores of each picture, [B], rounded as in an 8-bit file.

    score        0.7 psnr_db + 0.3 * 20 ssim - max(0, 0.10 - saturation): the goal
    psnr_db      peak signal-to-noise ratio, dB;  psnr_gtmean_db: after scaling to the target's mean
    ssim         Gaussian window of 11;  ms_ssim: from 161 pixels a side on
    saturation   mean of HSV's S
    `backend`    perceptual distance from the target, under the name of its back-end
    """
    enhanced, target = round8(enhanced.float()), target.float()
    gain = target.mean((1, 2, 3)) / enhanced.mean((1, 2, 3)).clamp(min=1e-6)
    scaled = (enhanced * gain.view(-1, 1, 1, 1)).clamp(0, 1)
    mean_saturation = saturation(enhanced).mean((-3, -2, -1))
    scores = {"psnr_db": psnr_db(enhanced, target), "ssim": ssim(enhanced, target)}
    if min(enhanced.shape[-2:]) >= MS_SSIM_MIN_SIDE:
        scores["ms_ssim"] = ms_ssim(enhanced, target)
    scores["psnr_gtmean_db"] = psnr_db(scaled, target)
    scores["saturation"] = mean_saturation
    scores[backend] = perceptual_distance(backend, enhanced, target)
    goal = 0.7 * scores["psnr_db"] + 0.3 * 20 * scores["ssim"] - torch.relu(MIN_SATURATION - mean_saturation)
    return {"score": goal, **scores}


def health(out: Enhanced) -> dict[str, Tensor]:
    """Signs of a network that has collapsed, for each picture, [B]."""
    return {
        "output_std": out.enhanced_B3HW.float().flatten(1).std(1),
        "alpha": out.alpha_BAHW.float().abs().mean((1, 2, 3)),
        "mask": out.mask_B1HW.float().mean((1, 2, 3)),
    }


def finite_means(columns: Columns) -> dict[str, float]:
    """Means over the pictures whose scores are all finite, and `skipped`, the share of the other pictures.

    If no picture has finite scores, every score is NaN: such a run must fail, and not score 0.
    """
    finite = torch.isfinite(torch.stack(list(columns.values()))).all(0)
    finite_columns = {name: column[finite] for name, column in columns.items()}
    return {**means(finite_columns), "skipped": float((~finite).double().mean())}  # the mean of nothing is NaN
