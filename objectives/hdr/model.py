"""LogResidualUNet: a small gated U-Net that corrects a filled picture by a bounded residual in the log domain.

Sources: Yu et al. 2019 (gated convolutions, eq. 3) and their single-channel variant in ExtraNet (Guo et al. 2021);
Wu & He 2018 (group normalisation); Ronneberger et al. 2015 (U-Net).
Shapes: B batch, 3 RGB, A channels, H, W pixels, at least 16. Light is linear; masks are 0 or 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HARD_CLAMP = 8.0  # fail-safe on the log residual: a factor of 2981 at most
SCALE_RANGE = (0.5, HARD_CLAMP)  # of a learnable scale: above the clamp it would have no gradient
WINDOW, LEAST_CONTRAST = 9, 0.01  # pixels a side; natural logarithms
WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.0)  # of the levels
BOUNDS = {
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "clamp": lambda x: x.clamp(-1, 1),  # no gradient beyond its ends: what the others are measured against
}


class Filled(NamedTuple):
    """What the network gives."""

    light_B3HW: Tensor  # equal to the input outside the holes and their ring
    delta_B3HW: Tensor  # log residual as it was added: clamped, and weighed by `weight`
    raw_B3HW: Tensor  # before the clamp and the weight
    weight_B1HW: Tensor  # 1 in holes, `ring_scale` in the ring around them, else 0


class LogResidualUNet(nn.Module):
    """79,959 parameters at the default widths, and one more with a learnable scale.

    `cap` is what the residual is bounded by, in natural logarithms of light: fixed, or where a learnable scale begins.
    Under that bound the output counts in units of contrast: what is smooth is corrected less than what is not.
    """

    def __init__(
        self,
        width: int = 12,
        depth: int = 3,
        *,
        bound: str = "tanh",
        cap: float = 6.0,
        learn_scale: bool = False,
        units: str = "local",
        gate: str = "full",
        input_norm: str = "standard",
        ring_kernel: int = 3,
        ring_scale: float = 0.5,
        eps: float = 1e-3,
    ) -> None:
        super().__init__()
        self.bound, self.units, self.input_norm = bound, units, input_norm
        self.ring_kernel, self.ring_scale, self.eps = ring_kernel, ring_scale, eps
        levels = [max(4, round(width * factor / 4) * 4) for factor in WIDTHS[:depth]]
        single = gate == "single"
        self.enter = GatedConv(7, levels[0], norm=False, single=single)
        self.down = nn.ModuleList(
            GatedConv(above, below, stride=2, single=single) for above, below in zip(levels, levels[1:], strict=False)
        )
        self.blocks = nn.ModuleList(ResidualBlock(channels, single=single) for channels in levels)
        self.up = nn.ModuleList(
            nn.Sequential(GatedConv(above + below, above, single=single), ResidualBlock(above, single=single))
            for above, below in zip(levels, levels[1:], strict=False)
        )
        self.leave = nn.Conv2d(levels[0], 3, 1)
        nn.init.normal_(self.leave.weight, std=0.01)  # zero and gated layers together would not start to learn
        nn.init.zeros_(self.leave.bias)
        scale = torch.tensor(float(cap))
        if learn_scale:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)

    def forward(
        self, warped_B3HW: Tensor, hole_B1HW: Tensor, occluder_B1HW: Tensor, motion_B2HW: Tensor, base_log_B3HW: Tensor
    ) -> Filled:
        seen_B7HW = torch.cat([normalised(base_log_B3HW, self.input_norm), hole_B1HW, occluder_B1HW, motion_B2HW], 1)
        out_B3HW = self.leave(self._trunk(seen_B7HW)).float()
        out_B3HW = out_B3HW * contrast(base_log_B3HW.float(), self.units)
        raw = BOUNDS[self.bound](out_B3HW) * self.scale  # the only bound there is: two would multiply
        ring = F.max_pool2d(hole_B1HW, self.ring_kernel, stride=1, padding=self.ring_kernel // 2) - hole_B1HW
        weight = hole_B1HW + self.ring_scale * ring
        delta = raw.clamp(-HARD_CLAMP, HARD_CLAMP) * weight
        light = torch.where(weight > 0, torch.exp(base_log_B3HW.float() + delta) - self.eps, warped_B3HW)
        return Filled(light, delta, raw, weight)

    @torch.no_grad()
    def project(self) -> None:
        """Put a learnable scale back into SCALE_RANGE."""
        self.scale.clamp_(*SCALE_RANGE)

    def _trunk(self, x: Tensor) -> Tensor:
        x, skips = self.enter(x), []
        for level, block in enumerate(self.blocks):
            x = block(x)
            if level < len(self.down):
                skips.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(x, skips[level].shape[-2:], mode="bilinear", align_corners=False)
            x = self.up[level](torch.cat([x, skips[level]], 1))
        return x


class GatedConv(nn.Module):
    """Features times the sigmoid of a gate: one gate a channel, or a single one for all."""

    def __init__(self, before: int, after: int, *, stride: int = 1, norm: bool = True, single: bool = False) -> None:
        super().__init__()
        self.after = after
        self.conv = nn.Conv2d(before, after + (1 if single else after), 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(4, after) if norm else nn.Identity()  # a gate halves the signal: it is put back
        nn.init.kaiming_normal_(self.conv.weight[:after], a=0.2)
        nn.init.constant_(self.conv.bias[after:], 1.0)  # open at first

    def forward(self, x_BAHW: Tensor) -> Tensor:
        features, gate = self.conv(x_BAHW).tensor_split([self.after], 1)
        return F.leaky_relu(self.norm(features * torch.sigmoid(gate)), 0.2)


class ResidualBlock(nn.Module):
    """Two gated convolutions, added to their input."""

    def __init__(self, channels: int, *, single: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            GatedConv(channels, channels, single=single), GatedConv(channels, channels, single=single)
        )

    def forward(self, x_BAHW: Tensor) -> Tensor:
        return x_BAHW + self.layers(x_BAHW)


def normalised(log_B3HW: Tensor, how: str) -> Tensor:
    """Each patch by itself: "standard" to mean 0 and spread 1, "minmax" to [0, 1]."""
    if how == "standard":
        mean = log_B3HW.mean((1, 2, 3), keepdim=True)
        return (log_B3HW - mean) / spread_of(log_B3HW)
    low, high = log_B3HW.amin((1, 2, 3), keepdim=True), log_B3HW.amax((1, 2, 3), keepdim=True)
    return (log_B3HW - low) / (high - low).clamp(min=0.1)


def contrast(log_B3HW: Tensor, units: str) -> Tensor:
    """What the network's output is multiplied by, broadcastable to [B, 1, H, W]: "local", the standard deviation in
    a window around each pixel, over the colours; "patch", that of the whole patch; "log", 1. The network sees every
    patch at one contrast, and would otherwise overcorrect soft light after it has learned on harsh light."""
    if units == "log":
        return log_B3HW.new_ones(1, 1, 1, 1)
    if units == "patch":
        return spread_of(log_B3HW)
    mean, of_squares = (
        F.avg_pool2d(x, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False) for x in (log_B3HW, log_B3HW**2)
    )
    return ((of_squares - mean**2).clamp(min=0).mean(1, keepdim=True) + LEAST_CONTRAST**2).sqrt()


def spread_of(log_B3HW: Tensor) -> Tensor:
    """[B, 1, 1, 1]: each patch's standard deviation, at least 0.1."""
    return log_B3HW.std((1, 2, 3), keepdim=True).clamp(min=0.1)
