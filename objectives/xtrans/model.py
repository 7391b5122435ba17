"""Networks that add a correction to an interpolated mosaic. What the sensor measured is never changed.

    b = interpolation of m        mu = mean of b        f = m, b in units of mu
    rgb = b + mu net(f), and then m itself where it was measured

Everything is in units of mu, so four times the light gives four times the picture exactly: no highlight is lost.

Sources: Kaiming initialisation (He et al. 2015), sub-pixel convolution (Shi et al. 2016), U-Net (Ronneberger et al.
2015). Shapes: B batch, 3 RGB, A channels, H, W pixels; mosaic_B1HW linear light, cfa_B3HW 1 where a colour was seen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ARCHS = ("plain", "packed3", "unet")
BASES = ("none", "nc", "nc_diff")
ACTS = {"leaky": lambda: nn.LeakyReLU(0.1), "gelu": nn.GELU}
LEAST_LIGHT = 1e-6
LEAK = 0.1
Act = Callable[[], nn.Module]


class Demosaicer(nn.Module):
    """10,355 parameters at the default width and depth. `correction` is the network alone."""

    def __init__(
        self, arch: str = "plain", width: int = 16, depth: int = 5, *, base: str = "nc", act: str = "leaky"
    ) -> None:
        super().__init__()
        self.base, self.masked = base, arch != "plain"
        build = {"plain": plain, "packed3": packed3, "unet": UNet}[arch]
        self.correction = build(width, depth, ACTS[act])

    def forward(self, mosaic_B1HW: Tensor, cfa_B3HW: Tensor, unit_B111: Tensor | None = None) -> Tensor:
        """The picture. Part of a larger one is given that one's unit of light (`unit_of`)."""
        base = interpolated(mosaic_B1HW, cfa_B3HW, self.base)
        unit = unit_of(mosaic_B1HW, cfa_B3HW) if unit_B111 is None else unit_B111
        features = _features(mosaic_B1HW / unit, base / unit, cfa_B3HW, masked=self.masked)
        rgb = base + unit * self.correction(features).to(base.dtype)
        return torch.where(cfa_B3HW > 0.5, mosaic_B1HW, rgb)


def interpolated(mosaic_B1HW: Tensor, cfa_B3HW: Tensor, base: str) -> Tensor:
    """The picture that is corrected: "nc" each colour by itself, "nc_diff" green, and then what the others differ from
    it; "none" the samples alone. Source: normalised convolution (Knutsson & Westin 1993), the applicability a
    Gaussian."""
    samples = mosaic_B1HW * cfa_B3HW
    if base == "none":
        return samples
    if base == "nc":
        return _kept(normalised(samples, cfa_B3HW, 0.8, 3), samples, cfa_B3HW)
    seen = cfa_B3HW[:, 1:2]
    green = _kept(normalised(samples[:, 1:2], seen, 0.7, 3), samples[:, 1:2], seen)
    differ = normalised((mosaic_B1HW - green) * cfa_B3HW, cfa_B3HW, 1.0, 4)
    return _kept(green + torch.cat([differ[:, :1], torch.zeros_like(green), differ[:, 2:]], 1), samples, cfa_B3HW)


def normalised(values_BAHW: Tensor, known_BAHW: Tensor, sigma: float, reach: int) -> Tensor:
    """Each channel's Gaussian mean over what is known; 0 where nothing is."""
    weight = _smooth(known_BAHW, sigma, reach)
    return _smooth(values_BAHW, sigma, reach) / weight.clamp(min=1e-8)


def _smooth(x_BAHW: Tensor, sigma: float, reach: int) -> Tensor:
    """Down and then across; nothing is known beyond the border."""
    taps = torch.exp(-(torch.arange(-reach, reach + 1, device=x_BAHW.device) ** 2) / (2 * sigma**2)).to(x_BAHW.dtype)
    flat = x_BAHW.reshape(-1, 1, *x_BAHW.shape[-2:])
    down = F.conv2d(flat, taps.view(1, 1, -1, 1), padding=(reach, 0))
    return F.conv2d(down, taps.view(1, 1, 1, -1), padding=(0, reach)).view(x_BAHW.shape)


