"""Real raw files: the light in a Fujifilm RAF, or in a DNG with its filter. Needs the optional dependency `raw`.

A recorded mosaic comes without the true picture. So a classical demosaicer (Markesteijn, three passes) makes a picture,
which is shrunk to a quarter and mosaiced again. Two mistakes are easy to make:

- LibRaw subtracts the black level by itself, unless it is told that black is 0. Subtracting it twice darkens every
  shadow by black / (white - black), and the white balance then tints it.
- Demosaicers compare colours, so they need white-balanced light; without it Markesteijn loses 2 to 4 dB.

LibRaw's "DHT", "AAHD" and "AHD" are the same on this filter: three passes of Markesteijn; "PPG" is one pass.
Shapes: H, W pixels, the mosaic cropped to phase (0, 0); light is linear, 1 is the sensor's white and is not a limit.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from objectives.xtrans import cfa
from objectives.xtrans.light import area_mean, per_channel

SUFFIXES = frozenset({".raf", ".dng"})
DOWN = 4  # the smallest allowed factor: at full size a network would learn the demosaicer
CODES = 65535
ALGORITHMS = {"libraw linear": "LINEAR", "libraw vng": "VNG", "markesteijn 1": "PPG", "markesteijn 3": "DHT"}
INSTALL = "pip install 'hpo[raw]'"


class Raw(NamedTuple):
    """The content of a raw file."""

    mosaic_1HW: Tensor  # (code - black) / (white - black), not clipped
    gain_3: Tensor  # the sensor's response to white, green 1: light / gain is balanced
    camera: str
    black: tuple[float, ...]
    white: float


def installed() -> bool:
    """Whether raw files can be read and LibRaw's demosaicers run."""
    return all(importlib.util.find_spec(name) is not None for name in ("rawpy", "tifffile"))


def require_installed(purpose: str) -> None:
    """Raises ValueError that says what to install for this purpose."""
    if not installed():
        raise ValueError(f"{purpose} needs rawpy and tifffile, which are not installed: {INSTALL}")


def read(path: Path) -> Raw:
    """The mosaic in a file. Raises ValueError with the file and the cause: not a raw file, or not an X-Trans filter."""
    require_installed(f"{path}: a raw file")
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            return _raw(raw, path)
    except (rawpy.LibRawError, OSError) as error:
        raise ValueError(f"cannot read the raw file {path}: {error}") from error


def develop(path: Path, down: int) -> tuple[Tensor, Tensor]:
    """White-balanced light of a raw file, rgb_3HW, demosaiced by Markesteijn and shrunk, and the sensor's gains."""
    raw = read(path)
    return area_mean(demosaic(raw, "markesteijn 3").double(), down).float(), raw.gain_3


def demosaic(raw: Raw, method: str) -> Tensor:
    """White-balanced light, rgb_3HW. The mosaic is balanced first, and light above 1 survives."""
    height, width = raw.mosaic_1HW.shape[-2:]
    weight = (cfa.masks(height, width) / per_channel(raw.gain_3)).sum(0)
    balanced_HW = raw.mosaic_1HW[0] * weight
    largest = max(1.0, float(balanced_HW.max()))
    return largest * run_libraw(balanced_HW / largest, method)


def run_libraw(balanced_HW: Tensor, method: str) -> Tensor:
    """rgb_3HW of a white-balanced mosaic at phase (0, 0) in [0, 1], by one of ALGORITHMS, in linear light.

    The frame must have at least 512 pixels a side.
    """
    require_installed(method)
    import rawpy

    from objectives.xtrans import dng

    codes = (balanced_HW.clamp(0, 1) * CODES).round().numpy().astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mosaic.dng"
        dng.write(path, codes)
        with rawpy.imread(str(path)) as raw:
            rgb_HW3 = raw.postprocess(
                demosaic_algorithm=rawpy.DemosaicAlgorithm[ALGORITHMS[method]],
                output_bps=16,
                gamma=(1, 1),
                no_auto_bright=True,
                no_auto_scale=True,
                user_wb=[1, 1, 1, 1],
                user_black=0,
                user_flip=0,
                output_color=rawpy.ColorSpace.raw,
            )
    return torch.from_numpy(rgb_HW3.astype(np.float32) / CODES).permute(2, 0, 1)


def _raw(raw: Any, path: Path) -> Raw:
    pattern = raw.raw_pattern
    if pattern is None or pattern.shape != (cfa.SIDE, cfa.SIDE):
        shape = "none" if pattern is None else "x".join(map(str, pattern.shape))
        raise ValueError(f"{path}: the colour filter must be the 6 x 6 one of X-Trans; got {shape}")
    codes = raw.raw_image_visible.astype(np.float64)
    colours = np.where(raw.raw_colors_visible == 3, 1, raw.raw_colors_visible)
    black, white = np.array(raw.black_level_per_channel, float)[:3], float(raw.white_level)
    light = (codes - black[colours]) / (white - black[colours])
    down, across = cfa.find_phase(torch.from_numpy(colours[:12, :12].astype(np.int64)))
    light = light[-down % cfa.SIDE :, -across % cfa.SIDE :]
    balance = np.array(raw.camera_whitebalance[:3], float)
    if not (np.isfinite(balance).all() and balance.min() > 0):
        balance = np.array(raw.daylight_whitebalance[:3], float)
    gain = torch.from_numpy(balance[1] / balance).float()
    return Raw(torch.from_numpy(light).float()[None], gain, _camera(path), tuple(black), white)


def _camera(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return str(image.getexif().get(272) or path.suffix)
    except OSError:
        return path.suffix
