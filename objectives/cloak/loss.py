"""The loss of each photograph, and the scores of protected photographs.

Shapes: B photographs, 3 RGB, S pixels a side, 2 across and down. Photographs are in [0, 1]; losses and scores are [B].
The terms of different photographs are added and not averaged, so that the steps of Adam do not depend on how many are
protected side by side.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hpo import Columns, means
from objectives.cloak.data import Batch
from objectives.cloak.encoders import Critic
from objectives.cloak.model import Cloaked, folded_share
from objectives.common.colour import as_uint8, round8
from objectives.common.image_scores import psnr_db, ssim
from objectives.common.perceptual import Backend, perceptual_distance

UNIT_NOISE = 0.05  # `pged` is scaled so that uniform noise of this height has this distance
JPEG_QUALITY = 75
TOLERANCE = 0.005  # a visible change may exceed the limit by this and still count as within it
EXCESS_WEIGHT = 10.0  # of a visible change beyond the limit, in the goal
WORST = ("visible_max", "change_max", "warp_max", "warp_max_px", "raw_max")  # scores that are a maximum, not a mean


@dataclass(frozen=True)
class Weights:
    """Weights of the terms, and the thresholds and bounds that they use."""

    identity: float
    visible: float
    rough: float  # total variation of the noise
    vertical: float
    margin: float  # cosine below which a photograph counts as protected enough
    visible_limit: float
    noise_limit: float
    warp_limit: float


def terms(cloaked: Cloaked, match_B: Tensor, visible_B: Tensor, weights: Weights) -> dict[str, Tensor]:
    """The weighted terms by name, each summed over the photographs.

    `match_B` is the cosine with the photograph's own vector, `visible_B` the visible change.
    """
    by_photograph = {
        "identity": weights.identity * torch.relu(match_B - weights.margin),
        "visible": weights.visible * torch.relu(visible_B - weights.visible_limit),
        "rough": weights.rough * variation(cloaked.change_B3SS) / weights.noise_limit,
        "vertical": weights.vertical * cloaked.flow_B2SS[:, 1].abs().mean((-2, -1)) / weights.warp_limit,
    }
    return {name: value_B.sum() for name, value_B in by_photograph.items()}


def visible_change(backend: Backend, image: Tensor, reference: Tensor, unit_B: Tensor) -> Tensor:
    """Perceptual distance from the reference: ST-LPIPS as it is, `pged` scaled for each photograph so that uniform
    noise of +-0.05 has 0.05."""
    distance_B = perceptual_distance(backend, image, reference)
    return distance_B if backend == "stlpips" else UNIT_NOISE * distance_B / unit_B


def unit_distance(backend: Backend, reference_B3SS: Tensor) -> Tensor:
    """The distance that `visible_change` divides by: 1 for ST-LPIPS, which needs no unit."""
    if backend == "stlpips":
        return torch.ones(len(reference_B3SS), device=reference_B3SS.device)
    return noise_distance(backend, reference_B3SS)


def noise_distance(backend: Backend, reference_B3SS: Tensor) -> Tensor:
    """The raw distance that uniform noise of +-UNIT_NOISE makes.

    It grows with the size of a photograph, and so must a limit on ST-LPIPS that is to mean the same.
    """
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


def degrade(image_B3SS: Tensor) -> Tensor:
    """The photographs shrunk and enlarged by one random factor in [0.5, 1], with noise of 0.02, as a web site might.

    Draws from torch's global generator.
    """
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
    """Scores of each photograph, rounded to 8 bits as in a file, [B].

    exposure          relu(match_jpeg) + 10 relu(visible change - limit): the goal
    match_critic      cosine with the original by the critic, the encoder that was attacked
    match             the same by the judge, an encoder that was not attacked; also after JPEG of quality 75
                      (match_jpeg), at half size and back (match_half), and after a 3 x 3 mean (match_blur)
    protected         1 where match_jpeg is below the judge's matching threshold
    protected_unseen  1 where, in addition, the visible change is within the limit
    match_in_limit    match_critic where the visible change is at most 1.5 times the limit, else 1
    visible_BACKEND   the visible change, under the name of what measured it; visible_max: of the worst photograph
    ssim, psnr_db     low even under a warp that nobody sees: only reported
    """
    image, reference = round8(image.float()), batch.reference_B3SS.float()
    own = judge.embed(reference)
    visible = visible_change(backend, image, reference, unit_distance(backend, reference))
    by_critic = match(critic, image, critic.embed(reference))
    jpeg = match(judge, as_jpeg(image), own)
    protected = (jpeg < threshold).float()
    return {
        "exposure": torch.relu(jpeg) + EXCESS_WEIGHT * torch.relu(visible - visible_limit),
        "match_critic": by_critic,
        "match": match(judge, image, own),
        "match_jpeg": jpeg,
        "match_half": match(judge, as_half(image), own),
        "match_blur": match(judge, blur(image), own),
        "protected": protected,
        "protected_unseen": protected * (visible <= visible_limit + TOLERANCE),
        "match_in_limit": torch.where(visible <= 1.5 * visible_limit, by_critic, 1.0),
        f"visible_{backend}": visible,
        "visible_max": visible,
        "ssim": ssim(image, reference),
        "psnr_db": psnr_db(image, reference),
    }


def change_scores(cloaked: Cloaked, noise_limit: float, raw_B: Tensor) -> dict[str, Tensor]:
    """Scores of each change, [B].

    change_max             the largest noise
    warp_max, warp_max_px  the longest warp across or down: where a side is 2 long, and in pixels
    folded                 share of the pixels at which the warp folds the picture over
    saturated              share of the noise that has reached its bound
    raw_max                the largest raw parameter
    """
    warp_B = cloaked.flow_B2SS.abs().amax((1, 2, 3))
    half_side = cloaked.flow_B2SS.shape[-1] / 2
    return {
        "change_max": cloaked.change_B3SS.abs().amax((1, 2, 3)),
        "warp_max": warp_B,
        "warp_max_px": warp_B * half_side,
        "folded": folded_share(cloaked.flow_B2SS),
        "saturated": (cloaked.change_B3SS.abs() > 0.99 * noise_limit).float().mean((1, 2, 3)),
        "raw_max": raw_B,
    }


def means_and_maxima(columns: Columns) -> dict[str, float]:
    """Means over the photographs; maxima of the scores named WORST."""
    return means(columns) | {name: float(columns[name].max()) for name in WORST if name in columns}


def as_jpeg(image: Tensor) -> Tensor:
    """The photographs written as JPEG and read again."""
    return torch.stack([_as_jpeg(pixels) for pixels in as_uint8(image).cpu().permute(0, 2, 3, 1).numpy()]).to(image)


def as_half(image: Tensor) -> Tensor:
    """The photographs at half their size and back."""
    size = image.shape[-2:]
    half = F.interpolate(image, [length // 2 for length in size], mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(half, size, mode="bilinear", align_corners=False)


def blur(image: Tensor) -> Tensor:
    """The mean of each 3 x 3 pixels; the border is repeated."""
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _as_jpeg(pixels_HW3: np.ndarray) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HW3).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1).float() / 255
