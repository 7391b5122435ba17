"""LogResidualUNet: a small gated U-Net that corrects a filled picture by a bounded residual in the log domain.

Sources: Yu et al. 2019 (gated convolutions, eq. 3) and their single-channel variant in ExtraNet (Guo et al. 2021);
Wu & He 2018 (group normalisation); Ronneberger et al. 2015 (U-Net).
Shapes: B batch, 3 RGB, A channels, H, W pixels, at least 16. Light is linear; masks are 0 or 1.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.hdr.data import Batch

HARD_CLAMP = 8.0  # fail-safe on the log residual: a factor of 2981 at most
SCALE_RANGE = (0.5, HARD_CLAMP)  # of a learnable scale: above the clamp it would have no gradient
WINDOW = 9  # pixels a side
MIN_CONTRAST = 0.01  # natural logarithms
MIN_SPREAD = 0.1  # natural logarithms
WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.0)  # of the levels, relative to the first
BOUNDS = {
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "clamp": lambda x: x.clamp(-1, 1),  # no gradient beyond its ends: the others are compared with it
}


class Filled(NamedTuple):
    """The output of the network."""

    light_B3HW: Tensor  # equal to the input outside the holes and their ring
    start_B3HW: Tensor  # the log of the filled picture that the residual corrects
    delta_B3HW: Tensor  # the log residual that was added: clamped, and multiplied by `weight`
    raw_B3HW: Tensor  # the log residual before clamp and weight
    weight_B1HW: Tensor  # 1 in holes, `ring_scale` in the ring around them, else 0


class LogResidualUNet(nn.Module):
    """80,188 parameters at the default widths, and one more with a learnable scale.

    It starts from a blend of two fills, one that keeps the layers apart and one that ignores them: the first is right
    behind a moving object, the second one where the layers are not what they seem. For each pixel the network says how
    far to trust the second; before training it is one half.

    `cap` bounds the residual, in natural logarithms of light: it is fixed, or the start value of a learnable scale.
    Below that bound the output is in units of contrast, so smooth regions are corrected less than others.
    """

    scale: Tensor

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
        self.enter = GatedConv(8, levels[0], norm=False, single=single)
        self.down = nn.ModuleList(GatedConv(above, below, stride=2, single=single) for above, below in pairwise(levels))
        self.blocks = nn.ModuleList(ResidualBlock(channels, single=single) for channels in levels)
        self.up = nn.ModuleList(
            nn.Sequential(GatedConv(above + below, above, single=single), ResidualBlock(above, single=single))
            for above, below in pairwise(levels)
        )
        self.leave = nn.Conv2d(levels[0], 4, 1)  # the residual, and the trust in the fill that ignores layers
        nn.init.normal_(self.leave.weight, std=0.01)  # with zeros, behind gated layers, learning would not start
        nn.init.zeros_(_bias(self.leave))
        scale = torch.tensor(float(cap))
        if learn_scale:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)

    def forward(
        self,
        warped_B3HW: Tensor,
        hole_B1HW: Tensor,
        occluder_B1HW: Tensor,
        motion_B2HW: Tensor,
        base_log_B3HW: Tensor,
        plain_log_B3HW: Tensor,
    ) -> Filled:
        difference_B3HW = (plain_log_B3HW - base_log_B3HW).float()
        local = contrast(base_log_B3HW.float(), self.units)
        input_B8HW = torch.cat(
            [
                normalised(base_log_B3HW, self.input_norm),
                hole_B1HW,
                occluder_B1HW,
                motion_B2HW,
                difference_B3HW.mean(1, keepdim=True) / spread(base_log_B3HW),
            ],
            1,
        )
        out_B4HW = self.leave(self._trunk(input_B8HW)).float()
        out_B3HW, trust_B1HW = out_B4HW.tensor_split([3], 1)
        start = base_log_B3HW.float() + torch.sigmoid(trust_B1HW) * difference_B3HW
        out_B3HW = out_B3HW * local
        raw = BOUNDS[self.bound](out_B3HW) * self.scale  # the only bound: a second one would lower the cap
        ring = F.max_pool2d(hole_B1HW, self.ring_kernel, stride=1, padding=self.ring_kernel // 2) - hole_B1HW
        weight = hole_B1HW + self.ring_scale * ring
        delta = raw.clamp(-HARD_CLAMP, HARD_CLAMP) * weight
        light = torch.where(weight > 0, torch.exp(start + delta) - self.eps, warped_B3HW)
        return Filled(light, start, delta, raw, weight)

    @torch.no_grad()
    def project(self) -> None:
        """Put a learnable scale back into SCALE_RANGE."""
        self.scale.clamp_(*SCALE_RANGE)

    def _trunk(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        skips: list[Tensor] = []
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
    """Features times the sigmoid of a gate: one gate per channel, or a single one for all."""

    def __init__(self, before: int, after: int, *, stride: int = 1, norm: bool = True, single: bool = False) -> None:
        super().__init__()
        self.after = after
        self.conv = nn.Conv2d(before, after + (1 if single else after), 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(4, after) if norm else nn.Identity()  # restores the signal that a gate halves
        nn.init.kaiming_normal_(self.conv.weight[:after], a=0.2)
        nn.init.constant_(_bias(self.conv)[after:], 1.0)  # gates start open

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


def normalised(log_B3HW: Tensor, kind: str) -> Tensor:
    """Each patch normalised by itself: "standard" to mean 0 and spread 1, "minmax" to [0, 1]."""
    if kind == "standard":
        mean = log_B3HW.mean((1, 2, 3), keepdim=True)
        return (log_B3HW - mean) / spread(log_B3HW)
    low = log_B3HW.amin((1, 2, 3), keepdim=True)
    high = log_B3HW.amax((1, 2, 3), keepdim=True)
    return (log_B3HW - low) / (high - low).clamp(min=MIN_SPREAD)


def contrast(log_B3HW: Tensor, units: str) -> Tensor:
    """The factor on the network's output, broadcastable to [B, 1, H, W].

    "local" is the standard deviation in a window around each pixel, averaged over the colours; "patch" is that of the
    whole patch; "log" is 1. The input of the network has the same contrast for every patch, so without this factor a
    network trained on high contrast would correct low contrast too much.
    """
    if units == "log":
        return log_B3HW.new_ones(1, 1, 1, 1)
    if units == "patch":
        return spread(log_B3HW)
    mean = _window_mean(log_B3HW)
    variance = (_window_mean(log_B3HW**2) - mean**2).clamp(min=0)
    return (variance.mean(1, keepdim=True) + MIN_CONTRAST**2).sqrt()


def spread(log_B3HW: Tensor) -> Tensor:
    """[B, 1, 1, 1]: each patch's standard deviation, at least MIN_SPREAD."""
    return log_B3HW.std((1, 2, 3), keepdim=True).clamp(min=MIN_SPREAD)


def predict(model: nn.Module, batch: Batch) -> Filled:
    """The model's output for the inputs of a batch; the model never sees the target."""
    return model(
        batch.warped_B3SS,
        batch.hole_B1SS,
        batch.occluder_B1SS,
        batch.motion_B2SS,
        batch.base_log_B3SS,
        batch.plain_log_B3SS,
    )


def _window_mean(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None  # only layers with a bias are built here
    return layer.bias
