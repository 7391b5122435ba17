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

from objectives.common.headers import describe, format_at, start_of
from objectives.xtrans import black, cfa
from objectives.xtrans.light import area_mean, per_channel

SUFFIXES = frozenset({".raf", ".dng"})
DOWN = 4  # the smallest allowed factor: at full size a network would learn the demosaicer
CODES = 65535
ALGORITHMS = {"libraw linear": "LINEAR", "libraw vng": "VNG", "markesteijn 1": "PPG", "markesteijn 3": "DHT"}
INSTALL = "pip install 'hpo[raw]'"
_MODEL, _UNIQUE_MODEL = 272, 50708  # tags of TIFF and DNG
_NAME = slice(28, 60)  # bytes of a RAF


class Raw(NamedTuple):
    """The content of a raw file."""

    mosaic_1HW: Tensor  # (code - black) / (white - black), not clipped
    gain_3: Tensor  # the sensor's response to white, green 1: light / gain is balanced
    camera: str
    black: tuple[float, ...]  # the mean black level of each colour
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
    except (rawpy.LibRawError, rawpy.NotSupportedError, OSError) as error:
        raise ValueError(f"cannot read the raw file {path}: {_cause(path, error)}") from error


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
    phase = _phase(raw, path)
    white = float(raw.white_level)
    colours_66 = cfa.colours(cfa.SIDE, cfa.SIDE, phase).numpy()
    lowest_3 = np.array(raw.black_level_per_channel, float)[:3]
    black_66 = lowest_3[colours_66] + black.above_lowest(path)
    light_HW = _light(raw.raw_image_visible, black_66, white)
    down, across = (-start % cfa.SIDE for start in phase)
    balance = np.array(raw.camera_whitebalance[:3], float)
    if not (np.isfinite(balance).all() and balance.min() > 0):
        balance = np.array(raw.daylight_whitebalance[:3], float)
    return Raw(
        mosaic_1HW=torch.from_numpy(light_HW[down:, across:])[None],
        gain_3=torch.from_numpy(balance[1] / balance).float(),
        camera=_camera(path),
        black=tuple(float(black_66[colours_66 == colour].mean()) for colour in range(3)),
        white=white,
    )


def _phase(raw: Any, path: Path) -> cfa.Phase:
    """Where in the tile the visible area begins. Raises ValueError for a file without the X-Trans filter."""
    import rawpy

    wanted = f"{path}: the colour filter must be the 6 x 6 one of X-Trans"
    if raw.raw_type != rawpy.RawType.Flat:
        raise ValueError(f"{wanted}; the file was demosaiced already, and has several colours at each pixel")
    top, left = raw.sizes.top_margin, raw.sizes.left_margin
    # raw_pattern and raw_colors are wrong where a margin is wider than 6 pixels.
    colours_HW = torch.tensor(
        [[raw.raw_color(top + row, left + column) for column in range(2 * cfa.SIDE)] for row in range(2 * cfa.SIDE)]
    )
    try:
        return cfa.find_phase(torch.where(colours_HW == 3, cfa.GREEN, colours_HW))  # 3: a second green
    except ValueError:
        letters = raw.color_desc.decode()
        corner = " ".join("".join(letters[c] if c < len(letters) else "?" for c in row) for row in colours_HW[:2, :2])
        raise ValueError(f"{wanted}; got {corner} in its first two rows and columns") from None


def _light(codes_HW: np.ndarray, black_66: np.ndarray, white: float) -> np.ndarray:
    """(code - black) / (white - black), float32, [H, W]."""
    light_HW = np.empty(codes_HW.shape, np.float32)
    for row in range(cfa.SIDE):
        for column in range(cfa.SIDE):
            place = (slice(row, None, cfa.SIDE), slice(column, None, cfa.SIDE))
            level = black_66[row, column]
            light_HW[place] = (codes_HW[place].astype(np.float64) - level) / (white - level)
    return light_HW


def _camera(path: Path) -> str:
    """The camera's name: from the header of a RAF, or the tags of a DNG; "unknown" where there is none."""
    import tifffile

    start = start_of(path)
    if format_at(start) == "RAF":
        return start[_NAME].split(b"\0")[0].decode("latin1").strip()
    try:
        with tifffile.TiffFile(path) as tiff:
            tags = tiff.pages.first.tags
            names = [str(tags[tag].value).strip() for tag in (_MODEL, _UNIQUE_MODEL) if tag in tags]
    except (tifffile.TiffFileError, IndexError):
        return "unknown"
    return next((name for name in names if name), "unknown")


def _cause(path: Path, error: Exception) -> str:
    """What is wrong with a file that LibRaw did not read."""
    import rawpy

    if not path.is_file():
        return "there is no such file"
    start = start_of(path)
    is_raw = format_at(start) in ("RAF", "TIFF")
    if not is_raw or isinstance(error, rawpy.LibRawFileUnsupportedError):
        return f"LibRaw knows no such raw file; {describe(start)}"
    if isinstance(error, rawpy.LibRawIOError | rawpy.LibRawDataError):
        return "it is truncated or damaged"
    words = error.args[0] if error.args else ""
    return words.decode() if isinstance(words, bytes) else str(error)
