"""Pinhole cameras, and where the points that one of them shows lie in the picture of another.

Shapes: N points, S pixels a side; points and directions [..., 3] in world units. A pixel's middle is at its number plus
one half; x goes to the right, y down. The picture is square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from objectives.hdr.draw import Draw

UP = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Camera:
    """A camera that looks from `origin` to `target`; `fov` is the angle across its picture, in degrees."""

    origin: tuple[float, float, float]
    target: tuple[float, float, float]
    fov: float

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit vectors to the right, down and ahead."""
        ahead = np.subtract(self.target, self.origin)
        ahead = ahead / np.linalg.norm(ahead)
        right = np.cross(ahead, UP)
        right = right / np.linalg.norm(right)
        return right, np.cross(ahead, right), ahead

    def focal(self, size: int) -> float:
        """The focal length in pixels of a picture of `size` pixels a side."""
        return size / 2 / math.tan(math.radians(self.fov) / 2)

    def directions(self, size: int) -> np.ndarray:
        """Unit vectors through the middles of all pixels, [S, S, 3]."""
        right, down, ahead = self.axes()
        steps = (np.arange(size) + 0.5 - size / 2) / self.focal(size)
        vectors = ahead + steps[None, :, None] * right + steps[:, None, None] * down
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def project(self, offsets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and distance along the axis of points at these offsets from the origin, [..., 3].

        An offset may be the direction of a point that is infinitely far away. x and y mean nothing for points behind
        the camera, whose distance is negative.
        """
        right, down, ahead = self.axes()
        distance = offsets @ ahead
        scale = self.focal(size) / np.where(distance > 0, distance, 1.0)
        return offsets @ right * scale + size / 2, offsets @ down * scale + size / 2, distance


def camera_path(draw: Draw, frames: int) -> list[Camera]:
    """A camera that looks at the middle of the stage and moves by the same small step from frame to frame."""
    angle = draw(0, 2 * math.pi)
    distance = draw(3.0, 6.0)
    outwards = np.array([math.sin(angle), 0.0, math.cos(angle)])
    sideways = np.array([math.cos(angle), 0.0, -math.sin(angle)])
    origin = distance * outwards + np.array([0.0, draw(0.5, 2.2), 0.0])
    target = np.array([draw(-0.5, 0.5), draw(0.3, 0.9), draw(-0.5, 0.5)])
    step = distance * (draw(-0.09, 0.02) * outwards + draw(-0.08, 0.08) * sideways)
    step[1] += distance * draw(-0.02, 0.02)
    turn = draw(-0.1, 0.1) * sideways
    turn[1] += draw(-0.05, 0.05)
    fov = draw(40, 75)
    return [_camera(origin + number * step, target + number * turn, fov) for number in range(frames)]


def _camera(origin: np.ndarray, target: np.ndarray, fov: float) -> Camera:
    x, y, z = origin.tolist()
    to_x, to_y, to_z = target.tolist()
    return Camera((x, y, z), (to_x, to_y, to_z), fov)
