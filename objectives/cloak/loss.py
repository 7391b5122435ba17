"""What is descended for each photograph, and the scores of protected photographs.

Shapes: B photographs, 3 RGB, S pixels a side, 2 across and down. Photographs are in [0, 1]; losses and scores are [B].
The terms of different photographs are added and never divided by their number: Adam's steps then do not depend on how
many are protected side by side.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from objectives.cloak.data import Batch
from objectives.cloak.encoders import Critic
from objectives.cloak.model import Cloaked, folds
from objectives.common.colour import as_uint8, round8
from objectives.common.image_scores import psnr_db, ssim
from objectives.common.perceptual import Backend, perceptual_distance

UNIT_NOISE = 0.05  # `pged` is measured in the distance that uniform noise of this height makes
JPEG_QUALITY = 75
TOLERANCE = 0.005  # how far a visible change may pass the limit and still count as within it
EXCESS_WEIGHT = 10.0  # what a visible change beyond the limit costs in the goal
WORST = ("visible_max", "change_max", "warp_max", "warp_max_px", "raw_max")  # scores that are the largest, not the mean


@dataclass(frozen=True)
class Weights:
    """Of the terms, and where the first two of them begin."""

    identity: float
    visible: float
    rough: float  # total variation of the noise
    vertical: float
    margin: float  # cosine below which a photograph counts as protected enough
    visible_limit: float
    noise_limit: float
    warp_limit: float


def terms(made: Cloaked, matched_B: Tensor, seen_B: Tensor, weights: Weights) -> dict[str, Tensor]:
    """The weighted terms by name, each summed over the photographs. `matched` is the cosine with the photograph's own
    vector, `seen` the visible change."""
    photographs = {
        "identity": weights.identity * torch.relu(matched_B - weights.margin),
        "visible": weights.visible * torch.relu(seen_B - weights.visible_limit),
        "rough": weights.rough * variation(made.change_B3SS) / weights.noise_limit,
        "vertical": weights.vertical * made.flow_B2SS[:, 1].abs().mean((-2, -1)) / weights.warp_limit,
    }
    return {name: value_B.sum() for name, value_B in photographs.items()}


def visible_change(backend: Backend, image: Tensor, reference: Tensor, unit_B: Tensor) -> Tensor:
    """Perceptual distance from the reference. ST-LPIPS as it is; `pged` scaled, for each photograph, so that uniform
    noise of +-0.05 has 0.05."""
    distance_B = perceptual_distance(backend, image, reference)
    return distance_B if backend == "stlpips" else UNIT_NOISE * distance_B / unit_B


def unit_distance(backend: Backend, reference_B3SS: Tensor) -> Tensor:
    """What `visible_change` divides by: 1 for ST-LPIPS, which needs no unit."""
    if backend == "stlpips":
        return torch.ones(len(reference_B3SS), device=reference_B3SS.device)
    return noise_distance(backend, reference_B3SS)


def noise_distance(backend: Backend, reference_B3SS: Tensor) -> Tensor:
    """The raw distance that uniform noise of +-UNIT_NOISE makes. It grows with the size of a photograph, and so must a
    limit on ST-LPIPS that is to mean the same."""
    rng = torch.Generator().manual_seed(0)  # the same noise for every photograph
    noise = UNIT_NOISE * (2 * torch.rand(reference_B3SS.shape[1:], generator=rng) - 1).to(reference_B3SS.device)
    return perceptual_distance(backend, (reference_B3SS + noise).clamp(0, 1), reference_B3SS).clamp(min=1e-6)


def match(critic: Critic, image: Tensor, identity_BE: Tensor) -> Tensor:
    """Cosine of each photograph with an identity."""
    return (critic.embed(image) * identity_BE).sum(1)


def variation(change_B3SS: Tensor) -> Tensor:
    """Total variation: mean difference of neighbours across plus down."""
    across = (change_B3SS[..., 1:] - change_B3SS[..., :-1]).abs().mean((1, 2, 3))
    return across + (change_B3SS[..., 1:, :] - change_B3SS[..., :-1, :]).abs().mean((1, 2, 3))


def roughly_handled(image_B3SS: Tensor) -> Tensor:
    """The photographs shrunk and enlarged by one random factor in [0.5, 1], with noise of 0.02: what a site may do to
    them. Draws from torch's global generator."""
    size = image_B3SS.shape[-2:]
    side = [max(1, round(float(torch.empty(()).uniform_(0.5, 1)) * length)) for length in size]
    small = F.interpolate(image_B3SS, side, mode="bilinear", align_corners=False)
    again = F.interpolate(small, size, mode="bilinear", align_corners=False)
    return again + 0.02 * torch.randn_like(again)


