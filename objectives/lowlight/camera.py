"""A model of a camera in poor light, which makes the dark picture of a pair.

Shapes: N pictures, 3 RGB, S pixels a side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from objectives.common.colour import as_float, as_uint8, srgb_from_linear


class Camera(NamedTuple):
    """The range of each parameter, drawn for each darkened picture; both ends may be equal."""

    stops: tuple[float, float] = (2.0, 4.5)  # the light is multiplied by 2^-stops
    gain: tuple[float, float] = (0.9, 1.1)  # of red and blue relative to green: a wrong white balance
    electrons: tuple[float, float] = (300.0, 3000.0)  # at full scale, log-uniform: shot noise
    read_noise: tuple[float, float] = (5e-4, 3e-3)  # standard deviation at full scale, log-uniform
    row_noise: float = 0.0  # standard deviation of a constant added to each row


CAMERA = Camera()


def darken(light_N3SS: Tensor, rng: torch.Generator, camera: Camera = CAMERA) -> Tensor:
    """The light as a camera would take it with too short an exposure: sRGB-encoded, rounded to 8 bit.

    1 is white at the right exposure. What is brighter, and so clipped in the bright picture, may show its colour in
    the dark one. Lower exposure and unequal gains, then shot noise (Poisson) and read noise (Gaussian).
    """
    count = len(light_N3SS)
    stops = _uniform(camera.stops, count, rng)
    red_gain = _uniform(camera.gain, count, rng)
    blue_gain = _uniform(camera.gain, count, rng)
    gain = torch.stack([red_gain, torch.ones(count), blue_gain], 1)
    electrons = _log_uniform(camera.electrons, count, rng).view(-1, 1, 1, 1)
    sigma = _log_uniform(camera.read_noise, count, rng).view(-1, 1, 1, 1)
    light = light_N3SS * (2.0**-stops).view(-1, 1, 1, 1) * gain.view(-1, 3, 1, 1)
    light = torch.poisson(light * electrons, generator=rng) / electrons
    light = light + sigma * torch.randn(light.shape, generator=rng)
    if camera.row_noise:
        light = light + camera.row_noise * torch.randn((count, 1, light.shape[2], 1), generator=rng)
    return as_float(as_uint8(srgb_from_linear(light.clamp(0, 1))))


def _uniform(bounds: tuple[float, float], count: int, rng: torch.Generator) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, generator=rng)


def _log_uniform(bounds: tuple[float, float], count: int, rng: torch.Generator) -> Tensor:
    low, high = (math.log(bound) for bound in bounds)
    return torch.exp(_uniform((low, high), count, rng))
