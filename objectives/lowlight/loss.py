"""The loss terms, their weights over the three stages of a run, and the scores.

Shapes: images [B, 3, H, W] in [0, 1]; each term is a scalar, each score [B]. A target is the well-lit picture.
Nothing here is ever clamped as a whole: a clamped sum has no gradient above its bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from hpo.schedule import blend, ramp, ramped
from objectives.common.colour import luma, round8, saturation
from objectives.common.image_scores import MS_SSIM_MIN_SIDE, ms_ssim, psnr_db, ssim
from objectives.common.perceptual import Backend, perceptual_distance, sobel

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
RAMPED = ("color_consistency", "color_diversity", "exposure", "edge")  # rise from 0 in stage 2; no other term does
MIN_SATURATION, CRITICAL_SATURATION = 0.10, 0.04


# -- weights -------------------------------------------------------------------------------------------------------
def multiplied(weights: Mapping[str, float], *, ssim: float, edge: float, color: float) -> dict[str, float]:
    """A stage's weights times the multipliers that are searched."""
    factors = {"ssim": ssim, "edge": edge, "color_consistency": color, "color_diversity": color}
    return {name: weight * factors.get(name, 1.0) for name, weight in weights.items()}


def stage2_weights(weights: Mapping[str, float], epoch: int, warm: int) -> dict[str, float]:
    """Stage 2's weights `epoch` epochs into it: the ramped terms rise from 0 over `warm` epochs."""
    return ramped(weights, ramp(epoch, warm), excluding=set(weights) - set(RAMPED))


def weights_at(
    epoch: int, edges: tuple[int, int], epochs: int, stages: tuple[Mapping[str, float], ...], ramp_share: float
) -> dict[str, float]:
    """The weights of an epoch, a function of nothing else: stage 2 begins at epoch edges[0], stage 3 at edges[1].

    A stage begins by passing from the old weights to the new, in equal steps: over 15 epochs where stage 2 has 110, and
    over 5 where stage 3 has 40.
    """
    first, second, third = stages
    if epoch < edges[0]:
        return dict(first)
    into, length = epoch - edges[0], edges[1] - edges[0]
    if epoch < edges[1]:
        new = stage2_weights(second, into, max(1, round(ramp_share * length)))
        return blend(first, new, _passed(into, 0.14 * length))
    into, length = epoch - edges[1], epochs - edges[1]
    return blend(second, third, _passed(into, 0.125 * length))


def _passed(into: int, length: float) -> float:
    """Share of the new weights `into` epochs into a stage: 1 after `length` epochs, and never 0, so that a stage of one
    epoch has a say too."""
    return min(1.0, (into + 1) / (max(1, round(length)) + 1))


# -- terms ---------------------------------------------------------------------------------------------------------
def terms(
    enhanced: Tensor, target: Tensor, mask_B1HW: Tensor, weights: Mapping[str, float], backend: Backend
) -> dict[str, Tensor]:
    """The weighted terms by name. One whose weight is 0 is a zero that was not computed."""
    e, t, mask = enhanced.float(), target.float(), mask_B1HW.float()
    compute: dict[str, Callable[[], Tensor]] = {
        "reconstruction": lambda: (e - t).abs().mean(),
        "ssim": lambda: 1 - ssim(e, t).mean(),
        "color_consistency": lambda: color_consistency(e, t),
        "color_diversity": lambda: color_diversity(e),
        "edge": lambda: (sobel(e) - sobel(t)).abs().mean(),
        "exposure": lambda: exposure(e, t),
        "mask_mean": lambda: (mask.mean() - 0.5) ** 2,
        "perceptual": lambda: perceptual_distance(backend, e, t).mean(),
    }
    with torch.autocast(e.device.type, enabled=False):
        return {name: weights[name] * compute[name]() if weights[name] else e.new_zeros(()) for name in TERMS}


def exposure(e: Tensor, t: Tensor) -> Tensor:
    """Difference of local brightness: the grey pictures' 16 x 16 means."""
    return (F.avg_pool2d(luma(e), 16) - F.avg_pool2d(luma(t), 16)).abs().mean()


