"""Cloak: bounded noise and a bounded warp for each photograph. Nothing here is a network.

Both live in a region of the frame, and fall to 0 at its border, so that nothing outside it changes. Both are bounded by
tanh, whose slope is never 0 for |raw| <= RAW_LIMIT. A clamp's slope is 0 beyond its bound, from where no gradient leads
back.
Shapes: B photographs of a batch, 3 RGB, S pixels a side of a frame, Q of the region in its middle, G grid points a
side, H, W pixels of any region. Photographs are in [0, 1]. Warps are in grid_sample's coordinates, where the region's
side is 2 long: 0.015 is 0.75 % of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RAW_LIMIT = 3.0  # where tanh's slope is 0.0099; in float32 the slope is exactly 0 from 9.02 on
GRID_START = 0.05  # raw grids begin uniform in +- this
MAX_NOISE_SIDE = 256  # noise is drawn on at most so many pixels a side, and stretched to a larger region
FADE = 0.15  # share of the region's side over which a change rises from 0 at the border to its full size
NOISE, GRID = "noise", "grid"  # the two kinds of parameters


class Cloaked(NamedTuple):
    """Changed photographs, and how they were changed."""

    image_B3SS: Tensor  # the frames, in [0, 1]; the gradient ignores the final clamp
    change_B3QQ: Tensor  # what was added before the warp, within +- noise_limit
    flow_B2QQ: Tensor  # across, down: from where each pixel was taken, relative to itself, within +- warp_limit


class Cloak(nn.Module):
    """Raw parameters of `count` photographs, looked up by number.

    Photographs share no parameters. One that is not in a batch gets no gradient, so an optimizer leaves its parameters
    and their moments as they are.
    """

    zone_QQ: Tensor
    window_QQ: Tensor

    def __init__(
        self,
        count: int,
        side: int,
        *,
        grid: int = 12,
        noise_limit: float = 0.05,
        warp_limit: float = 0.015,
        colour: float = 0.3,
        start: float = 0.2,
        textured: bool = False,
        centred: bool = False,
        anchoring: float = 0.8,
    ) -> None:
        """`side` is Q, that of the region. `colour` in [0, 1] is how far the channels may part: 0 is grey noise."""
        super().__init__()
        self.colour = colour
        self.side, self.noise_limit, self.warp_limit, self.textured = side, noise_limit, warp_limit, textured
        noise_side = min(side, MAX_NOISE_SIDE)
        # Not zero: there the dissimilarity of a photograph from itself is at its minimum, and has no gradient.
        self.noise = nn.ParameterList(_uniform(start, 3, noise_side, noise_side) for _ in range(count))
        self.grid = nn.ParameterList(_uniform(GRID_START, 2, grid, grid) for _ in range(count))
        self.register_buffer("window_QQ", window(side, side), persistent=False)
        zone_QQ = centre_zone(side, anchoring) if centred else torch.ones(side, side)
        self.register_buffer("zone_QQ", zone_QQ, persistent=False)

    def forward(self, photo_B3SS: Tensor, number_B: Tensor) -> Cloaked:
        numbers = number_B.tolist()
        if max(numbers) >= len(self.noise):
            raise ValueError(f"photograph {max(numbers)} has no parameters: this model holds {len(self.noise)}")
        region_B3QQ = inner(photo_B3SS, self.side)
        with torch.autocast(
            photo_B3SS.device.type, enabled=False
        ):  # in half precision tanh's slope is 0 from 3.5 or 5 on
            raw_B3QQ = torch.stack([self.noise[number] for number in numbers]).float()
            raw_B2GG = torch.stack([self.grid[number] for number in numbers]).float()
            noise = torch.tanh(raw_B3QQ)
            grey = noise.mean(1, keepdim=True)
            noise = grey + self.colour * (noise - grey)  # between the two, so its bound holds
            change = upsample(self.noise_limit * noise, region_B3QQ.shape[-2:]) * self.window_QQ
            if self.textured:
                change = change * texture_mask(region_B3QQ)
            flow = upsample(self.warp_limit * torch.tanh(raw_B2GG), region_B3QQ.shape[-2:])
            flow = flow * self.zone_QQ * self.window_QQ
            return Cloaked(with_inner(photo_B3SS, apply_change(region_B3QQ, change, flow)), change, flow)

    @torch.no_grad()
    def raw_max(self, number_B: Tensor) -> Tensor:
        """The largest raw parameter of each of these photographs, [B]."""
        noise = [self.noise[number].abs().max() for number in number_B.tolist()]
        grid = [self.grid[number].abs().max() for number in number_B.tolist()]
        return torch.maximum(torch.stack(noise), torch.stack(grid))

    @torch.no_grad()
    def project(self) -> None:
        """Clamp every raw parameter to where tanh has a slope."""
        for parameter in self.parameters():
            parameter.clamp_(-RAW_LIMIT, RAW_LIMIT)


def _uniform(half: float, *shape: int) -> nn.Parameter:
    """Uniform on [-half, half]."""
    return nn.Parameter(half * (2 * torch.rand(shape) - 1))


def apply_change(photo_B3HW: Tensor, change_B3hw: Tensor, flow_B2hw: Tensor) -> Tensor:
    """The photographs with the change added, and then warped, in [0, 1].

    A change of another size is stretched bilinearly, which keeps its bounds.
    """
    size = photo_B3HW.shape[-2:]
    change, flow = upsample(change_B3hw, size), upsample(flow_B2hw, size)
    identity = torch.eye(2, 3, device=photo_B3HW.device).expand(len(photo_B3HW), 2, 3)
    at_BHW2 = F.affine_grid(identity, [len(photo_B3HW), 3, *size], align_corners=False) + flow.permute(0, 2, 3, 1)
    image = F.grid_sample(photo_B3HW + change, at_BHW2, mode="bilinear", padding_mode="border", align_corners=False)
    return image + (image.clamp(0, 1) - image).detach()


def upsample(values_BChw: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Stretch bilinearly, which keeps bounds: bicubic would overshoot by three quarters."""
    if values_BChw.shape[-2:] == tuple(size):
        return values_BChw
    return F.interpolate(values_BChw, tuple(size), mode="bilinear", align_corners=False)


