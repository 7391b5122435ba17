"""YuNet, which finds the faces in a photograph and five points of each.

Source: Wu, Peng & Yu 2023, "YuNet: a tiny millisecond-level face detector"; the weights are OpenCV's, Apache-2.0.
Shapes: H, W pixels of a photograph, P places that the network looks at.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.cloak.onnx_net import OnnxNet

STRIDES = (8, 16, 32)
_MULTIPLE = 32  # sides that the network takes
MIN_SCORE = 0.6
MAX_OVERLAP = 0.3  # intersection over union from which two boxes are of one face


@dataclass(frozen=True)
class Face:
    """A face in a photograph, in pixels, whole numbers at pixel centres."""

    score: float
    box: tuple[float, float, float, float]  # left, top, width, height
    points_52: Tensor  # eye on the left of the picture, on the right, nose, corner of the mouth on the left, right

    @property
    def area(self) -> float:
        return self.box[2] * self.box[3]

    def scaled(self, across: float, down: float) -> Face:
        """The face in the same photograph, that many times as wide and as high."""
        left, top, width, height = self.box
        factors = self.points_52.new_tensor([across, down])
        box = ((left + 0.5) * across - 0.5, (top + 0.5) * down - 0.5, width * across, height * down)
        return Face(self.score, box, (self.points_52 + 0.5) * factors - 0.5)


@torch.no_grad()
def find_faces(net: OnnxNet, photo_3HW: Tensor) -> list[Face]:
    """The faces in a photograph in [0, 1], the largest first."""
    height, width = photo_3HW.shape[-2:]
    bgr = 255 * photo_3HW.flip(0)[None].float()
    outputs = net(F.pad(bgr, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE)))
    columns = -(-width // _MULTIPLE) * _MULTIPLE
    candidates = torch.cat([_candidates(outputs, level, columns // stride) for level, stride in enumerate(STRIDES)])
    kept = _without_overlaps(candidates[candidates[:, 0] >= MIN_SCORE])
    return sorted((_face(row) for row in kept), key=lambda face: -face.area)


def _candidates(outputs: list[Tensor], level: int, columns: int) -> Tensor:
    """[P, 15]: score, box and points at every place of one stride."""
    stride = STRIDES[level]
    classes, objects, boxes, points = (output[0] for output in outputs[level :: len(STRIDES)])
    place = torch.arange(len(boxes), device=boxes.device)
    at = torch.stack([place % columns, place // columns], -1).to(boxes)
    score = (classes.clamp(0, 1) * objects.clamp(0, 1)).sqrt()
    centre, size = (at + boxes[:, :2]) * stride, boxes[:, 2:].exp() * stride
    corners = (at[:, None] + points.view(-1, 5, 2)) * stride
    return torch.cat([score, centre - size / 2, size, corners.flatten(1)], -1)


def _without_overlaps(candidates: Tensor) -> Tensor:
    """Non-maximum suppression: the best of every group of boxes that overlap."""
    rows = candidates[candidates[:, 0].argsort(descending=True)]
    kept: list[Tensor] = []
    while len(rows):
        kept.append(rows[0])
        rows = rows[_overlaps(rows[0], rows) <= MAX_OVERLAP]
    return torch.stack(kept) if kept else candidates[:0]


def _overlaps(row: Tensor, rows: Tensor) -> Tensor:
    """Intersection over union of a box with others."""
    top_left = torch.maximum(row[1:3], rows[:, 1:3])
    bottom_right = torch.minimum(row[1:3] + row[3:5], rows[:, 1:3] + rows[:, 3:5])
    intersection = (bottom_right - top_left).clamp(min=0).prod(-1)
    return intersection / (row[3] * row[4] + rows[:, 3] * rows[:, 4] - intersection)


def _face(row: Tensor) -> Face:
    left, top, width, height = row[1:5].tolist()
    return Face(float(row[0]), (left, top, width, height), row[5:15].view(5, 2))