def color_consistency(e: Tensor, t: Tensor) -> Tensor:
    """Chromaticity, saturation that is missing (never what is too much), and half the hue."""
    chromaticity = F.mse_loss(_shares(e), _shares(t))
    paler = torch.relu(saturation(t, offset=0.01) - saturation(e, offset=0.01)).mean()
    return chromaticity + paler + 0.5 * hue(e, t)


def hue(e: Tensor, t: Tensor) -> Tensor:
    """1 - cosine of the angle between the colours' directions away from grey, weighted by how far the target's goes.
    Smooth everywhere, where an angle taken by the largest channel jumps."""
    of_e, of_t = e - e.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
    weight = _norm(of_t)
    cosine = (of_e * of_t).sum(1) / (_norm(of_e) * weight)
    return (weight * (1 - cosine)).sum() / weight.sum()


def color_diversity(e: Tensor) -> Tensor:
    """High for a grey picture: 0.5 exp(-15 D) + 0.5 exp(-10 S), with D the mean difference between channels and S the
    mean saturation of each picture. Of an exactly grey picture the gradient is 0, by symmetry."""
    red, green, blue = e.unbind(1)
    differences = ((red - green).abs() + (green - blue).abs() + (blue - red).abs()).mean((-2, -1)) / 3
    spread = saturation(e).mean((-3, -2, -1))
    return (0.5 * torch.exp(-15 * differences) + 0.5 * torch.exp(-10 * spread)).mean()


def _shares(rgb: Tensor) -> Tensor:
    return rgb / (rgb.sum(1, keepdim=True) + 0.01)


def _norm(rgb: Tensor) -> Tensor:
    return ((rgb**2).sum(1) + 1e-8).sqrt()


# -- scores --------------------------------------------------------------------------------------------------------
def image_scores(enhanced: Tensor, target: Tensor, backend: Backend) -> dict[str, Tensor]:
    """Scores of each picture, [B], as an 8-bit file would hold it.

    score        0.7 psnr_db + 0.3 * 20 ssim - max(0, 0.10 - saturation): the goal
    psnr_db      peak signal-to-noise ratio, dB;  psnr_gtmean_db: after scaling to the target's mean
    ssim         Gaussian window of 11;  ms_ssim: from 161 pixels a side on
    saturation   mean of HSV's S
    `backend`    perceptual distance from the target, under the name of its back-end
    """
    e, t = round8(enhanced.float()), target.float()
    scaled = (e * (t.mean((1, 2, 3)) / e.mean((1, 2, 3)).clamp(min=1e-6)).view(-1, 1, 1, 1)).clamp(0, 1)
    colourful = saturation(e).mean((-3, -2, -1))
    scores = {"psnr_db": psnr_db(e, t), "ssim": ssim(e, t)}
    if min(e.shape[-2:]) >= MS_SSIM_MIN_SIDE:
        scores["ms_ssim"] = ms_ssim(e, t)
    scores |= {"psnr_gtmean_db": psnr_db(scaled, t), "saturation": colourful}
    scores[backend] = perceptual_distance(backend, e, t)
    goal = 0.7 * scores["psnr_db"] + 0.3 * 20 * scores["ssim"] - torch.relu(MIN_SATURATION - colourful)
    return {"score": goal, **scores}


def mean_scores(parts: list[dict[str, Tensor]]) -> dict[str, float]:
    """Means over the pictures whose goal is finite, and `skipped`, the share of those that are not. Where none is
    finite every score is NaN: a run that shows nothing must fail, and never score 0."""
    joined = {name: torch.cat([part[name] for part in parts]).double() for name in parts[0]}
    finite = torch.isfinite(torch.stack(list(joined.values()))).all(0)
    means = {name: float(values[finite].mean()) for name, values in joined.items()}  # the mean of nothing is NaN
    return {**means, "skipped": float((~finite).double().mean())}
