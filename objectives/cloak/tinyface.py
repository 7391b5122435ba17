"""A face encoder that trains in seconds, for tests and for sweeps without a GPU.

It learns to tell 60 pictures apart, one of each person, under shifts, turns, light and noise. So it recognises pictures
rather than people: what it no longer matches says nothing about a face recogniser.
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
    """Four convolutions and a linear map to unit vectors. The input is normalised in brightness and contrast."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (1, width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for index in range(4):
            stride = 1 if index == 0 else 2
            layers += [nn.Conv2d(widths[index], widths[index + 1], 3, stride=stride, padding=1), nn.GELU()]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(4 * width * (SIDE // 8) ** 2, FEATURES)

    def forward(self, grey_B1SS: Tensor) -> Tensor:
        mean = grey_B1SS.mean((1, 2, 3), keepdim=True)
        spread = (grey_B1SS - mean).square().mean((1, 2, 3), keepdim=True).add(1e-6).sqrt()
        return F.normalize(self.last(self.layers((grey_B1SS - mean) / spread).flatten(1)), dim=1)


def train(faces_N1SS: Tensor, *, width: int, seed: int, steps: int) -> TinyFace:
    """An encoder that tells the faces apart.

    The same arguments give the same weights. Torch's global generator, gradient mode and threads are left as they were.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the weights' last bits depend on it
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            return _train(_to_side(faces_N1SS), width, torch.Generator().manual_seed(seed), steps)
    finally:
        torch.set_num_threads(threads)


def vary(faces_B1SS: Tensor, rng: torch.Generator) -> Tensor:
    """Each face as another camera might record it: scale +-12 %, turn +-0.15 rad, shift +-5 %, gamma, contrast, noise
    of 0.04, and mirrored half of the time."""

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(faces_B1SS), generator=rng)

    scale = draw(0.88, 1.12)
    turn = draw(-0.15, 0.15)
    right = draw(-0.1, 0.1)
    down = draw(-0.1, 0.1)
    mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    rows = (
        torch.stack([scale * turn.cos() * mirror, -scale * turn.sin(), right], 1),
        torch.stack([scale * turn.sin() * mirror, scale * turn.cos(), down], 1),
    )
    at = F.affine_grid(torch.stack(rows, 1), list(faces_B1SS.shape), align_corners=False)
    moved = F.grid_sample(faces_B1SS, at, padding_mode="border", align_corners=False)
    gamma = draw(0.7, 1.4).view(-1, 1, 1, 1)
    contrast = draw(0.7, 1.3).view(-1, 1, 1, 1)
    toned = (moved.clamp(1e-3, 1) ** gamma - 0.5) * contrast + 0.5
    return (toned + 0.04 * torch.randn(toned.shape, generator=rng)).clamp(0, 1)


def _train(faces_N1SS: Tensor, width: int, rng: torch.Generator, steps: int) -> TinyFace:
    net = TinyFace(width)
    classes_NE = nn.Parameter(0.1 * torch.randn(len(faces_N1SS), FEATURES))
    optimizer = torch.optim.AdamW([*net.parameters(), classes_NE], lr=_RATE)
    for labels_B in _labels(len(faces_N1SS), steps, rng):
        features_BE = net(vary(faces_N1SS[labels_B], rng))
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
