"""Where a face is in a photograph: the region that may change, and the frame that the encoders look at.

The region is a square around the face, inside the photograph. Nothing outside it changes. The frame is the region with
a quarter of its side more on every side, since a matcher's chip reaches beyond it; where the frame leaves the
photograph it is black, as a matcher sees it. An encoder that knows no faces has the whole photograph as both.

Shapes: 3 RGB, H, W pixels, S the side of a frame, Q the side of the region in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from objectives.cloak import align
from objectives.cloak.matchers import faces_in
from objectives.cloak.yunet import Face

FOOTPRINT = 1.15  # side of the region over the side of dlib's chip
FRAME_UNIT = 6  # a frame's side is a multiple of it, so that the region in it is whole pixels wide


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels of a photograph."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, photo_3HW: Tensor) -> Tensor:
        return photo_3HW[:, self.top : self.top + self.height, self.left : self.left + self.width]

    def pasted(self, photo_3HW: Tensor, part_3hw: Tensor) -> Tensor:
        """The photograph with the part in the region's place."""
        whole = photo_3HW.clone()
        self.cut(whole)[:] = part_3hw
        return whole


@dataclass(frozen=True)
class Framed:
    """A frame of a photograph, and the five points of the face in it."""

    rgb_3SS: Tensor
    points_52: Tensor


class FaceCount(ValueError):
    """A photograph that does not hold exactly one face."""


def the_face(photo_3HW: Tensor, name: str) -> Face:
    """The only face in a photograph. Raises FaceCount where there is none, or more than one."""
    faces = faces_in(photo_3HW)
    if len(faces) != 1:
        raise FaceCount(f"{name}: {'no face was found' if not faces else f'{len(faces)} faces were found'}")
    return faces[0]


def found_again(photo_3HW: Tensor, points_52: Tensor) -> Tensor | None:
    """The points of the face that a detector now finds where the face was; None where it finds none there.

    That is the nearest face whose points are closer to the old ones, on average, than half the distance of the eyes.
    """
    distances = {
        float((face.points_52.to(points_52) - points_52).norm(dim=1).mean()): face for face in faces_in(photo_3HW)
    }
    nearest = min(distances, default=float("inf"))
    eyes = float((points_52[1] - points_52[0]).norm())
    return distances[nearest].points_52.to(points_52) if nearest < 0.5 * eyes else None


def region_around(points_52: Tensor, height: int, width: int) -> Region:
    """The square around a face: 1.15 times the footprint of dlib's chip, made smaller and moved to be inside.

    Its side is a multiple of 4, so that a quarter of it is whole pixels wide.
    """
    corners = points_52.new_tensor([(0, 0), (1, 0), (0, 1), (1, 1)]) * (align.DLIB_SIDE - 1)
    corners_42 = align.placed(corners[None], align.dlib_placement(points_52[None]))[0]
    low, high = corners_42.amin(0), corners_42.amax(0)
    side = min(FOOTPRINT * float((high - low).max()), height, width)
    side = max(4, int(side) // 4 * 4)
    middle = ((low + high) / 2).tolist()
    left = min(max(0, round(middle[0] - side / 2)), width - side)
    top = min(max(0, round(middle[1] - side / 2)), height - side)
    return Region(top, left, side, side)


def whole(photo_3HW: Tensor) -> Region:
    return Region(0, 0, *photo_3HW.shape[-2:])


def framed(photo_3HW: Tensor, region: Region, points_52: Tensor, size: int) -> Framed:
    """The frame around a square region, at `size` pixels a side: antialiased bilinear, unchanged where it has them."""
    margin = region.height // 4
    padded = F.pad(photo_3HW, (margin, margin, margin, margin))
    native = region.height + 2 * margin
    frame = padded[:, region.top : region.top + native, region.left : region.left + native]
    if native != size:
        frame = F.interpolate(frame[None], (size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)
    corner = points_52.new_tensor([region.left - margin, region.top - margin])
    return Framed(frame.clone(), (points_52 - corner + 0.5) * size / native - 0.5)


def region_side(size: int) -> int:
    """Side of the region in a frame of that size."""
    return size // FRAME_UNIT * 4
