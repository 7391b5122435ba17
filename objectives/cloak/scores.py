"""The scores of changed photographs.

Shapes: B photographs of a batch, N that a run holds, 3 RGB, S pixels a side of a frame, Q of the region in it, E
features. Photographs are in [0, 1]; scores are [B].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hpo import Columns, means
from objectives.cloak.data import Batch
from objectives.cloak.encoders import Critic, separation
from objectives.cloak.faces import found_again
from objectives.cloak.handling import as_jpeg, resized_and_back
from objectives.cloak.loss import visible_change
from objectives.cloak.model import Cloaked, folded_share, inner
from objectives.cloak.site import Site
from objectives.common.colour import round8
from objectives.common.image_scores import psnr_db, ssim
from objectives.common.perceptual import Backend

TOLERANCE = 0.005  # a visible change may exceed the limit by this and still count as within it
EXCESS_WEIGHT = 10.0  # of a visible change beyond the limit, in the goal
WORST = ("visible_max", "change_max", "warp_max", "warp_max_px", "raw_max")  # scores that are a maximum, not a mean


@dataclass(frozen=True)
class Judging:
    """Who judges, by which limits."""

    critics: Sequence[Critic]
    own: Sequence[Tensor]  # by each critic, its vectors of the unchanged photographs that the run holds, [N, E]
    judge: Critic
    site: Site
    unit_N: Tensor  # of the visible change, by the photograph's number
    backend: Backend
    visible_limit: float
    side: int  # of the region
    with_faces: bool  # the face is found anew before the judge looks


def image_scores(image: Tensor, batch: Batch, judging: Judging) -> dict[str, Tensor]:
    """Scores of each photograph, rounded to 8 bits as in a file, [B].

    exposure           relu(1 - separation_jpeg) + 10 relu(visible change - limit): the goal
    separation_jpeg    by the judge, after JPEG of quality 75 and with the face found anew, from the nearest photograph
                       that a site may hold: the original, or another one of the same person
    separation_own     the same from the original alone; and without JPEG (separation), and at half size and back
                       (separation_half)
    separation_critic  from the original by the critic, the encoder that was attacked; the mean over several
    unmatched          1 where separation_jpeg is above 1: the judge no longer matches the photograph
    unmatched_unseen   1 where, in addition, the visible change is within the limit
    face_lost          1 where no face is found any more, and the judge was given the old points
    critic_in_limit    relu(1 - separation_critic) where the visible change is at most 1.5 times the limit, else 1
    visible_BACKEND    the visible change of the region, by what measured it; visible_max: of the worst photograph
    ssim, psnr_db      of the region; low even under a warp that nobody sees: only reported
    """
    image, reference = round8(image.float()), batch.reference_B3SS.float()
    jpeg = as_jpeg(image)
    points, lost = _points_anew(jpeg, batch.points_B52) if judging.with_faces else (batch.points_B52, _zeros(batch))
    judge, own = judging.judge, judging.site.vectors_NE[batch.number_B]

    def from_own(changed: Tensor) -> Tensor:
        return separation(judge, judge.embed(changed, points), own)

    region, before = inner(image, judging.side), inner(reference, judging.side)
    visible = visible_change(judging.backend, region, before, judging.unit_N[batch.number_B])
    in_jpeg = judging.site.nearest(judge, judge.embed(jpeg, points), batch.number_B)
    by_critic = torch.stack(
        [
            separation(critic, critic.embed(image, points), own_NE[batch.number_B])
            for critic, own_NE in zip(judging.critics, judging.own, strict=True)
        ]
    ).mean(0)
    unmatched = (in_jpeg > 1).float()
    exposed_to_critic = torch.relu(1 - by_critic)
    return {
        "exposure": torch.relu(1 - in_jpeg) + EXCESS_WEIGHT * torch.relu(visible - judging.visible_limit),
        "separation_jpeg": in_jpeg,
        "separation_own": from_own(jpeg),
        "separation": from_own(image),
        "separation_half": from_own(resized_and_back(image, 0.5)),
        "separation_critic": by_critic,
        "unmatched": unmatched,
        "unmatched_unseen": unmatched * (visible <= judging.visible_limit + TOLERANCE),
        "face_lost": lost,
        "critic_in_limit": torch.where(visible <= 1.5 * judging.visible_limit, exposed_to_critic, 1.0),
        f"visible_{judging.backend}": visible,
        "visible_max": visible,
        "ssim": ssim(region, before),
        "psnr_db": psnr_db(region, before),
    }


def change_scores(cloaked: Cloaked, noise_limit: float, raw_B: Tensor) -> dict[str, Tensor]:
    """Scores of each change, [B].

    change_max             the largest noise
    warp_max, warp_max_px  the longest warp across or down: where the region's side is 2 long, and in pixels
    folded                 share of the pixels at which the warp folds the picture over
    saturated              share of the noise that has reached its bound
    raw_max                the largest raw parameter
    """
    warp_B = cloaked.flow_B2QQ.abs().amax((1, 2, 3))
    half_side = cloaked.flow_B2QQ.shape[-1] / 2
    return {
        "change_max": cloaked.change_B3QQ.abs().amax((1, 2, 3)),
        "warp_max": warp_B,
        "warp_max_px": warp_B * half_side,
        "folded": folded_share(cloaked.flow_B2QQ),
        "saturated": (cloaked.change_B3QQ.abs() > 0.99 * noise_limit).float().mean((1, 2, 3)),
        "raw_max": raw_B,
    }


def means_and_maxima(columns: Columns) -> dict[str, float]:
    """Means over the photographs; maxima of the scores named WORST."""
    return means(columns) | {name: float(columns[name].max()) for name in WORST if name in columns}


def _points_anew(image_B3SS: Tensor, points_B52: Tensor) -> tuple[Tensor, Tensor]:
    """The points of the faces that are now found, and 1 where none is found: the old points stand there."""
    found = [found_again(image.cpu(), points.cpu()) for image, points in zip(image_B3SS, points_B52, strict=True)]
    points = [old if new is None else new.to(old) for new, old in zip(found, points_B52, strict=True)]
    return torch.stack(points), torch.tensor([float(new is None) for new in found], device=points_B52.device)


def _zeros(batch: Batch) -> Tensor:
    return torch.zeros(len(batch.photo_B3SS), device=batch.photo_B3SS.device)
