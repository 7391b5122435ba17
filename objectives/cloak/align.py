"""Chips: a face turned upright and scaled to what a matcher takes, cut out of a photograph by its five points.

Points are (x, y) in pixels, whole numbers at pixel centres: the eye on the left of the picture, the one on the right,
the tip of the nose, the corner of the mouth on the left, the one on the right. A placement is a matrix [2, 3] from the
pixels of a chip to those of the photograph.
Shapes: B photographs, P points, 3 RGB, H, W pixels, S the side of a chip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SFACE_SIDE, DLIB_SIDE = 112, 150
SFACE_POINTS = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
# Where YuNet's five points lie on the mean face of dlib's landmarks; and dlib's own five, for its own landmarks.
DLIB_POINTS = ((0.2255, 0.2160), (0.7548, 0.2160), (0.4901, 0.5156), (0.2541, 0.7802), (0.7261, 0.7802))
DLIB_OWN_POINTS = (
    (0.8595674595992, 0.2134981538014),
    (0.6460604764104, 0.2289674387677),
    (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242),
    (0.4901123135679, 0.6277975316475),
)
_DLIB_PADDING = 0.25  # of the face, on each side of it


@dataclass(frozen=True)
class Jitter:
    """How far an alignment is moved at random, as another detector might."""

    shift: float = 0.02  # of the chip's side, across and down
    scale: float = 0.02
    turn: float = 0.04  # radians


# -- placements ------------------------------------------------------------------------------------------------------
def sface_placement(points_B52: Tensor) -> Tensor:
    """[B, 2, 3]. The fit is made from the photograph's points to the chip's, and then inverted: the fit in the other
    direction is another one."""
    chip_52 = points_B52.new_tensor(SFACE_POINTS)
    return _inverted(fit_similarity(points_B52, chip_52.expand_as(points_B52)))


def dlib_placement(points_BP2: Tensor, face_points: tuple[tuple[float, float], ...] = DLIB_POINTS) -> Tensor:
    """[B, 2, 3]. The fit is made from the chip's points to the photograph's."""
    face_P2 = points_BP2.new_tensor(face_points)
    chip_P2 = DLIB_SIDE * (_DLIB_PADDING + face_P2) / (1 + 2 * _DLIB_PADDING)
    fit_B23 = fit_similarity(chip_P2.expand_as(points_BP2), points_BP2)
    centre_B2 = (fit_B23 @ points_BP2.new_tensor([DLIB_SIDE / 2, DLIB_SIDE / 2, 1.0])[:, None])[..., 0]
    scale_B = _scale(fit_B23)
    turn_B22 = fit_B23[..., :2] / scale_B.view(-1, 1, 1)
    # dlib spreads 150 pixels of the fit over a rectangle from its first pixel to its last.
    linear_B22 = turn_B22 * ((DLIB_SIDE * scale_B - 1) / (DLIB_SIDE - 1)).view(-1, 1, 1)
    middle = points_BP2.new_full((2, 1), (DLIB_SIDE - 1) / 2)
    return torch.cat([linear_B22, centre_B2[..., None] - linear_B22 @ middle], -1)


def fit_similarity(from_BP2: Tensor, to_BP2: Tensor) -> Tensor:
    """The rotation, scale and shift, [B, 2, 3], that brings points nearest to others in the sense of least squares.

    With points as complex numbers it is z -> a z + b. Source: Umeyama 1991, without reflections.
    """
    from_mean, to_mean = from_BP2.mean(1), to_BP2.mean(1)
    p, q = from_BP2 - from_mean[:, None], to_BP2 - to_mean[:, None]
    power = p.square().sum((1, 2))
    real = (p * q).sum((1, 2)) / power
    imaginary = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(1) / power
    linear = torch.stack([torch.stack([real, -imaginary], -1), torch.stack([imaginary, real], -1)], -2)
    return torch.cat([linear, (to_mean - (linear @ from_mean[..., None])[..., 0])[..., None]], -1)


def jittered(placement_B23: Tensor, side: int, jitter: Jitter) -> Tensor:
    """The placements moved at random, uniformly within the jitter. Draws from torch's global generator."""
    across, down, scale, turn = (2 * torch.rand(4, len(placement_B23)) - 1).to(placement_B23)
    growth, angle = 1 + jitter.scale * scale, jitter.turn * turn
    cosine, sine = growth * angle.cos(), growth * angle.sin()
    turned = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    middle = placement_B23.new_full((2, 1), (side - 1) / 2)
    shift = jitter.shift * side * torch.stack([across, down], -1)[..., None]
    moved = torch.cat([turned, middle + shift - turned @ middle], -1)  # about the middle of the chip
    return _after(placement_B23, moved)


def placed(points_BP2: Tensor, placement_B23: Tensor) -> Tensor:
    """Pixels of a chip as pixels of the photograph."""
    return points_BP2 @ placement_B23[..., :2].transpose(-1, -2) + placement_B23[:, None, :, 2]


# -- sampling ----------------------------------------------------------------------------------------------------------
def sface_chips(photo_B3HW: Tensor, placement_B23: Tensor) -> Tensor:
    """[B, 3, 112, 112]: bilinear, never averaged, however large the face is; 0 outside the photograph."""
    return _sampled(photo_B3HW, placement_B23, SFACE_SIDE)


def dlib_chips(photo_B3HW: Tensor, placement_B23: Tensor) -> Tensor:
    """[B, 3, 150, 150]: bilinear, after an average of 2^k x 2^k pixels where a pixel of the chip spans that many."""
    chips = []
    for photo_3HW, placement_23 in zip(photo_B3HW, placement_B23, strict=True):
        step = float(_scale(placement_23[None]))
        size = 2 ** int(math.log2(step)) if step >= 2 else 1
        averaged = F.avg_pool2d(photo_3HW[None], size) if size > 1 else photo_3HW[None]
        shrunk_23 = placement_23 / size
        shrunk_23 = torch.cat([shrunk_23[:, :2], shrunk_23[:, 2:] + 0.5 / size - 0.5], -1)
        chips.append(_sampled(averaged, shrunk_23[None], DLIB_SIDE))
    return torch.cat(chips)


def _sampled(photo_B3HW: Tensor, placement_B23: Tensor, side: int) -> Tensor:
    height, width = photo_B3HW.shape[-2:]
    at = torch.arange(side, dtype=photo_B3HW.dtype, device=photo_B3HW.device)
    pixel_P2 = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).view(-1, 2)
    photo_BP2 = placed(pixel_P2.expand(len(photo_B3HW), -1, -1), placement_B23.to(photo_B3HW))
    grid = (photo_BP2 + 0.5) * 2 / photo_BP2.new_tensor([width, height]) - 1
    return F.grid_sample(photo_B3HW, grid.view(-1, side, side, 2), mode="bilinear", align_corners=False)


def _scale(placement_B23: Tensor) -> Tensor:
    """Pixels of the photograph for each of the chip, [B]."""
    return torch.hypot(placement_B23[:, 0, 0], placement_B23[:, 1, 0])


def _inverted(placement_B23: Tensor) -> Tensor:
    linear = torch.linalg.inv(placement_B23[..., :2])
    return torch.cat([linear, -linear @ placement_B23[..., 2:]], -1)


def _after(outer_B23: Tensor, inner_B23: Tensor) -> Tensor:
    """The placement that applies `inner` first."""
    linear = outer_B23[..., :2] @ inner_B23[..., :2]
    return torch.cat([linear, outer_B23[..., :2] @ inner_B23[..., 2:] + outer_B23[..., 2:]], -1)
