"""Random scenes for the path tracer: things on a ground under a panorama, as the dictionary that mitsuba loads.

Lengths are in world units of about a metre; y is up, and the ground is at 0. All light and all textures come from one
panorama, so that scenes under two panoramas have nothing in common.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from objectives.common import panoramas
from objectives.common.colour import luma
from objectives.hdr.draw import Draw

GROUND = 40.0  # half its side
TEXTURE = 128  # pixels a side
THINGS = (5, 11)
POSTS = (1, 5)
ALBEDO = (0.03, 0.85)


def stage(mitsuba: Any, panorama: str, draw: Draw) -> dict[str, Any]:
    """A scene without its cameras."""
    light_3HW = panoramas.light(panorama)
    scaled_HW3 = (light_3HW * (0.2 / float(luma(light_3HW).median()))).permute(1, 2, 0).contiguous().numpy()
    turned = mitsuba.ScalarTransform4f().rotate([0, 1, 0], draw(0, 360))
    scene: dict[str, Any] = {
        "type": "scene",
        "panorama": {"type": "envmap", "bitmap": mitsuba.Bitmap(scaled_HW3), "to_world": turned},
        "ground": _ground(mitsuba, panorama, draw),
        "lamp": _lamp(draw),
    }
    for number in range(draw.whole(*THINGS)):
        scene[f"thing {number}"] = _thing(mitsuba, panorama, draw)
    for number in range(draw.whole(*POSTS)):
        scene[f"post {number}"] = _post(mitsuba, panorama, draw)
    return scene


def texture(panorama: str, draw: Draw) -> Tensor:
    """The albedo of a textured surface, rgb_3HW: a view of the panorama, exposed as a photograph and clipped."""
    view_3SS = panoramas.view(panorama, yaw=draw(0, 360), pitch=draw(-40, 30), fov=draw(25, 60), size=TEXTURE)
    bright = torch.quantile(luma(view_3SS).flatten(), 0.9).clamp(min=1e-6)
    low, high = ALBEDO
    return (view_3SS / bright * 0.6).clamp(low, high)


def _ground(mitsuba: Any, panorama: str, draw: Draw) -> dict[str, Any]:
    transform = mitsuba.ScalarTransform4f().rotate([1, 0, 0], -90).rotate([0, 0, 1], draw(0, 360)).scale(GROUND)
    return {"type": "rectangle", "to_world": transform, "bsdf": _matte(mitsuba, panorama, draw, repeats=draw(10, 25))}


def _lamp(draw: Draw) -> dict[str, Any]:
    """A glowing ball above the stage: an area lamp."""
    colour = [draw(0.6, 1.0), draw(0.6, 1.0), draw(0.4, 1.0)]
    radiance = 10 ** draw(0.7, 2.2)
    return {
        "type": "sphere",
        "center": [draw(-2.0, 2.0), draw(0.8, 2.5), draw(-2.0, 2.0)],
        "radius": draw(0.05, 0.2),
        "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [radiance * part for part in colour]}},
    }


def _thing(mitsuba: Any, panorama: str, draw: Draw) -> dict[str, Any]:
    """A ball, a box or a cylinder that stands on the ground."""
    size = draw(0.15, 0.55)
    x, z = draw(-2.5, 2.5), draw(-2.5, 2.5)
    surface = _surface(mitsuba, panorama, draw)
    kind = draw.whole(0, 2)
    if kind == 0:
        return {"type": "sphere", "center": [x, size, z], "radius": size, "bsdf": surface}
    height = size * draw(0.7, 2.5)
    if kind == 1:
        box = mitsuba.ScalarTransform4f().translate([x, height, z]).rotate([0, 1, 0], draw(0, 360))
        return {"type": "cube", "to_world": box.scale([size, height, size * draw(0.5, 1.5)]), "bsdf": surface}
    return _cylinder([x, 0.0, z], [x, 2 * height, z], 0.7 * size, surface)


def _post(mitsuba: Any, panorama: str, draw: Draw) -> dict[str, Any]:
    """A thin rod, upright or leaning."""
    x, z = draw(-2.5, 2.5), draw(-2.5, 2.5)
    top = [x + draw(-0.6, 0.6), draw(1.0, 2.5), z + draw(-0.6, 0.6)]
    return _cylinder([x, 0.0, z], top, draw(0.015, 0.06), _surface(mitsuba, panorama, draw))


def _cylinder(bottom: list[float], top: list[float], radius: float, surface: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "cylinder",
        "p0": bottom,
        "p1": top,
        "radius": radius,
        "bsdf": {"type": "twosided", "bsdf": surface},
    }


def _surface(mitsuba: Any, panorama: str, draw: Draw) -> dict[str, Any]:
    kind = draw(0, 1)
    if kind < 0.65:
        return _matte(mitsuba, panorama, draw, repeats=draw(0.5, 2.0))
    if kind < 0.85:
        return {"type": "roughplastic", "diffuse_reflectance": _colour(draw), "alpha": draw(0.1, 0.3)}
    return {"type": "roughconductor", "specular_reflectance": _colour(draw), "alpha": draw(0.15, 0.4)}


def _matte(mitsuba: Any, panorama: str, draw: Draw, repeats: float) -> dict[str, Any]:
    """A matte surface: a view of the panorama, a chequerboard or one colour."""
    to_uv = mitsuba.ScalarTransform4f().scale(repeats)
    kind = draw(0, 1)
    if kind < 0.6:
        albedo = texture(panorama, draw).permute(1, 2, 0).contiguous().numpy()
        bitmap = mitsuba.Bitmap(np.ascontiguousarray(albedo))
        return {
            "type": "diffuse",
            "reflectance": {
                "type": "bitmap",
                "bitmap": bitmap,
                "raw": True,
                "to_uv": to_uv,
                "wrap_mode": "mirror",
            },
        }
    if kind < 0.8:
        board = {"type": "checkerboard", "color0": _colour(draw), "color1": _colour(draw)}
        board["to_uv"] = mitsuba.ScalarTransform4f().scale(4 * repeats)
        return {"type": "diffuse", "reflectance": board}
    return {"type": "diffuse", "reflectance": _colour(draw)}


def _colour(draw: Draw) -> dict[str, Any]:
    low, high = (math.log(bound) for bound in ALBEDO)
    return {"type": "rgb", "value": [math.exp(draw(low, high)) for _ in range(3)]}
