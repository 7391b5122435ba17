"""Panoramas: views of a planted one have the closed form of a pinhole camera, and the ten of the wheel are read."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from objectives.common import packaged, panoramas


def _planted(height: int = 1024) -> Tensor:
    """A panorama whose colour is its own direction: right, up, ahead."""
    longitude = ((torch.arange(2 * height) + 0.5) / height - 1) * math.pi
    latitude = (0.5 - (torch.arange(height) + 0.5) / height) * math.pi
    up, around = torch.meshgrid(latitude, longitude, indexing="ij")
    return torch.stack([around.sin() * up.cos(), up.sin(), around.cos() * up.cos()])


@pytest.mark.parametrize(
    ("yaw", "pitch", "ahead"),
    [(0, 0, (0, 0, 1)), (90, 0, (1, 0, 0)), (180, 0, (0, 0, -1)), (-90, 0, (-1, 0, 0)), (40, 90, (0, 1, 0))],
)
def test_the_camera_looks_where_it_is_told(yaw: float, pitch: float, ahead: tuple[float, ...]) -> None:
    seen_3SS = panoramas.perspective(_planted(), yaw=yaw, pitch=pitch, fov=60, size=101)
    torch.testing.assert_close(seen_3SS[:, 50, 50], torch.tensor(ahead, dtype=torch.float32), atol=2e-3, rtol=0)


def test_every_pixel_has_the_direction_of_a_pinhole_camera() -> None:
    size, fov = 64, 75
    seen_3SS = panoramas.perspective(_planted(), yaw=0, pitch=0, fov=fov, size=size)
    steps = ((torch.arange(size) + 0.5) / size * 2 - 1) * math.tan(math.radians(fov / 2))
    up, right = torch.meshgrid(-steps, steps, indexing="ij")
    directions_3SS = torch.stack([right, up, torch.ones_like(up)])
    expected_3SS = directions_3SS / directions_3SS.norm(dim=0)
    torch.testing.assert_close(seen_3SS, expected_3SS, atol=3e-3, rtol=0)


def test_there_is_no_seam_behind_the_camera() -> None:
    seen_3SS = panoramas.perspective(_planted(64), yaw=180, pitch=0, fov=60, size=64)
    assert float(seen_3SS.diff(dim=-1).abs().amax()) < 0.05


def test_a_small_view_is_averaged_and_not_picked() -> None:
    stripes_3HW = (torch.arange(1024) % 2).float().expand(3, 512, 1024)
    seen_3SS = panoramas.perspective(stripes_3HW, yaw=10, pitch=0, fov=75, size=16)
    assert float((seen_3SS - 0.5).abs().amax()) < 0.15


@pytest.mark.parametrize("name", panoramas.PANORAMAS)
def test_the_panoramas_are_light_of_many_decades(name: str) -> None:
    light_3HW = panoramas.light(name)
    assert light_3HW.shape == (3, 512, 1024)
    assert float(light_3HW.min()) >= 0
    assert float(light_3HW.max()) > 10  # every one was taken without clipping its lamps or its sky
    assert panoramas.view(name, yaw=0, size=32).shape == (3, 32, 32)
    assert panoramas.origin(name) == panoramas.PANORAMAS[name].sha256


def test_a_missing_wheel_is_named_with_its_command() -> None:
    file = packaged.PackagedFile("no_such_package", "a.hdr", "0" * 64, "", "pip install no-such-package")
    with pytest.raises(ValueError, match=r"panorama 'x': it needs the package no_such_package.*pip install no-such-pa"):
        file.checked("panorama 'x'")


def test_another_content_is_refused() -> None:
    real = panoramas.PANORAMAS["lebombo"]
    changed = packaged.PackagedFile(real.package, real.path, "0" * 64, real.terms)
    with pytest.raises(ValueError, match=f"must have sha256 {'0' * 64}; got {real.sha256}"):
        changed.checked("panorama 'lebombo'")


def test_an_unknown_panorama_is_named() -> None:
    with pytest.raises(ValueError, match="unknown panorama 'moon'; known: dikhololo_night"):
        panoramas.light("moon")
