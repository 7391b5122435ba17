"""Networks that add a correction to a demosaiced picture. What the sensor measured is never changed.

    m = mosaic / gain             b = a classical demosaicer's picture of m        mu = mean of m
    rgb = gain (b + mu net(m / mu, b / mu)), and the mosaic itself where it was measured

The network sees white-balanced light in units of mu: so the output is exactly proportional to the light, no highlight
is lost, and a sensor with other gains makes no difference where the camera records them.

Sources: Kaiming initialisation (He et al. 2015), sub-pixel convolution (Shi et al. 2016), U-Net (Ronneberger et al.
2015). Shapes: B batch, 3 RGB, A channels, H, W pixels; mosaic_B1HW linear light at phase (0, 0), cfa_B3HW 1 where a
colour was measured, gain_B3 the sensor's response to white.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.xtrans import markesteijn
from objectives.xtrans.light import per_channel

ARCHS = ("plain", "packed3", "unet")
PASSES = {"markesteijn": 1, "markesteijn3": 3}
BASES = ("none", "nc", "nc_diff", *PASSES)
LEAK = 0.1
MIN_LIGHT = 1e-6
MIN_GAIN = 1e-3
OLD_NAME = "correction."  # of the network's weights, when it was not told the white balance
Act = Callable[[], nn.Module]
ACTS: dict[str, Act] = {"leaky": lambda: nn.LeakyReLU(LEAK), "gelu": nn.GELU}


class Demosaicer(nn.Module):
    """A classical picture plus a correction; `residual` is the network alone. 10,355 parameters by default.

    Without `balance` the network is not told the white balance, and sees the sensor's own light.
    """

    def __init__(
        self,
        arch: str = "plain",
        width: int = 16,
        depth: int = 5,
        *,
        base: str = "markesteijn",
        act: str = "leaky",
        balance: bool = True,
    ) -> None:
        super().__init__()
        self.base, self.masked, self.balance = base, arch != "plain", balance
        build: dict[str, Callable[[int, int, Act], nn.Module]] = {"plain": plain, "packed3": packed3, "unet": UNet}
        self.residual = build[arch](width, depth, ACTS[act])

    def forward(
        self, mosaic_B1HW: Tensor, cfa_B3HW: Tensor, gain_B3: Tensor, unit_B111: Tensor | None = None
    ) -> Tensor:
        """The picture, rgb_B3HW. A part of a larger picture needs the unit of light of the whole (`unit`)."""
        unit = self.unit(mosaic_B1HW, cfa_B3HW, gain_B3) if unit_B111 is None else unit_B111
        gain_B311 = per_channel(self._known(gain_B3))
        light_B1HW = balanced(mosaic_B1HW, cfa_B3HW, gain_B311)
        base = interpolate(light_B1HW, cfa_B3HW, self.base)
        features = _features(light_B1HW / unit, base / unit, cfa_B3HW, masked=self.masked)
        rgb = gain_B311 * (base + unit * self.residual(features).to(base.dtype))
        return torch.where(cfa_B3HW > 0.5, mosaic_B1HW, rgb)

    def unit(self, mosaic_B1HW: Tensor, cfa_B3HW: Tensor, gain_B3: Tensor) -> Tensor:
        """The mean of the three colours' means in the light that the network sees, [B, 1, 1, 1]."""
        mean_B3 = (mosaic_B1HW * cfa_B3HW).sum((2, 3)) / cfa_B3HW.sum((2, 3)).clamp(min=1)
        return (mean_B3 / self._known(gain_B3)).mean(1).clamp(min=MIN_LIGHT).view(-1, 1, 1, 1)

    def _known(self, gain_B3: Tensor) -> Tensor:
        """The gains that the network is told. Raises ValueError where they are not one of each colour a picture."""
        if gain_B3.dim() != 2 or gain_B3.shape[1] != 3:
            raise ValueError(f"gain_B3 must hold three gains a picture, [B, 3]; got {tuple(gain_B3.shape)}")
        return gain_B3.clamp(min=MIN_GAIN) if self.balance else torch.ones_like(gain_B3)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if any(name.startswith(f"{prefix}{OLD_NAME}") for name in state_dict):
            raise ValueError(
                "this network was trained before the white balance became one of its inputs: it cannot be used any "
                "more; train it anew"
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)


def balanced(mosaic_B1HW: Tensor, cfa_B3HW: Tensor, gain_B311: Tensor) -> Tensor:
    """The mosaic of white-balanced light."""
    return mosaic_B1HW / (cfa_B3HW * gain_B311).sum(1, keepdim=True).clamp(min=MIN_GAIN)