def inner(frame_B3SS: Tensor, side: int) -> Tensor:
    """The region in the middle of frames, [B, 3, Q, Q]."""
    margin = (frame_B3SS.shape[-1] - side) // 2
    return frame_B3SS[..., margin : margin + side, margin : margin + side]


def with_inner(frame_B3SS: Tensor, region_B3QQ: Tensor) -> Tensor:
    """The frames with another region in their middle."""
    if region_B3QQ.shape == frame_B3SS.shape:
        return region_B3QQ
    whole = frame_B3SS.clone()
    inner(whole, region_B3QQ.shape[-1])[:] = region_B3QQ
    return whole


def window(height: int, width: int) -> Tensor:
    """[H, W]: 1 inside, falling to 0 at the border as a raised cosine, so that a change has no edge."""
    return _rise(height)[:, None] * _rise(width)[None]


def _rise(length: int) -> Tensor:
    at = (torch.arange(length) + 0.5) / length
    from_border = torch.minimum(at, 1 - at)
    return 0.5 - 0.5 * torch.cos(math.pi * (from_border / FADE).clamp(max=1))


def texture_mask(photo_B3SS: Tensor) -> Tensor:
    """How well a change is hidden, [B, 1, S, S] in [0.1, 1]: the Sobel slope of the brightness over its maximum."""
    grey = F.pad(photo_B3SS.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = grey.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    slopes = F.conv2d(grey, torch.stack([across, across.T])[:, None])
    slope = slopes.square().sum(1, keepdim=True).sqrt()
    return (slope / slope.amax((-2, -1), keepdim=True).clamp(min=1e-6)).clamp(0.1, 1)


def centre_zone(size: int, anchoring: float) -> Tensor:
    """A bell around the middle, where eyes and nose are, [S, S] in (0, 1]; `anchoring` in [0, 1] makes it narrower."""
    at = torch.arange(size) + 0.5 - size / 2
    distance2 = (at[:, None] ** 2 + at[None] ** 2) / (0.3 * size) ** 2
    return torch.exp(-distance2 * (1 + 2 * anchoring))


def folded_share(flow_B2QQ: Tensor) -> Tensor:
    """Share of the pixels at which a warp folds the picture over, [B]: where its Jacobian determinant is at most 0."""
    side = flow_B2QQ.new_tensor([flow_B2QQ.shape[-1], flow_B2QQ.shape[-2]]).view(2, 1, 1)
    pixels = flow_B2QQ * side / 2
    by_x = (pixels[..., 1:] - pixels[..., :-1])[..., :-1, :]
    by_y = (pixels[..., 1:, :] - pixels[..., :-1, :])[..., :-1]
    determinant = (1 + by_x[:, 0]) * (1 + by_y[:, 1]) - by_x[:, 1] * by_y[:, 0]
    return (determinant <= 0).float().mean((-2, -1))
