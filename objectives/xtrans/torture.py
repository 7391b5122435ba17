"""Patterns that demosaicers get wrong: stripes, rings, stars, edges between complementary colours, and similar ones.

A pattern is identified by a number; the thirteen kinds take turns. Each is drawn at four times its size, in two colours
that differ by more than 0.15 of linear light, and shrunk by area mean. Training uses numbers from TRAIN_FROM on, scores
use the first ones. Shapes: rgb_3SS linear light in [0, 1]; in the drawing functions x and y are pixels [4S, 4S].
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hpo import made_once
from objectives.xtrans import cfa
from objectives.xtrans.light import area_mean

FINER = 4  # patterns are drawn at this many times their size
TRAIN_FROM = 1_000_000
EACH = 2  # scored patterns of each kind
PATTERNS = 260  # to learn from: twenty of each kind
MIN_COLOUR_DISTANCE = 0.15
Plane = np.ndarray
Draw = Callable[[Plane, Plane, np.random.Generator], Plane]  # x, y -> mixture of two colours in [0, 1], or an image


def pattern(number: int, size: int) -> Tensor:
    """The pattern of a number, rgb_3SS, the same on every machine."""
    rng = np.random.default_rng(7919 * number + 1)
    draw = list(KINDS.values())[number % len(KINDS)]
    line = (np.arange(FINER * size) + 0.5) / FINER
    x, y = np.meshgrid(line, line)
    drawn = draw(x, y, rng)
    if drawn.ndim == 2:
        first, second = _two_colours(rng)
        drawn = first[:, None, None] * (1 - drawn) + second[:, None, None] * drawn
    return area_mean(torch.from_numpy(drawn), FINER).float()


def dealt(count: int) -> Tensor:
    """The number of the scored pattern that each of `count` tiles carries, [count]: they take turns."""
    return torch.arange(count) % (EACH * len(KINDS))


@lru_cache(maxsize=4)
def fixed(size: int) -> Tensor:
    """The patterns that methods are scored on, [26, 3, S, S]. Shared: do not change it in place."""
    return torch.stack([pattern(number, size) for number in range(EACH * len(KINDS))])


# -- to learn from ---------------------------------------------------------------------------------------------------
def draw_pattern(size: int, rng: torch.Generator) -> Tensor:
    """A pattern of the training pool, rgb_3SS, flipped or turned by one of the eight symmetries of a square."""
    patterns = pattern_pool(size)
    moves = list(cfa.MOVES.values())
    pattern_share, move_share = torch.rand(2, generator=rng, dtype=torch.float64).tolist()
    move = moves[int(move_share * len(moves))]
    return move(patterns[int(pattern_share * len(patterns))])


@lru_cache(maxsize=4)
def pattern_pool(size: int) -> Tensor:
    """The patterns to learn from, [PATTERNS, 3, S, S]. Shared: do not change it in place."""
    return torch.from_numpy(np.array(made_once(make_patterns, size, PATTERNS)))


def make_patterns(size: int, count: int) -> np.ndarray:
    """`count` training patterns, [count, 3, S, S], beginning with the first kind."""
    kinds = len(KINDS)
    first = -(-TRAIN_FROM // kinds) * kinds
    return torch.stack([pattern(first + number, size) for number in range(count)]).numpy()


# -- how each kind is drawn ------------------------------------------------------------------------------------------
def _two_colours(rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Linear light of two different colours of the hue circle."""
    while True:
        pair = [np.array(colorsys.hsv_to_rgb(rng.random(), *rng.uniform(0.3, 1.0, 2))) ** 2.2 for _ in range(2)]
        if np.linalg.norm(pair[0] - pair[1]) > MIN_COLOUR_DISTANCE:
            return pair[0], pair[1]


def _turned(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    angle = rng.uniform(0, np.pi)
    return x * np.cos(angle) + y * np.sin(angle)


def _stripes(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    return np.sin(2 * np.pi * _turned(x, y, rng) / rng.uniform(2, 16) + rng.uniform(0, 6)) > 0


def _lines(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    width = rng.integers(1, 12)
    return (x if rng.random() < 0.5 else y) // width % 2


def _checker(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    side = rng.integers(2, 24)
    return (x // side + y // side) % 2


def _rings(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    return np.sin(2 * np.pi * np.hypot(x - x.max() * rng.random(), y - y.max() * rng.random()) / rng.uniform(2, 10)) > 0


def _ramp(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    along = _turned(x, y, rng)
    return (along - along.min()) / (along.max() - along.min())


def _star(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    around = np.arctan2(y - y.mean() - rng.uniform(-4, 4), x - x.mean() - rng.uniform(-4, 4))
    return np.sin(rng.integers(8, 36) * around) > 0


def _edge(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    along = _turned(x, y, rng)
    return along > rng.uniform(*np.quantile(along, (0.3, 0.7)))


def _finest(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    side = rng.integers(1, 3)
    return (x // side + y // side) % 2 if rng.random() < 0.5 else (x // side) % 2


def _complementary(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    hue, inside = rng.random(), _edge(x, y, rng)[None]
    first, second = (np.array(colorsys.hsv_to_rgb(h % 1, 1.0, 0.9))[:, None, None] ** 2.2 for h in (hue, hue + 0.5))
    return np.where(inside, first, second)


def _hues(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    hue = 6 * ((np.arctan2(y - y.mean(), x - x.mean()) / (2 * np.pi) * rng.integers(1, 5) + rng.random()) % 1)
    waves = np.stack([np.abs(hue - 3) - 1, 2 - np.abs(hue - 2), 2 - np.abs(hue - 4)]).clip(0, 1)  # HSV, S = V = 1
    return waves**2.2


def _bricks(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    height = rng.integers(4, 12)
    shifted = x + (y // height % 2) * height
    return (y % height < 1.5) | (shifted % (2 * height) < 1.5)


def _julia(x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    constant = (-0.8 + 0.156j, -0.4 + 0.6j, 0.285 + 0.01j, -0.7269 + 0.1889j)[rng.integers(4)]
    if rng.random() < 0.5:
        zoom, middle = rng.uniform(0.1, 0.5), rng.uniform(-0.5, 0.5, 2)
    else:
        zoom, middle = 1.5, np.zeros(2)
    z = zoom * ((2 * x / x.max() - 1) + 1j * (2 * y / y.max() - 1)) + complex(*middle)
    steps_inside = np.zeros(x.shape)
    for _ in range(48):
        inside = np.abs(z) < 2
        z = np.where(inside, z**2 + constant, z)
        steps_inside += inside
    return (steps_inside / 48) ** 0.5


def _noise(x: Plane, _y: Plane, rng: np.random.Generator) -> Plane:
    """Fractional Brownian motion: amplitudes that fall as 1 / f^1.2 and random phases, independent in each channel."""
    side = len(x)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    spectrum = np.where(frequency > 0, np.maximum(frequency, 1e-9) ** -1.2, 0)
    waves = np.fft.irfft2(spectrum * np.exp(2j * np.pi * rng.random((3, *spectrum.shape))), s=(side, side))
    low, high = np.quantile(waves, (0.01, 0.99), axis=(1, 2), keepdims=True)
    return ((waves - low) / (high - low)).clip(0, 1) ** 2.2


KINDS: dict[str, Draw] = {
    "stripes": _stripes,
    "lines": _lines,
    "checker": _checker,
    "rings": _rings,
    "ramp": _ramp,
    "star": _star,
    "edge": _edge,
    "finest": _finest,
    "complementary": _complementary,
    "hues": _hues,
    "bricks": _bricks,
    "julia": _julia,
    "noise": _noise,
}
