"""A face encoder small enough to be trained in seconds, for tests and for sweeps without a GPU.

It learns to tell 60 pictures apart, one of each person, under shifts, turns, light and noise. So it knows pictures
rather than people: what protects against it says nothing about a face recogniser.
Source of the margin: Wang et al. 2018 (CosFace, eq. 4).
Shapes: N faces, B a batch, 1 grey, S pixels a side, E features.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, FEATURES = 32, 64
_SHARPNESS, _MARGIN = 16.0, 0.15
_RATE, _BATCH = 3e-3, 64


class TinyFace(nn.Module):
    """Four convolutions and a linear map; gives unit vectors. Light and contrast are taken out first."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (1, width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.Sequential(
            *(
                layer
                for index, (before, after) in enumerate(zip(widths, widths[1:], strict=False))
                for layer in (nn.Conv2d(before, after, 3, stride=1 if index == 0 else 2, padding=1), nn.GELU())
            )
        )
        self.last = nn.Linear(4 * width * (SIDE // 8) ** 2, FEATURES)

    def forward(self, grey_B1SS: Tensor) -> Tensor:
        mean = grey_B1SS.mean((1, 2, 3), keepdim=True)
        spread = (grey_B1SS - mean).square().mean((1, 2, 3), keepdim=True).add(1e-6).sqrt()
        return F.normalize(self.last(self.layers((grey_B1SS - mean) / spread).flatten(1)), dim=1)


def trained(faces_N1SS: Tensor, *, width: int, seed: int, steps: int) -> TinyFace:
    """An encoder that tells the faces apart. The same arguments give the same weights; torch's global generator, its
    gradient mode and its threads are left as they were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the weights' last bits depend on it
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            return _trained(_to_side(faces_N1SS), width, torch.Generator().manual_seed(seed), steps)
    finally:
        torch.set_num_threads(threads)


def varied(faces_B1SS: Tensor, rng: torch.Generator) -> Tensor:
    """Each face as another camera might have seen it: scale +-12 %, turn +-0.15 rad, shift +-5 %, gamma, contrast,
    mirrored half of the time, noise of 0.04."""

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(faces_B1SS), generator=rng)

    scale, turn, right, down = draw(0.88, 1.12), draw(-0.15, 0.15), draw(-0.1, 0.1), draw(-0.1, 0.1)
    mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    rows = (
        torch.stack([scale * turn.cos() * mirror, -scale * turn.sin(), right], 1),
        torch.stack([scale * turn.sin() * mirror, scale * turn.cos(), down], 1),
    )
    at = F.affine_grid(torch.stack(rows, 1), list(faces_B1SS.shape), align_corners=False)
    seen = F.grid_sample(faces_B1SS, at, padding_mode="border", align_corners=False)
    gamma, contrast = draw(0.7, 1.4).view(-1, 1, 1, 1), draw(0.7, 1.3).view(-1, 1, 1, 1)
    seen = (seen.clamp(1e-3, 1) ** gamma - 0.5) * contrast + 0.5
    return (seen + 0.04 * torch.randn(seen.shape, generator=rng)).clamp(0, 1)


def _trained(faces_N1SS: Tensor, width: int, rng: torch.Generator, steps: int) -> TinyFace:
    net = TinyFace(width)
    classes_NE = nn.Parameter(0.1 * torch.randn(len(faces_N1SS), FEATURES))
    optimizer = torch.optim.AdamW([*net.parameters(), classes_NE], lr=_RATE)
    for labels_B in _labels(len(faces_N1SS), steps, rng):
        features_BE = net(varied(faces_N1SS[labels_B], rng))
        cosines_BN = features_BE @ F.normalize(classes_NE, dim=1).T - _MARGIN * F.one_hot(labels_B, len(faces_N1SS))
        optimizer.zero_grad()
        F.cross_entropy(_SHARPNESS * cosines_BN, labels_B).backward()
        optimizer.step()
    return net


def _labels(count: int, steps: int, rng: torch.Generator) -> Iterator[Tensor]:
    for _ in range(steps):
        yield torch.randint(count, (_BATCH,), generator=rng)


def _to_side(faces_N1SS: Tensor) -> Tensor:
    return F.interpolate(faces_N1SS, (SIDE, SIDE), mode="bicubic", align_corners=False).clamp(0, 1)