def _kept(rgb: Tensor, samples: Tensor, known: Tensor) -> Tensor:
    return torch.where(known > 0.5, samples, rgb)


def unit_of(mosaic_B1HW: Tensor, cfa_B3HW: Tensor) -> Tensor:
    """[B, 1, 1, 1]: the mean of the three colours' means."""
    mean = (mosaic_B1HW * cfa_B3HW).sum((2, 3)) / cfa_B3HW.sum((2, 3)).clamp(min=1)
    return mean.mean(1).clamp(min=LEAST_LIGHT).view(-1, 1, 1, 1)


def _features(mosaic: Tensor, base: Tensor, known: Tensor, *, masked: bool) -> Tensor:
    """[B, 7, H, W], in units of the mean: the mosaic, each colour less their mean, and detail or what was seen."""
    light = base.mean(1, keepdim=True)
    around = F.avg_pool2d(light, 5, stride=1, padding=2, count_include_pad=False)
    return torch.cat([mosaic - 1, 3 * (base - light), known if masked else 3 * (base - around)], 1)


# -- networks: [B, 7, H, W] -> [B, 3, H, W], 0 before training -------------------------------------------------------
def plain(width: int, depth: int, act: Act) -> nn.Sequential:
    """`depth` convolutions of 3 x 3, and one of a single pixel."""
    return nn.Sequential(*_stack(7, width, depth, act), _last(width, 3))


def packed3(width: int, depth: int, act: Act) -> nn.Module:
    """The same on cells of 3 x 3 pixels, a ninth as many and three times as wide, with two convolutions fewer. Cells of
    3 x 3 alternate on the sensor, so the network must see which colour is where."""
    inner = nn.Sequential(
        nn.PixelUnshuffle(3), *_stack(63, 3 * width, max(1, depth - 2), act), _last(3 * width, 27), nn.PixelShuffle(3)
    )
    return Padded(inner, 3)


class UNet(nn.Module):
    """Three levels of `width`, twice and four times as many channels; no normalisation over a batch."""

    def __init__(self, width: int, depth: int, act: Act) -> None:
        super().__init__()
        each = max(1, depth // 3)
        self.enter = nn.Sequential(*_stack(7, width, each, act))
        self.down = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(2), *_stack(width * k, 2 * width * k, each, act)) for k in (1, 2)
        )
        self.up = nn.ModuleList(nn.Sequential(*_stack(3 * width * k, width * k, each, act)) for k in (1, 2))
        self.leave = _last(width, 3)

    def forward(self, x_B7HW: Tensor) -> Tensor:
        sides = x_B7HW.shape[-2:]
        fine = self.enter(_to_multiple(x_B7HW, 4))
        middle = self.down[0](fine)
        coarse = self.down[1](middle)
        middle = self.up[1](torch.cat([F.interpolate(coarse, scale_factor=2.0), middle], 1))
        fine = self.up[0](torch.cat([F.interpolate(middle, scale_factor=2.0), fine], 1))
        return self.leave(fine)[..., : sides[0], : sides[1]]


class Padded(nn.Module):
    """A network that needs sides of a multiple, on pictures of any size: what is missing is 0."""

    def __init__(self, inner: nn.Module, multiple: int) -> None:
        super().__init__()
        self.inner, self.multiple = inner, multiple

    def forward(self, x_BAHW: Tensor) -> Tensor:
        height, width = x_BAHW.shape[-2:]
        return self.inner(_to_multiple(x_BAHW, self.multiple))[..., :height, :width]


def _to_multiple(x_BAHW: Tensor, multiple: int) -> Tensor:
    height, width = x_BAHW.shape[-2:]
    return F.pad(x_BAHW, (0, -width % multiple, 0, -height % multiple))


def _stack(before: int, width: int, count: int, act: Act) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index in range(count):
        conv = nn.Conv2d(before if index == 0 else width, width, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, a=LEAK, nonlinearity="leaky_relu")
        nn.init.zeros_(conv.bias)
        layers += [conv, act()]
    return layers


def _last(before: int, after: int) -> nn.Conv2d:
    conv = nn.Conv2d(before, after, 1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv
