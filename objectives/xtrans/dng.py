"""Writes raw files: an uncompressed 16-bit DNG with the X-Trans filter, which LibRaw reads.

With them, LibRaw's demosaicers run on mosaics whose true picture is known. Needs tifffile. Source: DNG Specification
1.4, Adobe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from objectives.xtrans import cfa

MIN_SIDE = 512  # pixels: LibRaw's tiled demosaicers refuse smaller frames
_CFA = 32803  # PhotometricInterpretation
_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SIGNED_RATIONAL = 1, 2, 3, 4, 5, 10


def write(
    path: Path,
    codes_HW: np.ndarray,
    *,
    black: int | Sequence[int] = 0,
    white: int = 65535,
    neutral: tuple[float, float, float] = (1.0, 1.0, 1.0),
    orientation: int = 1,
    active: tuple[int, int, int, int] | None = None,
) -> None:
    """Write the uint16 codes of a mosaic whose visible area begins at phase (0, 0).

    `black` is one level, or those of the 36 places of the visible area's tile, by rows. `neutral` is the sensor's
    response to white, `orientation` how the camera was held, by the numbers of TIFF, and `active` the top, left, bottom
    and right of the visible area; the last two do not belong to it. The codes' own colours are sRGB.
    Raises ValueError for a frame that is too small for LibRaw to read.
    """
    if min(codes_HW.shape) < MIN_SIDE:
        raise ValueError(
            f"a DNG must have at least {MIN_SIDE} pixels a side, or LibRaw refuses it; got "
            f"{codes_HW.shape[1]} x {codes_HW.shape[0]}"
        )
    rational = [part for value in neutral for part in (round(value * 10**6), 10**6)]
    identity = [part for row in range(3) for column in range(3) for part in (int(row == column), 1)]
    tags = [
        (274, _SHORT, 1, orientation),
        (33421, _SHORT, 2, (cfa.SIDE, cfa.SIDE)),  # CFARepeatPatternDim
        (33422, _BYTE, cfa.SIDE**2, bytes(cfa.TILE.flatten().tolist())),  # CFAPattern
        (50706, _BYTE, 4, bytes([1, 4, 0, 0])),  # DNGVersion
        (50707, _BYTE, 4, bytes([1, 1, 0, 0])),  # DNGBackwardVersion
        (50708, _ASCII, 0, "synthetic X-Trans"),  # UniqueCameraModel
        (50710, _BYTE, 3, bytes([0, 1, 2])),  # CFAPlaneColor
        (50711, _SHORT, 1, 1),  # CFALayout
        *_black_level(black),
        (50717, _LONG, 1, white),  # WhiteLevel
        (50721, _SIGNED_RATIONAL, 9, identity),  # ColorMatrix1
        (50728, _RATIONAL, 3, rational),  # AsShotNeutral
        (50778, _SHORT, 1, 21),  # CalibrationIlluminant1: D65
    ]
    if active is not None:
        tags.append((50829, _LONG, 4, active))  # ActiveArea
    tifffile.imwrite(
        path,
        np.ascontiguousarray(codes_HW, np.uint16),
        photometric=_CFA,
        compression=None,
        extratags=[(*tag, True) for tag in tags],
        metadata=None,
    )


def _black_level(black: int | Sequence[int]) -> list[tuple[int, int, int, object]]:
    if isinstance(black, int):
        return [(50714, _LONG, 1, black)]  # BlackLevel
    return [
        (50713, _SHORT, 2, (cfa.SIDE, cfa.SIDE)),  # BlackLevelRepeatDim
        (50714, _LONG, len(black), tuple(black)),
    ]
