"""OpenEXR files written byte by byte, for kinds that the library's Python module does not write.

Source: OpenEXR, "File layout": single part, scanlines, no compression, 32-bit float.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Plane(NamedTuple):
    """A channel: a sample at each row and column that `sampling` divides."""

    pixels: np.ndarray
    sampling: int = 1


def write_exr(path: Path, size: tuple[int, int], planes: Mapping[str, Plane], chromaticities: tuple = ()) -> None:
    """Write channels of a picture of `size` = (height, width)."""
    height, width = size
    names = sorted(planes)
    channels = b"".join(name.encode() + struct.pack("<xi4xii", 2, *2 * [planes[name].sampling]) for name in names)
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = [
        _attribute("channels", "chlist", channels + b"\0"),
        _attribute("compression", "compression", b"\0"),
        _attribute("dataWindow", "box2i", window),
        _attribute("displayWindow", "box2i", window),
        _attribute("lineOrder", "lineOrder", b"\0"),
        _attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),
        _attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        _attribute("screenWindowWidth", "float", struct.pack("<f", 1)),
    ]
    if chromaticities:
        header.append(_attribute("chromaticities", "chromaticities", struct.pack("<8f", *chromaticities)))
    head = struct.pack("<ii", 20000630, 2) + b"".join(header) + b"\0"
    lines = [_line(row, [planes[name] for name in names]) for row in range(height)]
    starts = np.cumsum([len(head) + 8 * height, *map(len, lines[:-1])]).astype("<u8")
    path.write_bytes(head + starts.tobytes() + b"".join(lines))


def _line(row: int, planes: list[Plane]) -> bytes:
    data = b"".join(
        plane.pixels[row // plane.sampling].astype("<f4").tobytes() for plane in planes if row % plane.sampling == 0
    )
    return struct.pack("<ii", row, len(data)) + data


def _attribute(name: str, kind: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