# -- scores --------------------------------------------------------------------------------------------------------
def image_scores(
    image: Tensor,
    batch: Batch,
    *,
    critic: Critic,
    judge: Critic,
    threshold: float,
    backend: Backend,
    visible_limit: float,
) -> dict[str, Tensor]:
    """Scores of each photograph as an 8-bit file would hold it, [B].

    exposure          relu(match_jpeg) + 10 relu(visible change - limit): the goal
    match_critic      cosine with the original by the critic that was attacked; the others are by the judge, which no
                      photograph has been fitted to: match, match_jpeg (quality 75), match_half (half size and back),
                      match_blur (3 x 3 mean)
    protected         1 where match_jpeg is below the judge's matching threshold
    protected_unseen  1 where it is, and the visible change is within the limit besides
    match_in_limit    match_critic where the visible change is at most 1.5 times the limit, else 1
    visible_BACKEND   the visible change, under the name of what measured it; visible_max: of the worst photograph
    ssim, psnr_db     low under a warp that nobody sees: reported, not judged by
    """
    image, reference = round8(image.float()), batch.reference_B3SS.float()
    own = judge.embed(reference)
    seen = visible_change(backend, image, reference, unit_distance(backend, reference))
    by_critic = match(critic, image, critic.embed(reference))
    jpeg = match(judge, as_jpeg(image), own)
    protected = (jpeg < threshold).float()
    return {
        "exposure": torch.relu(jpeg) + EXCESS_WEIGHT * torch.relu(seen - visible_limit),
        "match_critic": by_critic,
        "match": match(judge, image, own),
        "match_jpeg": jpeg,
        "match_half": match(judge, as_half(image), own),
        "match_blur": match(judge, blurred(image), own),
        "protected": protected,
        "protected_unseen": protected * (seen <= visible_limit + TOLERANCE),
        "match_in_limit": torch.where(seen <= 1.5 * visible_limit, by_critic, 1.0),
        f"visible_{backend}": seen,
        "visible_max": seen,
        "ssim": ssim(image, reference),
        "psnr_db": psnr_db(image, reference),
    }


def change_scores(made: Cloaked, noise_limit: float, raw_B: Tensor) -> dict[str, Tensor]:
    """Of each change, [B]: its largest value, the longest warp across or down (a side is 2 long; and in pixels), the
    share of pixels that the warp turns over, the share of the noise that has reached its bound, and the largest raw
    parameter."""
    warp_B, half_side = made.flow_B2SS.abs().amax((1, 2, 3)), made.flow_B2SS.shape[-1] / 2
    return {
        "change_max": made.change_B3SS.abs().amax((1, 2, 3)),
        "warp_max": warp_B,
        "warp_max_px": warp_B * half_side,
        "folded": folds(made.flow_B2SS),
        "saturated": (made.change_B3SS.abs() > 0.99 * noise_limit).float().mean((1, 2, 3)),
        "raw_max": raw_B,
    }


def mean_scores(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Means over the photographs; of the scores named WORST the largest."""
    joined = {name: torch.cat([part[name] for part in parts]).double() for name in parts[0]}
    return {name: float(values.max() if name in WORST else values.mean()) for name, values in joined.items()}


def as_jpeg(image: Tensor) -> Tensor:
    """The photographs written as JPEG and read again."""
    return torch.stack([_as_jpeg(pixels) for pixels in as_uint8(image).cpu().permute(0, 2, 3, 1).numpy()]).to(image)


def as_half(image: Tensor) -> Tensor:
    """The photographs at half their size and back."""
    size = image.shape[-2:]
    half = F.interpolate(image, [length // 2 for length in size], mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(half, size, mode="bilinear", align_corners=False)


def blurred(image: Tensor) -> Tensor:
    """The mean of each 3 x 3 pixels; the border is repeated."""
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _as_jpeg(pixels_HW3: np.ndarray) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HW3).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float() / 255
