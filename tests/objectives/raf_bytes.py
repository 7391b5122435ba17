"""A Fujifilm RAF written byte by byte, as a camera lays it out: header, preview with EXIF, metadata, sensor data.

LibRaw opens it as a file of that camera. Source: the layout that LibRaw and the DNG tools read.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from objectives.xtrans import cfa

_HEADER = 160  # bytes
_ASCII, _SHORT, _LONG, _IFD = 2, 3, 4, 13  # types of TIFF
Entry = tuple[int, int, int, bytes]  # tag, type, count, value


def write_raf(
    path: Path,
    codes_HW: np.ndarray,
    *,
    black: int | Sequence[int] = 1022,
    gain: tuple[float, float, float] = (0.5, 1.0, 0.6),
    orientation: int = 1,
    model: str = "X-T2",
    visible: tuple[int, int, int, int] | None = None,
) -> Path:
    """Write 14-bit codes, [H, W], whose first pixel is at phase (0, 0).

    `black` is one level, or 36 by rows; `gain` the sensor's response to white; `visible` top, left, height and width,
    where LibRaw rounds the first two up to multiples of 6.
    """
    preview = _preview(model, orientation)
    metadata = _metadata(codes_HW.shape, visible or (0, 0, *codes_HW.shape))
    at_metadata = _HEADER + len(preview)
    at_sensor = (at_metadata + len(metadata) + 15) // 16 * 16
    sensor = _sensor(codes_HW, [black] * 36 if isinstance(black, int) else list(black), gain)
    name = model.encode()
    header = b"FUJIFILMCCD-RAW 0201FF129509" + name.ljust(32, b"\0") + b"0100" + bytes(20)
    places = (_HEADER, len(preview), at_metadata, len(metadata), at_sensor, len(sensor))
    header += struct.pack(">6I", *places)
    path.write_bytes((header.ljust(_HEADER, b"\0") + preview + metadata).ljust(at_sensor, b"\0") + sensor)
    return path


def _preview(model: str, orientation: int) -> bytes:
    """A small JPEG with the camera's name and orientation in its EXIF."""
    texts = [(271, b"FUJIFILM\0"), (272, model.encode() + b"\0")]
    entries = [(tag, _ASCII, len(text), text) for tag, text in texts]
    exif = b"II*\0" + struct.pack("<I", 8) + _folder([*entries, (274, _SHORT, 1, struct.pack("<H", orientation))], 8)
    segment = b"Exif\0\0" + exif
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 90, 90)).save(jpeg, "JPEG")
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg.getvalue()[2:]


def _metadata(shape: tuple[int, ...], visible: tuple[int, int, int, int]) -> bytes:
    top, left, height, width = visible
    layout = bytes(cfa.TILE.flatten().flip(0).tolist())  # stored backwards
    records = [
        (0x100, struct.pack(">HH", *shape)),
        (0x110, struct.pack(">HH", top, left)),
        (0x111, struct.pack(">HH", height, width)),
        (0x115, struct.pack(">HH", 2, 3)),
        (0x121, struct.pack(">HH", height, width)),
        (0x130, bytes([12, 12, 12, 12])),
        (0x131, layout),
    ]
    body = b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in records)
    return struct.pack(">I", len(records)) + body


def _sensor(codes_HW: np.ndarray, black: list[int], gain: tuple[float, float, float]) -> bytes:
    """A TIFF structure whose only entry leads to the folder of the sensor's data."""
    height, width = codes_HW.shape
    red, green, blue = (round(302 * gain[1] / value) for value in gain)
    root = b"II*\0" + struct.pack("<I", 8) + _folder([(0xF000, _IFD, 1, struct.pack("<I", 26))], 8)
    numbers = {0xF001: width, 0xF002: height, 0xF003: 14, 0xF007: 0, 0xF008: 2 * codes_HW.size}

    def folder(at_codes: int) -> bytes:
        entries: list[Entry] = [
            (tag, _LONG, 1, struct.pack("<I", value)) for tag, value in (numbers | {0xF007: at_codes}).items()
        ]
        entries.append((0xF00A, _LONG, 36, struct.pack("<36I", *black)))
        entries.append((0xF00E, _LONG, 3, struct.pack("<3I", green, red, blue)))
        return _folder(entries, len(root))

    at_codes = (len(root) + len(folder(0)) + 15) // 16 * 16
    return (root + folder(at_codes)).ljust(at_codes, b"\0") + codes_HW.astype("<u2").tobytes()


def _folder(entries: Sequence[Entry], at: int) -> bytes:
    """A TIFF folder that begins at byte `at`, and behind it the values that do not fit into 4 bytes."""
    after = at + 2 + 12 * len(entries) + 4
    fixed, values = struct.pack("<H", len(entries)), b""
    for tag, kind, count, value in entries:
        is_long = len(value) > 4
        field = struct.pack("<I", after + len(values)) if is_long else value.ljust(4, b"\0")
        fixed += struct.pack("<HHI", tag, kind, count) + field
        values += value if is_long else b""
    return fixed + struct.pack("<I", 0) + values