def interpolate(mosaic_B1HW: Tensor, cfa_B3HW: Tensor, base: str) -> Tensor:
    """The picture that the network corrects, rgb_B3HW, of white-balanced light.

    "nc" interpolates each colour by itself; "nc_diff" interpolates green, and then the differences of red and blue from
    it; "none" gives the samples alone; the others are Markesteijn's, of one and of three passes. Source: normalised
    convolution (Knutsson & Westin 1993) with a Gaussian applicability.
    """
    if base in PASSES:
        return markesteijn.demosaic(mosaic_B1HW, PASSES[base])
    samples = mosaic_B1HW * cfa_B3HW
    if base == "none":
        return samples
    if base == "nc":
        return _keep_samples(normalised_convolution(samples, cfa_B3HW, 0.8, 3), samples, cfa_B3HW)
    green_known = cfa_B3HW[:, 1:2]
    green_samples = samples[:, 1:2]
    green = _keep_samples(normalised_convolution(green_samples, green_known, 0.7, 3), green_samples, green_known)
    difference = normalised_convolution((mosaic_B1HW - green) * cfa_B3HW, cfa_B3HW, 1.0, 4)
    rgb = green + torch.cat([difference[:, :1], torch.zeros_like(green), difference[:, 2:]], 1)
    return _keep_samples(rgb, samples, cfa_B3HW)


def normalised_convolution(values_BAHW: Tensor, known_BAHW: Tensor, sigma: float, reach: int) -> Tensor:
    """Each channel's Gaussian mean over the known pixels; 0 where none is known."""
    weight = _smooth(known_BAHW, sigma, reach)
    return _smooth(values_BAHW, sigma, reach) / weight.clamp(min=1e-8)


def _smooth(x_BAHW: Tensor, sigma: float, reach: int) -> Tensor:
    """Gaussian weighting, down and then across; pixels beyond the border count as 0."""
    taps = torch.exp(-(torch.arange(-reach, reach + 1, device=x_BAHW.device) ** 2) / (2 * sigma**2)).to(x_BAHW.dtype)
    flat = x_BAHW.reshape(-1, 1, *x_BAHW.shape[-2:])
    down = F.conv2d(flat, taps.view(1, 1, -1, 1), padding=(reach, 0))
    return F.conv2d(down, taps.view(1, 1, 1, -1), padding=(0, reach)).view(x_BAHW.shape)


def _keep_samples(rgb: Tensor, samples: Tensor, known: Tensor) -> Tensor:
    return torch.where(known > 0.5, samples, rgb)


def _features(mosaic: Tensor, base: Tensor, known: Tensor, *, masked: bool) -> Tensor:
    """The network's input, [B, 7, H, W]: the mosaic, each colour less the mean of the three, and either the mask of the
    colour filter (`masked`) or local contrast."""
    light = base.mean(1, keepdim=True)
    around = F.avg_pool2d(light, 5, stride=1, padding=2, count_include_pad=False)
    return torch.cat([mosaic - 1, 3 * (base - light), known if masked else 3 * (base - around)], 1)


# -- networks: [B, 7, H, W] -> [B, 3, H, W], 0 before training -------------------------------------------------------
def plain(width: int, depth: int, act: Act) -> nn.Sequential:
    """`depth` convolutions of 3 x 3, and one of a single pixel."""
    return nn.Sequential(*_stack(7, width, depth, act), _last(width, 3))


def packed3(width: int, depth: int, act: Act) -> nn.Module:
    """The same on cells of 3 x 3 pixels: a ninth as many places, three times the width, two convolutions fewer.

    Cells of 3 x 3 alternate on the sensor, so this network needs the mask of the colour filter.
    """
    inner = nn.Sequential(
        nn.PixelUnshuffle(3), *_stack(63, 3 * width, max(1, depth - 2), act), _last(3 * width, 27), nn.PixelShuffle(3)
    )
    return Padded(inner, 3)


class UNet(nn.Module):
    """Three levels of `width`, twice and four times as many channels; no normalisation over a batch."""

    def __init__(self, width: int, depth: int, act: Act) -> None:
        super().__init__()
        convolutions = max(1, depth // 3)
        self.enter = nn.Sequential(*_stack(7, width, convolutions, act))
        self.down = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(2), *_stack(width * k, 2 * width * k, convolutions, act)) for k in (1, 2)
        )
        self.up = nn.ModuleList(nn.Sequential(*_stack(3 * width * k, width * k, convolutions, act)) for k in (1, 2))
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
    """A network that needs sides of a multiple, for pictures of any size: the rest is padded with 0."""

    def __init__(self, inner: nn.Module, multiple: int) -> None:
        super().__init__()
        self.inner = inner
        self.multiple = multiple

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
        _zero(conv.bias)
        layers += [conv, act()]
    return layers


def _last(before: int, after: int) -> nn.Conv2d:
    conv = nn.Conv2d(before, after, 1)
    _zero(conv.weight)
    _zero(conv.bias)
    return conv


def _zero(parameter: Tensor | None) -> None:
    assert parameter is not None  # these convolutions have a bias
    nn.init.zeros_(parameter)
