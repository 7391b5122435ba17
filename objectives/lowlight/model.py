"""CurveBlendNet: brightening curves where the picture is clean, a restoring network elsewhere, and a blending mask.

Sources: Guo et al. 2020 (Zero-DCE, eqs. 1-3) for the curves; Xu et al. 2022 (SNR-aware enhancement, eq. 2) for the
signal-to-noise map; Liu et al. 2021 (Swin) for attention in windows; Shi et al. 2016 for pixel shuffling.
Shapes: B batch, 3 RGB, H, W pixels, h, w a quarter of them. Pictures are in [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.common.colour import luma

WINDOW = 8  # positions a side
HEADS = 4
GREYISH = 0.15  # the colours of a picture with a lower mean chroma are strengthened


class Enhanced(NamedTuple):
    """The output of the network, and the parts that it is made of."""

    enhanced_B3HW: Tensor
    mask_B1HW: Tensor  # the blend takes its square as the share of the curve
    curve_B3HW: Tensor
    restored_B3HW: Tensor
    alpha_BAHW: Tensor  # in (-1, 1), 3 channels per iteration of the curve


class CurveBlendNet(nn.Module):
    """186,244 parameters at the default widths. Without dither, train mode and eval mode give the same result."""

    def __init__(
        self,
        width: int = 16,
        restore_width: int = 16,
        iterations: int = 8,
        *,
        attention: bool = True,
        dither: float = 0.0,
    ) -> None:
        super().__init__()
        self.dither = dither
        self.curve = CurveEstimator(width, iterations)
        self.restore = Restoration(restore_width, attention=attention)
        self.mask = MaskPredictor()
        self.colour = ColourHead()
        self.fine = FineColourHead()

    def forward(self, low_B3HW: Tensor) -> Enhanced:
        height, width = low_B3HW.shape[-2:]
        x = F.pad(low_B3HW, (0, -width % 4, 0, -height % 4), mode="replicate")
        snr = snr_map(x)
        alpha = self.curve(x, snr)
        curve = apply_curve(x, alpha)
        restored = self.restore(x, snr, curve)
        mask = self.mask(x, snr, curve)
        if self.training and self.dither:
            mask = (mask + self.dither * torch.randn_like(mask)).clamp(0, 1)
        share = mask**2  # the only place where it is squared, in train mode and in eval mode
        blended = (share * curve + (1 - share) * restored).clamp(0, 1)
        enhanced = strengthen(self.fine(self.colour(blended)))
        return Enhanced(*(part[..., :height, :width] for part in (enhanced, mask, curve, restored, alpha)))

    @torch.no_grad()
    def project(self, identity_clamp: float) -> None:
        """Put the colour heads back into their allowed sets."""
        self.colour.project(identity_clamp, 0.02)
        self.fine.project()


class CurveEstimator(nn.Module):
    """Parameters of the curve at each pixel, in (-1, 1), three per iteration, from its neighbourhood and from
    statistics of the whole picture."""

    def __init__(self, width: int, iterations: int) -> None:
        super().__init__()
        layers = [
            _conv(4, width),
            nn.LeakyReLU(0.1),
            _conv(width, width),
            nn.LeakyReLU(0.1),
            _conv(width, width),
            nn.LeakyReLU(0.1),
        ]
        local_output = _conv(width, 3 * iterations)
        self.local = nn.Sequential(*layers, local_output)
        whole_hidden = nn.Linear(10, 32)
        whole_output = nn.Linear(32, 3)
        self.whole = nn.Sequential(whole_hidden, nn.LeakyReLU(0.1), whole_output)
        with torch.no_grad():
            local_output.weight.mul_(0.1)
            _bias(local_output).zero_()
            whole_output.weight.zero_()
            _bias(whole_output).fill_(0.6)  # an untrained network brightens

    def forward(self, x_B3HW: Tensor, snr_B1HW: Tensor) -> Tensor:
        local_BAHW = self.local(torch.cat([x_B3HW, snr_B1HW], 1))
        whole_B3 = self.whole(statistics(x_B3HW, snr_B1HW))
        iterations = local_BAHW.shape[1] // 3
        return torch.tanh((local_BAHW + whole_B3.repeat(1, iterations)[..., None, None]).float())


class Restoration(nn.Module):
    """What a curve cannot restore: structure under the noise, as a correction of the curve's picture."""

    def __init__(self, width: int, *, attention: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.PixelUnshuffle(2), _conv(28, 2 * width), nn.LeakyReLU(0.1))
        self.deep = nn.Sequential(
            _conv(2 * width, 4 * width, stride=2),
            nn.LeakyReLU(0.1),
            _conv(4 * width, 4 * width),
            nn.LeakyReLU(0.1),
            WindowAttention(4 * width) if attention else nn.Identity(),
            _conv(4 * width, 8 * width),
            nn.LeakyReLU(0.1),
            nn.PixelShuffle(2),
        )
        leave_hidden = _conv(4 * width, 2 * width)
        leave_output = _conv(2 * width, 12)
        self.leave = nn.Sequential(leave_hidden, nn.LeakyReLU(0.1), leave_output, nn.PixelShuffle(2))
        nn.init.zeros_(leave_output.weight)
        nn.init.zeros_(_bias(leave_output))

    def forward(self, x_B3HW: Tensor, snr_B1HW: Tensor, curve_B3HW: Tensor) -> Tensor:
        skip = self.enter(torch.cat([x_B3HW, snr_B1HW, curve_B3HW], 1))
        return curve_B3HW + self.leave(torch.cat([self.deep(skip), skip], 1))


class WindowAttention(nn.Module):
    """Self-attention inside windows of 8 x 8 positions, added to its input. Borders are repeated to whole windows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x_BChw: Tensor) -> Tensor:
        height, width = x_BChw.shape[-2:]
        padded = F.pad(x_BChw, (0, -width % WINDOW, 0, -height % WINDOW), mode="replicate")
        batch, channels, rows, columns = padded.shape
        shape = (batch, channels, rows // WINDOW, WINDOW, columns // WINDOW, WINDOW)
        tokens = padded.reshape(shape).permute(0, 2, 4, 3, 5, 1).reshape(-1, WINDOW**2, channels)
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm(tokens)).chunk(3, -1)
        )
        with torch.autocast(x_BChw.device.type, enabled=False):  # on a CPU sixteen times faster than bfloat16
            mixed = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
        mixed = mixed.transpose(1, 2).flatten(2)
        attended = self.out(mixed).reshape(batch, rows // WINDOW, columns // WINDOW, WINDOW, WINDOW, channels)
        image = attended.permute(0, 5, 1, 3, 2, 4).reshape(padded.shape)
        return x_BChw + image[..., :height, :width]


class MaskPredictor(nn.Module):
    """How far the curve is trusted at each pixel, in (0, 1): 0.71 everywhere before training."""

    def __init__(self) -> None:
        super().__init__()
        hidden = _conv(7, 16)
        output = _conv(16, 1)
        self.layers = nn.Sequential(hidden, nn.LeakyReLU(0.1), output)
        nn.init.zeros_(output.weight)
        nn.init.constant_(_bias(output), 0.9)

    def forward(self, x_B3HW: Tensor, snr_B1HW: Tensor, curve_B3HW: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(torch.cat([x_B3HW, snr_B1HW, curve_B3HW], 1)).float())


class ColourHead(nn.Module):
    """Mixes the channels: a matrix near the identity, and an offset near 0."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(3))
        self.offset = nn.Parameter(torch.zeros(3))

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        with torch.autocast(rgb_B3HW.device.type, enabled=False):
            mixed = torch.einsum("oc,bchw->bohw", self.matrix, rgb_B3HW.float())
        return mixed + self.offset.view(3, 1, 1)

    @torch.no_grad()
    def project(self, around_identity: float, around_zero: float) -> None:
        """Clamp the matrix around the identity, and the offset around 0."""
        identity = torch.eye(3, device=self.matrix.device)
        self.matrix.copy_(identity + (self.matrix - identity).clamp(-around_identity, around_identity))
        self.offset.clamp_(-around_zero, around_zero)


class FineColourHead(ColourHead):
    """A second mix within tighter limits, then vibrance and a gamma for each channel. The output is in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.vibrance = nn.Parameter(torch.ones(()))
        self.gamma = nn.Parameter(torch.ones(3))

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        mixed = super().forward(rgb_B3HW)
        grey = luma(mixed)
        chroma = (mixed.amax(1, keepdim=True) - mixed.amin(1, keepdim=True)).clamp(0, 1)
        vivid = grey + (mixed - grey) * (1 + (self.vibrance - 1) * (1 - chroma))
        return vivid.clamp(1e-6, 1) ** self.gamma.view(3, 1, 1)

    @torch.no_grad()
    def project(self, around_identity: float = 0.02, around_zero: float = 0.01) -> None:
        super().project(around_identity, around_zero)
        self.vibrance.clamp_(0.98, 1.05)
        self.gamma.clamp_(0.95, 1.05)


def apply_curve(x_B3HW: Tensor, alpha_BAHW: Tensor) -> Tensor:
    """y <- y + a y (1 - y), once for each three channels of `alpha`. For a in [-1, 1] and x in [0, 1] the result is in
    [0, 1], and the order of values is kept. Source: Guo et al. 2020, eq. 2."""
    y = x_B3HW
    for a in alpha_BAHW.chunk(alpha_BAHW.shape[1] // 3, 1):
        y = torch.addcmul(y, a, y - y * y)
    return y


def snr_map(x_B3HW: Tensor) -> Tensor:
    """Signal to noise ratio, squashed to (0.27, 1): the mean of 3 x 3 pixels over the distance from it."""
    grey = luma(x_B3HW)
    smooth = F.avg_pool2d(F.pad(grey, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    ratio = smooth / (grey - smooth).abs().clamp(min=1e-3)
    return torch.sigmoid(ratio.clamp(0, 50) - 1)


def statistics(x_B3HW: Tensor, snr_B1HW: Tensor) -> Tensor:
    """Statistics of each whole picture, [B, 10]: for each channel the logarithms of mean, spread and highest mean of
    4 x 4 pixels, and the mean signal to noise ratio."""
    mean = x_B3HW.mean((-2, -1))
    spread = x_B3HW.std((-2, -1))
    highest = F.avg_pool2d(x_B3HW, 4).amax((-2, -1))
    return torch.cat([torch.log(torch.cat([mean, spread, highest], 1) + 0.02), snr_B1HW.mean((-2, -1))], 1)


def strengthen(rgb_B3HW: Tensor) -> Tensor:
    """Stronger colours: their distance from grey is multiplied by 1 at a mean chroma of GREYISH, and by up to 2 below.

    The factor depends on each picture alone, not on its batch.
    """
    chroma_B = (rgb_B3HW.amax(1) - rgb_B3HW.amin(1)).mean((-2, -1))
    boost_B = (2 * torch.relu(GREYISH - chroma_B) / GREYISH).clamp(0, 1)
    grey = luma(rgb_B3HW)
    return (grey + (rgb_B3HW - grey) * (1 + boost_B.view(-1, 1, 1, 1))).clamp(0, 1)


def _conv(before: int, after: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=stride, padding=1)


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None  # only layers with a bias are asked for it
    return layer.bias
