"""Cloak: bounded noise and a bounded warp for each photograph. Nothing here is a network.

Both are bounded by tanh, whose slope is never 0 for |raw| <= RAW_LIMIT. A clamp's slope is 0 beyond its bound, from
where no gradient leads back.
Shapes: B photographs of a batch, 3 RGB, S pixels a side, G grid points a side, H, W pixels of any photograph.
Photographs are in [0, 1]. Warps are in grid_sample's coordinates, where the side is 2 long: 0.03 is 1.5 % of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RAW_LIMIT = 3.0  # where tanh's slope is 0.0099; in float32 the slope is exactly 0 from 9.02 on
GRID_START = 0.05  # raw grids begin uniform in +- this
NOISE, GRID = "noise", "grid"  # the two kinds of parameters


class Cloaked(NamedTuple):
    """Protected photographs, and how they were changed."""

    image_B3SS: Tensor  # in [0, 1]; the gradient ignores the final clamp
    change_B3SS: Tensor  # what was added before the warp, within +- noise_limit
    flow_B2SS: Tensor  # across, down: from where each pixel was taken, relative to itself, within +- warp_limit


class Cloak(nn.Module):
    """Raw parameters of `count` photographs, looked up by number.

    Photographs share no parameters. One that is not in a batch gets no gradient, so an optimizer leaves its parameters
    and their moments as they are.
    """

    zone_SS: Tensor

    def __init__(
        self,
        count: int,
        size: int,
        *,
        grid: int = 12,
        noise_limit: float = 0.05,
        warp_limit: float = 0.03,
        start: float = 0.2,
        textured: bool = False,
        centred: bool = False,
        anchoring: float = 0.8,
    ) -> None:
        super().__init__()
        self.noise_limit, self.warp_limit, self.textured = noise_limit, warp_limit, textured
        # Not zero: there the cosine of a photograph with itself is at its maximum, and has no gradient.
        self.noise = nn.ParameterList(_uniform(start, 3, size, size) for _ in range(count))
        self.grid = nn.ParameterList(_uniform(GRID_START, 2, grid, grid) for _ in range(count))
        zone_SS = centre_zone(size, anchoring) if centred else torch.ones(size, size)
        self.register_buffer("zone_SS", zone_SS, persistent=False)

    def forward(self, photo_B3SS: Tensor, number_B: Tensor) -> Cloaked:
        numbers = number_B.tolist()
        if max(numbers) >= len(self.noise):
            raise ValueError(f"photograph {max(numbers)} has no parameters: this model holds {len(self.noise)}")
        with torch.autocast(
            photo_B3SS.device.type, enabled=False
        ):  # in half precision tanh's slope is 0 from 3.5 or 5 on
            raw_B3SS = torch.stack([self.noise[number] for number in numbers]).float()
            raw_B2GG = torch.stack([self.grid[number] for number in numbers]).float()
            change = self.noise_limit * torch.tanh(raw_B3SS)
            if self.textured:
                change = change * texture_mask(photo_B3SS)
            flow = upsample(self.warp_limit * torch.tanh(raw_B2GG), photo_B3SS.shape[-2:]) * self.zone_SS
            return Cloaked(apply_change(photo_B3SS, change, flow), change, flow)

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


def folded_share(flow_B2SS: Tensor) -> Tensor:
    """Share of the pixels at which a warp folds the picture over, [B]: where its Jacobian determinant is at most 0."""
    side = flow_B2SS.new_tensor([flow_B2SS.shape[-1], flow_B2SS.shape[-2]]).view(2, 1, 1)
    pixels = flow_B2SS * side / 2
    by_x = (pixels[..., 1:] - pixels[..., :-1])[..., :-1, :]
    by_y = (pixels[..., 1:, :] - pixels[..., :-1, :])[..., :-1]
    determinant = (1 + by_x[:, 0]) * (1 + by_y[:, 1]) - by_x[:, 1] * by_y[:, 0]
    return (determinant <= 0).float().mean((-2, -1))
