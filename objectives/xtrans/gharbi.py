"""The published network for X-Trans of Gharbi et al. 2016 (Deep joint demosaicking and denoising), rebuilt.

Only the weight file of the package demosaicnet is read. The package itself needs a part of setuptools that no longer
exists, so it is not imported. 409,923 parameters, forty times ours, trained on far more pictures: it is a reference and
not a rival.

Its input is sRGB-encoded and white-balanced. It consists of convolutions alone, so the phase makes no difference.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

import torch
from torch import Tensor, nn

from objectives.common.colour import linear_from_srgb, srgb_from_linear
from objectives.common.packaged import PackagedFile
from objectives.xtrans import cfa

BORDER = 12  # pixels that its twelve convolutions cut off at each side
WEIGHTS = PackagedFile(
    "demosaicnet",
    "data/xtrans.pth",
    "3759a13296fecebae83a36a8f0c3890d8a2f7d33e5f8149ed9b76a70f8285bc7",
    "MIT, copyright 2016 Michael Gharbi",
    "pip install --no-deps demosaicnet==0.0.14",
)


class XTransNet(nn.Module):
    """Eleven convolutions, then one on their features and the mosaic: encoded rgb, 12 pixels less at each side."""

    def __init__(self) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for index in range(11):
            layers[f"conv{index + 1}"] = nn.Conv2d(64 if index else 3, 64, 3)
            layers[f"relu{index + 1}"] = nn.ReLU()
        self.main_processor = nn.Sequential(layers)
        self.fullres_processor = nn.Sequential(
            OrderedDict(post_conv=nn.Conv2d(67, 64, 3), post_relu=nn.ReLU(), output=nn.Conv2d(64, 3, 1))
        )

    def forward(self, samples_B3HW: Tensor) -> Tensor:
        features = self.main_processor(samples_B3HW)
        return self.fullres_processor(torch.cat([samples_B3HW[..., 11:-11, 11:-11], features], 1))


@torch.no_grad()
def demosaic(balanced_B1HW: Tensor) -> Tensor:
    """Linear rgb_B3HW of white-balanced mosaics at phase (0, 0); measured samples are kept."""
    height, width = balanced_B1HW.shape[-2:]
    padded = cfa.extend(balanced_B1HW, BORDER, BORDER, BORDER, BORDER)  # 12 is two tiles: still phase (0, 0)
    rgb = linear_from_srgb(network()(cfa.masks(*padded.shape[-2:]) * srgb_from_linear(padded.cpu())))
    return torch.where(cfa.masks(height, width) > 0.5, balanced_B1HW.cpu(), rgb)


def installed() -> bool:
    """Whether the network's weights are installed."""
    return WEIGHTS.is_installed


@lru_cache(maxsize=1)
def network() -> XTransNet:
    """The network with its weights. Raises ValueError where they are missing, or not the published ones."""
    path = WEIGHTS.checked("the published network")
    model = XTransNet()
    model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return model.requires_grad_(False).eval()
