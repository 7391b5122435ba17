"""Frames that a path tracer made: mitsuba's light, and the motion of every pixel from one frame to the next.

A scene stands on a ground under one panorama, which lights it: spheres, boxes, cylinders, thin posts and a lamp, whose
textures are views of the same panorama. A camera moves through it. Every pixel of a frame is thrown to the place where
the next camera sees the point that it shows; the nearest one wins. A pixel is a hole where nothing lands, or where what
lands lies at another depth than what the next frame shows there: something behind it, seen through a crack.

The depth is traced through the middle of each pixel. A renderer's own depth output is a mean over the samples of a
pixel, and so at an outline it lies between the two surfaces.

Shapes: S pixels a side, 3 RGB or x, y, z. Light is linear, in the scale in which the median luminance is 0.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo import generator, made_once
from objectives.hdr.cameras import Camera, camera_path
from objectives.hdr.draw import Draw
from objectives.hdr.stage import stage
from objectives.hdr.warp import HOLES, Frame, warped_frame

INSTALL = "pip install mitsuba==3.9.1"
SCENES = 8  # that stand under one panorama
FRAMES = 4  # of a scene, each warped from the one before, so its camera stands in one place more
SAMPLES = 64  # light paths a pixel
BOUNCES = 4
SAME_DEPTH = 0.05  # relative difference
FAR = 1e4  # world units: the distance of the panorama, whose direction alone matters
TRIES = 60  # camera paths that are drawn before a scene is given up


class Surfaces(NamedTuple):
    """What one camera sees through the middle of each pixel."""

    offset_SS3: np.ndarray  # of the point from the camera; the panorama is at the distance FAR
    depth_SS: np.ndarray  # along the axis of the camera


class Throw(NamedTuple):
    """Where the pixels of one frame land in the next."""

    landed_SS: np.ndarray  # for each pixel of the next frame, the number of the pixel that landed there; -1 in holes
    moved_SS2: np.ndarray  # how far that pixel moved, x and y, in pixels; 0 in holes
    depth_SS: np.ndarray  # of its point, for the next camera; infinite in holes

    @property
    def hole_share(self) -> float:
        """The share of pixels without a landing."""
        return float((self.landed_SS < 0).mean())


def make(names: Sequence[str], size: int, count: int) -> dict[str, np.ndarray]:
    """`count` frames of scenes under the named panoramas in turn; no scene is rendered twice on a machine.

    Arrays named as the fields of Frame, and "source", [N]: the place of each frame's panorama in `names`. There are
    SCENES scenes under a panorama; where more frames are asked for than they have, they come again.
    """
    turns = range(math.ceil(count / FRAMES))
    scenes = [made_once(scene_frames, names[turn % len(names)], turn // len(names) % SCENES, size) for turn in turns]
    arrays = {name: np.concatenate([scene[name] for scene in scenes])[:count] for name in Frame._fields}
    return arrays | {"source": np.arange(count) // FRAMES % len(names)}


def scene_frames(panorama: str, number: int, size: int) -> dict[str, np.ndarray]:
    """The frames of one scene under a panorama: arrays [FRAMES, ...] named as the fields of Frame, the same at every
    call.

    Raises ValueError where mitsuba is not installed, or the panoramas are not.
    """
    mitsuba = _mitsuba()
    draw = Draw(generator("hdr", "rendered", panorama, number))
    scene = mitsuba.load_dict(stage(mitsuba, panorama, draw))
    for _ in range(TRIES):
        cameras = camera_path(draw, FRAMES + 1)
        throws = _throws(mitsuba, scene, cameras, size)
        if all(HOLES[0] < throw.hole_share < HOLES[1] for throw in throws):
            break
    else:
        raise ValueError(f"scene {number} under {panorama}: none of {TRIES} camera paths has a fair share of holes")
    lights = [_light(mitsuba, scene, camera, size, seed) for seed, camera in enumerate(cameras)]
    frames = [_frame(throw, *lights[place : place + 2]) for place, throw in enumerate(throws)]
    fields = zip(Frame._fields, zip(*frames, strict=True), strict=True)
    return {name: torch.stack(parts).numpy() for name, parts in fields}


def thrown(before: Surfaces, cameras: tuple[Camera, Camera], after: Surfaces) -> Throw:
    """Every pixel of the first camera, thrown to where the second one sees its point. The nearest wins; a pixel that
    does not show what the second camera sees there is a hole."""
    size = len(before.depth_SS)
    first, second = cameras
    offset = before.offset_SS3.reshape(-1, 3) + np.subtract(first.origin, second.origin)
    x, y, depth = second.project(offset, size)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    inside = (depth > 0) & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    numbers = np.flatnonzero(inside)
    numbers = numbers[np.argsort(-depth[numbers], kind="stable")]  # the nearest is written last
    landed = np.full(size * size, -1)
    landed[row[numbers] * size + column[numbers]] = numbers
    expected = after.depth_SS.reshape(-1)
    agrees = np.abs(depth[landed] - expected) <= SAME_DEPTH * expected
    landed[~agrees] = -1
    hole = landed < 0
    from_row, from_column = np.divmod(landed, size)
    moved = np.stack([x[landed] - from_column - 0.5, y[landed] - from_row - 0.5], -1)
    moved[hole] = 0
    landed_depth = np.where(hole, np.inf, depth[landed])
    return Throw(landed.reshape(size, size), moved.reshape(size, size, 2), landed_depth.reshape(size, size))


def _throws(mitsuba: Any, scene: Any, cameras: list[Camera], size: int) -> list[Throw]:
    surfaces = [_surfaces(mitsuba, scene, camera, size) for camera in cameras]
    pairs = zip(pairwise(surfaces), pairwise(cameras), strict=True)
    return [thrown(before, between, after) for (before, after), between in pairs]


def _surfaces(mitsuba: Any, scene: Any, camera: Camera, size: int) -> Surfaces:
    directions = camera.directions(size)
    distance = np.empty((size, size))
    origin = list(camera.origin)
    for row in range(size):
        for column in range(size):
            ray = mitsuba.Ray3f(origin, directions[row, column].tolist())
            distance[row, column] = scene.ray_intersect(ray).t
    distance = np.where(np.isfinite(distance), distance, FAR)
    offset = directions * distance[..., None]
    return Surfaces(offset, offset @ camera.axes()[2])


def _light(mitsuba: Any, scene: Any, camera: Camera, size: int, seed: int) -> Tensor:
    """The light that the camera sees, rgb_3SS."""
    look = mitsuba.ScalarTransform4f().look_at(origin=list(camera.origin), target=list(camera.target), up=[0, 1, 0])
    film = {"type": "hdrfilm", "width": size, "height": size, "pixel_format": "rgb", "rfilter": {"type": "box"}}
    sampler = {"type": "multijitter", "sample_count": SAMPLES}
    sensor = {"type": "perspective", "fov": camera.fov, "to_world": look, "film": film, "sampler": sampler}
    integrator = mitsuba.load_dict({"type": "path", "max_depth": BOUNCES})
    pixels = mitsuba.render(scene, sensor=mitsuba.load_dict(sensor), integrator=integrator, seed=seed)
    return torch.from_numpy(np.array(pixels, np.float32)).permute(2, 0, 1).contiguous()


def _frame(throw: Throw, before_3SS: Tensor, after_3SS: Tensor) -> Frame:
    landed_SS = torch.from_numpy(throw.landed_SS)
    warped_3SS = before_3SS.flatten(1)[:, landed_SS.clamp(min=0)]
    moved_2SS = torch.from_numpy(throw.moved_SS2).float().permute(2, 0, 1)
    nearness_SS = torch.from_numpy(1 / throw.depth_SS).float()
    return warped_frame(warped_3SS, after_3SS, landed_SS >= 0, nearness_SS, moved_2SS)


@cache
def _mitsuba() -> Any:
    """The path tracer, which needs nothing but itself in this variant."""
    try:
        import mitsuba
    except ModuleNotFoundError:
        raise ValueError(
            f"rendered frames need mitsuba, which is not installed; install it ({INSTALL}), or train on composed "
            'frames alone: HDR(scenes="composed")'
        ) from None
    mitsuba.set_variant("scalar_rgb")
    return mitsuba
