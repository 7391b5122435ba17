"""Perceptual distances between images, one value per image. Gradients flow to both images.

`pged` needs no weights. It replaces a learned distance but is not LPIPS: never compare its values with those of LPIPS.
`stlpips` is shift-tolerant LPIPS (Ghildyal & Liu 2022) with the AlexNet weights of the package stlpips-pytorch; only
its weight file is read. Its values grow with the size of the image: compare them at one size only.

Shapes: images [B, 3, H, W] in [0, 1]; distances [B].
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.common.packaged import PackagedFile

Backend = Literal["pged", "stlpips"]
BACKENDS: tuple[Backend, ...] = ("pged", "stlpips")
STLPIPS = PackagedFile(
    "stlpips_pytorch",
    "weights/vST0.0/alex_shift_tolerant.pth",
    "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    "BSD 2-Clause",
    "pip install --no-deps stlpips-pytorch==0.0.2",
)


def perceptual_distance(backend: Backend, a: Tensor, b: Tensor) -> Tensor:
    """Distance of each image `a` from the reference `b`.

    Raises ValueError for an unknown back-end, and for one whose weights are not installed: no other is used instead.
    """
    if backend not in BACKENDS:
        raise ValueError(f"perceptual back-end must be one of {', '.join(BACKENDS)}; got {backend!r}")
    distance = pged if backend == "pged" else stlpips_model(a.device)
    with torch.autocast(a.device.type, enabled=False):
        return distance(a.float(), b.float())


def installed(backend: Backend) -> bool:
    """Whether the weights of a back-end, if it needs any, are installed."""
    return backend == "pged" or (backend == "stlpips" and STLPIPS.is_installed)


# -- without weights -----------------------------------------------------------------------------------------------
def pged(a: Tensor, b: Tensor, *, levels: int = 3) -> Tensor:
    """Pyramid gradient-energy distance: relative differences of local edge energy and of local mean, on each level."""
    total = torch.zeros(a.shape[0], dtype=a.dtype, device=a.device)
    for level in range(levels):
        if level:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        energy = _edge_energy(b)
        mean = _local_mean(b)
        edges = ((_edge_energy(a) - energy) / (energy + 0.02)) ** 2
        means = ((_local_mean(a) - mean) / (mean + 0.1)) ** 2
        total = total + edges.flatten(1).mean(1) + 4 * means.flatten(1).mean(1)
    return 0.25 * total / levels


def sobel(image: Tensor) -> Tensor:
    """Sobel filters over 8, across and down, [B, 2C, H, W]: the slope per pixel. The border is repeated."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 2:] - padded[..., :-2]
    down = padded[..., 2:, :] - padded[..., :-2, :]
    smooth_across = (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 8
    smooth_down = (down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]) / 8
    return torch.cat([smooth_across, smooth_down], 1)


def _edge_energy(image: Tensor) -> Tensor:
    return _local_mean(sobel(image).abs())


def _local_mean(image: Tensor) -> Tensor:
    """Mean of the 5 x 5 pixels around each, fewer at the border: two matrix products, whose gradient is cheap."""
    with torch.autocast(image.device.type, enabled=False):
        return _mean_band(image.shape[-2], image).T @ image @ _mean_band(image.shape[-1], image)


def _mean_band(side: int, like: Tensor) -> Tensor:
    place = torch.arange(side, device=like.device)
    band = ((place[:, None] - place).abs() <= 2).to(like.dtype)
    return band / band.sum(0)


# -- with the weights of an installed package ----------------------------------------------------------------------
class StLpips(nn.Module):
    """Shift-tolerant LPIPS on AlexNet. The first convolution has stride 1, and blurs take the strides.

    Source: Ghildyal & Liu 2022, "Shift-tolerant perceptual similarity metric".
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        layers = {
            "slice1.0": (3, 64, 11, 2),
            "slice2.5": (64, 192, 5, 2),
            "slice3.9": (192, 384, 3, 1),
            "slice4.11": (384, 256, 3, 1),
            "slice5.13": (256, 256, 3, 1),
        }
        self.convolutions = nn.ModuleList()
        for name, (before, after, kernel, padding) in layers.items():
            convolution = nn.Conv2d(before, after, kernel, padding=padding)
            convolution.load_state_dict({part: weights[f"net.{name}.{part}"] for part in ("weight", "bias")})
            self.convolutions.append(convolution)
        self.heads = nn.ParameterList([weights[f"lin{layer}.model.1.weight"] for layer in range(5)])
        self.register_buffer("shift", weights["scaling_layer.shift"])
        self.register_buffer("scale", weights["scaling_layer.scale"])
        self.requires_grad_(False).eval()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        total = torch.zeros(a.shape[0], dtype=a.dtype, device=a.device)
        for head, features_a, features_b in zip(self.heads, self._features(a), self._features(b), strict=True):
            difference = (_unit(features_a) - _unit(features_b)) ** 2
            total = total + F.conv2d(difference, head).flatten(1).mean(1)
        return total

    def _features(self, image: Tensor) -> list[Tensor]:
        x = (2 * image - 1 - self.shift) / self.scale
        first, second, *others = self.convolutions
        x = torch.relu(_blur_down(first(x)))
        features = [x]
        x = torch.relu(second(_blur_down(F.max_pool2d(x, 3, stride=1))))
        features.append(x)
        x = _blur_down(F.max_pool2d(x, 3, stride=1))
        for convolution in others:
            x = torch.relu(convolution(x))
            features.append(x)
        return features


def stlpips_model(device: torch.device) -> StLpips:
    """The model on a device, loaded once per process. Raises ValueError if its weights are missing or differ."""
    return _stlpips_model(str(device))


@cache
def _stlpips_model(device: str) -> StLpips:
    path = STLPIPS.checked("perceptual back-end 'stlpips' ('pged' needs no weights)")
    return StLpips(torch.load(path, weights_only=True, map_location="cpu")).to(device)


def _unit(features: Tensor) -> Tensor:
    norm = (features**2).sum(1, keepdim=True).clamp(min=1e-20).sqrt()  # so that there is a gradient at 0
    return features / (norm + 1e-10)


def _blur_down(x: Tensor) -> Tensor:
    """Every second pixel after a blur with [1 2 1] x [1 2 1] / 16; two pixels are reflected on each side."""
    taps = x.new_tensor([1.0, 2.0, 1.0])
    kernel = (torch.outer(taps, taps) / 16).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])
