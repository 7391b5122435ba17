"""The black level of each place of the sensor's tile, where a raw file has more than one.

LibRaw subtracts them, but its Python module tells the lowest one alone. So they are read from the file: BlackLevel with
BlackLevelRepeatDim of a DNG (DNG Specification 1.4), or tag 0xf00a of a RAF, which LibRaw reads too. Needs tifffile.
"""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from objectives.common.headers import format_at, start_of
from objectives.xtrans.cfa import SIDE

_RAF_DATA = 100  # where a RAF says at which byte its TIFF structure begins; big-endian
_RAF_FOLDER, _RAF_BLACK = 0xF000, 0xF00A
_RATIONAL = (5, 10)  # types of TIFF: pairs of whole numbers
_RAF_TAGS = 2**16  # bytes, more than the tags take
_DNG_REPEAT, _DNG_BLACK, _DNG_FILTER = 50713, 50714, 32803


def above_lowest(path: Path) -> np.ndarray:
    """How far the black level of each place lies above the lowest, for the visible area's first 6 x 6 pixels.

    All 0 where the file has one level for all places, or says nothing that can be read.
    """
    try:
        levels = _of_raf(path) if format_at(start_of(path)) == "RAF" else _of_dng(path)
    except (OSError, ValueError, TypeError, KeyError, IndexError, SyntaxError, struct.error):  # a file of another kind
        levels = np.zeros((1, 1))
    if SIDE % levels.shape[0] or SIDE % levels.shape[1] or not np.isfinite(levels).all():
        levels = np.zeros((1, 1))
    tile_66 = np.tile(levels, (SIDE // levels.shape[0], SIDE // levels.shape[1]))
    return tile_66 - tile_66.min()


def _of_raf(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        file.seek(_RAF_DATA)
        (offset,) = struct.unpack(">I", file.read(4))
        file.seek(offset)
        data = file.read(_RAF_TAGS)
    folder = _tags(data, ImageFileDirectory_v2(data[:8]).next)
    levels = np.atleast_1d(_tags(data, folder[_RAF_FOLDER])[_RAF_BLACK])
    side = math.isqrt(levels.size)
    return levels.astype(float).reshape(side, side)


def _tags(data: bytes, offset: int) -> ImageFileDirectory_v2:
    tags = ImageFileDirectory_v2(data[:8])
    file = io.BytesIO(data)
    file.seek(offset)
    tags.load(file)
    return tags


def _of_dng(path: Path) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        pages: list[Any] = [part for page in tiff.pages for part in (page, *(page.pages or ()))]
        tags = next(page.tags for page in pages if page.photometric == _DNG_FILTER)
        levels = np.array(tags[_DNG_BLACK].value, float).reshape(-1)
        if tags[_DNG_BLACK].dtype in _RATIONAL:
            levels = levels[::2] / levels[1::2]
        repeat = tags[_DNG_REPEAT].value if _DNG_REPEAT in tags else (1, 1)
        return levels.reshape(repeat)
